import { exampleInputs } from '../../function/inference/example.ts'
import { quoted, requestJson } from '../../function/inference/metadata.ts'
import type { ModelFolder } from '../../function/inference/model-folder.ts'
import { servedModel } from '../../function/inference/served-model.ts'
import { openSession, type Session } from '../../function/inference/session.ts'
import type { InferenceRequest } from '../../function/protocol/request.ts'
import type { Tensor } from '../../function/protocol/tensor.ts'
import { createLog } from '../../function/telemetry/log.ts'
import type { Content } from '../../function/transform/call.ts'
import { TransformCodec } from '../../function/transform/codec.ts'
import { exampleOf } from '../../function/transform/example.ts'
import { RunningCall } from '../../function/transform/running.ts'
import {
  compileSchema,
  mediaTypeOf,
  schemaMistake,
  violationText,
} from '../../function/transform/schema.ts'
import { openTransform, type ThreadTransform } from '../../function/transform/thread.ts'
import type { Problem } from './problem.ts'

export interface TriedTransform {
  readonly file: string
  readonly parts: readonly string[]
  /** The input as JSON; undefined if none could be generated. */
  readonly example?: string
  readonly curl?: string | undefined
  /** The response as JSON, or a description of its body. */
  readonly answer?: string
  readonly problems: readonly Problem[]
}

export interface TransformFolder extends ModelFolder {
  readonly transform: string
}

const LONGEST = 2_000
const LIMITS = { maxBytes: 2 ** 30, maxJsonBytes: 2 ** 24 }
const SILENT = createLog('silent')

const error = (text: string): Problem => ({ level: 'error', text: `transform: ${text}` })
const warning = (text: string): Problem => ({ level: 'warning', text: `transform: ${text}` })
const hint = (text: string): Problem => ({ level: 'hint', text: `transform: ${text}` })

/** Calls the author's code with the schema's example, or else the model's. */
export async function tryTransform(folder: TransformFolder): Promise<TriedTransform> {
  const { transform: file } = folder
  const session = await openSession(folder.file, 1)
  let opened: ThreadTransform
  try {
    opened = await openTransform(file, servedModel(folder, session.signature), SILENT)
  } catch (reason) {
    return { file, parts: [], problems: [{ level: 'error', text: (reason as Error).message }] }
  }
  const { author } = opened
  const parts = Object.keys(author)
  const mistakes = await schemaMistakes(opened)
  if (mistakes.length > 0) return { file, parts, problems: mistakes }
  const sample = exampleInputs(session.signature, folder.sample)
  const data = dataFor(opened, session, sample)
  if (typeof data === 'string') return { file, parts, problems: [hint(data)] }
  const asked = await ask({ opened, session, folder }, data.value)
  const curl = `curl http://localhost:8080/ -H 'Content-Type: application/json' -d ${quoted(data.json)}`
  return {
    file,
    parts,
    example: data.json.slice(0, LONGEST),
    ...(curl.length <= LONGEST && { curl }),
    ...asked,
  }
}

async function schemaMistakes({ described }: ThreadTransform): Promise<Problem[]> {
  const { input, output } = described
  const texts = [
    input === undefined ? undefined : await schemaMistake(input, 'input'),
    output === undefined ? undefined : await schemaMistake(output, 'output'),
  ]
  return texts.filter(text => text !== undefined).map(error)
}

/** @returns the data of a request, or why none can be generated */
function dataFor(
  { described }: ThreadTransform,
  { signature }: Session,
  sample: readonly Tensor[],
): { readonly value: unknown; readonly json: string } | string {
  const { input, preprocess } = described
  if (!preprocess) {
    const json = requestJson(sample, signature)
    if (json === undefined) return 'not tested, because JSON cannot represent the model’s inputs'
    return { value: JSON.parse(json), json }
  }
  if (input === undefined)
    return 'not tested, because it has no schema "input", which describes the request. Write one with "examples": this check uses them, and OpenAPI and the page show them'
  const mediaType = mediaTypeOf(input)
  if (mediaType !== undefined)
    return `not tested, because it accepts ${mediaType}, and a schema cannot contain an example of that`
  const value = exampleOf(input)
  if (value === undefined)
    return 'not tested, because no example can be generated from the schema "input"; add "examples" to it'
  return { value, json: JSON.stringify(value) }
}

interface Asking {
  readonly opened: ThreadTransform
  readonly session: Session
  readonly folder: TransformFolder
}

async function ask(
  { opened, session, folder }: Asking,
  value: unknown,
): Promise<Pick<TriedTransform, 'answer' | 'problems'>> {
  const running = new RunningCall()
  const call = { kind: 'request', data: { value }, contentType: undefined, headers: {} } as const
  const now = performance.now()
  const caller = { arrived: now, deadline: Number.POSITIVE_INFINITY, gone: false }
  const codec = new TransformCodec(call, caller, running, {
    loaded: opened,
    model: opened.model,
    limits: LIMITS,
    log: SILENT,
    run: (_, work) => work(),
    took: () => {},
  })
  try {
    const request = (await codec.decode(session.signature)) as InferenceRequest
    const names = request.outputs.map(({ name }) => name)
    const outputs = await session.run(request.inputs, names)
    const encoder = codec.encoder(request, LIMITS)
    for (const _ of encoder.add(outputs) ?? []);
    const { content } = await encoder.finish({
      modelName: folder.name,
      modelVersion: folder.version,
    })
    return { answer: textOf(content), problems: await answerProblems(opened, content) }
  } catch (reason) {
    return { problems: [failure(reason)] }
  } finally {
    await opened.close().catch(() => {})
    await session.close()
  }
}

function failure(reason: unknown): Problem {
  const { code, message, cause } = reason as Error & { readonly code?: string }
  if (code === 'TRANSFORM_FAILED')
    return error(`failed on the example: ${cause instanceof Error ? cause.message : String(cause)}`)
  if (code === 'MODEL_FAILED')
    return error(`the model failed on the output of preprocess: ${message}`)
  if (code === 'TRANSFORM_UNAVAILABLE')
    return warning(`reported that it is unavailable: ${message}`)
  return warning(
    `refused the example: ${message}. Write "examples" that it accepts, because OpenAPI and the page show them`,
  )
}

function textOf(content: Content | undefined): string {
  if (content === undefined) return 'none (204)'
  if ('body' in content) return `${Buffer.byteLength(content.body)} bytes of ${content.contentType}`
  const { json } = content
  return (typeof json === 'string' ? json : Buffer.concat(json).toString()).slice(0, LONGEST)
}

/** The server itself does not check responses against the schema "output". */
async function answerProblems(
  { described: { output, postprocess } }: ThreadTransform,
  content: Content | undefined,
): Promise<Problem[]> {
  if (output === undefined || !postprocess || content === undefined) return []
  const mediaType = mediaTypeOf(output)
  if ('body' in content || mediaType !== undefined) {
    const given = 'body' in content ? content.contentType : 'application/json'
    const isSame = given.split(';')[0] === mediaType
    return isSame
      ? []
      : [
          warning(
            `the response is ${given}, but the schema "output" declares ${mediaType ?? 'JSON'}`,
          ),
        ]
  }
  const { validate } = await compileSchema(output, 'output')
  const value = JSON.parse(content.json as string)
  if (validate(value)) return []
  return [
    warning(
      `the response does not match the schema "output": ${violationText(validate.errors ?? [], value)}`,
    ),
  ]
}
