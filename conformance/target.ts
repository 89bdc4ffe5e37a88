import assert from 'node:assert/strict'
import {
  assertEchoed,
  assertSame,
  infer,
  inferBinary,
  jsonOf,
  type Response,
  show,
} from './answer.ts'
import type { Reply, Send } from './connection.ts'
import { DATATYPES, plainValues } from './datatypes.ts'
import { madeUp } from './example.ts'
import type { Call } from './grpc/connection.ts'
import type { JsonTensor, Target, Tensor } from './point.ts'
import { get, modelPath, outputsOf, reshaped } from './request.ts'

export interface Known {
  readonly send: Send
  readonly call?: Call
  readonly model: string
  readonly version?: string | undefined
  readonly example?: readonly Tensor[] | undefined
  readonly failing?: NonNullable<Target['failing']>
  readonly mismatched?: NonNullable<Target['mismatched']>
  readonly limits?: NonNullable<Target['limits']>
}

/** The server cannot be tested; the message says how to fix the problem. */
export class Unusable extends Error {}

type Signature = Target['metadata']

/**
 * Collects what the points need to know about a server's model.
 * @throws {Unusable} if the server does not have the model, or no valid request is known
 */
export async function readTarget({ example, ...known }: Known): Promise<Target> {
  const described = await readMetadata(known)
  if (example === undefined && described.inputs.length === 0)
    throw new Unusable(
      `the metadata of model "${known.model}" lists no inputs; give a valid request with --request FILE`,
    )
  const version =
    known.version ?? (described.versions.length === 1 ? described.versions[0] : undefined)
  const draft = {
    ...known,
    version,
    metadata: described,
    extensions: await readExtensions(known.send),
    deterministic: true,
    rows: false,
  }
  const { inputs, answer } = await answered(
    { ...draft, echoes: false },
    example === undefined ? madeUp(described.inputs) : [example],
  )
  const metadata = {
    inputs: described.inputs.length > 0 ? described.inputs : inputs.map(signatureOf),
    outputs: described.outputs.length > 0 ? described.outputs : answer.outputs.map(signatureOf),
  }
  const said = answer.json.model_version
  const chosen =
    version ?? (described.versions.includes(said as string) ? (said as string) : undefined)
  const target: Target = {
    ...draft,
    version: chosen,
    metadata,
    example: { inputs },
    echoes: false,
    rows: countsRows(metadata, inputs, answer),
  }
  return {
    ...target,
    deterministic: await isDeterministic(target, answer),
    echoes: await givesBack(target),
  }
}

/** Invalid parts count as absent here: the health points check them. */
async function readMetadata({
  send,
  ...path
}: Known): Promise<Signature & { readonly versions: readonly string[] }> {
  const reply = await get({ send }, modelPath({ version: undefined, ...path }))
  if (reply.status !== 200)
    throw new Unusable(
      `cannot read the metadata of model "${path.model}": ${oneLine(reply)}; check --model and --version`,
    )
  const { inputs, outputs, versions } = attempt(() => jsonOf(reply)) ?? {}
  const tensors = (value: unknown) =>
    Array.isArray(value) ? (value as JsonTensor[]).filter(isTensor) : []
  return {
    inputs: tensors(inputs),
    outputs: tensors(outputs),
    versions: Array.isArray(versions) ? versions.map(String) : [],
  }
}

const isTensor = (tensor: JsonTensor | null) =>
  typeof tensor?.name === 'string' &&
  typeof tensor.datatype === 'string' &&
  Array.isArray(tensor.shape)

async function readExtensions(send: Send): Promise<readonly string[]> {
  const reply = await get({ send }, '/v2')
  const extensions = attempt(() => jsonOf(reply).extensions)
  return Array.isArray(extensions) ? extensions : []
}

function attempt<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch (error) {
    if (error instanceof assert.AssertionError) return undefined
    throw error
  }
}

const oneLine = (reply: Reply) => show(reply).replaceAll(/\s+/g, ' ')

async function answered(
  target: Omit<Target, 'example'>,
  examples: readonly (readonly Tensor[])[],
): Promise<{ inputs: readonly Tensor[]; answer: Response }> {
  let refusal = ''
  for (const inputs of examples) {
    try {
      return { inputs, answer: await answerTo({ ...target, example: { inputs } }, inputs) }
    } catch (error) {
      if (!(error instanceof assert.AssertionError)) throw error
      refusal ||= error.message.replaceAll(/\s+/g, ' ')
    }
  }
  throw new Unusable(
    `the example request does not get a valid response: ${refusal}; give another request with --request FILE`,
  )
}

const isHalf = ({ datatype }: { readonly datatype: string }) => datatype === 'FP16'

/** Sends the inputs in JSON, or in binary if a datatype has no JSON form. */
function answerTo(target: Target, inputs: readonly Tensor[]): Promise<Response> {
  if (![...inputs, ...target.metadata.outputs].some(isHalf)) return infer(target, { inputs })
  return inferBinary(target, inputs, { outputs: outputsOf(target, { binary_data: true }) })
}

const signatureOf = ({ name, datatype, shape }: Tensor): JsonTensor => ({
  name,
  datatype,
  shape: [...shape],
})

function countsRows(
  { inputs, outputs }: Signature,
  example: readonly Tensor[],
  answer: Response,
): boolean {
  const rows = example[0]?.shape[0]
  return (
    [...inputs, ...outputs].every(({ shape }) => shape[0] === -1) &&
    [...example, ...answer.outputs].every(({ shape }) => shape[0] === rows)
  )
}

async function isDeterministic(target: Target, answer: Response): Promise<boolean> {
  const again = await answerTo(target, target.example.inputs)
  return attempt(() => assertSame(target, again, answer) ?? true) ?? false
}

async function givesBack(target: Target): Promise<boolean> {
  const [input, ...others] = target.example.inputs
  const [output, ...more] = target.metadata.outputs
  if (input === undefined || output === undefined || others.length > 0 || more.length > 0)
    return false
  if (input.datatype !== output.datatype || !Object.hasOwn(DATATYPES, input.datatype)) return false
  const varied = reshaped({ ...input, data: plainValues(input.datatype).toReversed() }, input.shape)
  try {
    assertEchoed(await answerTo(target, [varied]), varied)
    return true
  } catch (error) {
    if (error instanceof assert.AssertionError) return false
    throw error
  }
}
