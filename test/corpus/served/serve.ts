/**
 * Serves each model that record.py wrote, sends requests in JSON and in binary tensor data, and
 * compares the responses with the expected outputs:
 *
 *     node serve.ts FOLDER [--only REGEX] [--report FILE]
 *
 * Exits with 1 if a response is wrong, if the server refuses a model, or if fewer models are served
 * than required.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { basename, join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import {
  binaryOutputs,
  binaryRequest,
  parseExactly,
  type WrittenTensor,
  writeExactly,
} from '../../tensors.ts'
import { ModelServer } from './server.ts'
import { isExpected, type Result, summary } from './summary.ts'
import { asJson, difference, elements, fromJson, type Output, type Tolerance } from './tensor.ts'

interface Written extends Omit<WrittenTensor, 'data' | 'data_base64'> {
  readonly data: string | readonly string[]
}

interface Case extends Tolerance {
  /** Why the model is not tested; undefined if it is tested. */
  readonly reason?: string
  readonly inputs: readonly Written[]
  readonly outputs: readonly Written[]
}

const START_MS = 60_000
const ANSWER_MS = 60_000

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: { only: { type: 'string', default: '' }, report: { type: 'string' } },
})
const folder = resolve(positionals[0] ?? join(import.meta.dirname, '../.build/served'))
const only = new RegExp(options.only)
const names = JSON.parse(readFileSync(join(folder, 'index.json'), 'utf8')) as string[]
const results = await serveAll(names.filter(name => only.test(name)))
if (options.report !== undefined)
  writeFileSync(options.report, results.map(result => `${JSON.stringify(result)}\n`).join(''))
process.stdout.write(summary(results))
process.exitCode = isExpected(results, { isWhole: options.only === '' }) ? 0 : 1

async function serveAll(names: readonly string[]): Promise<Result[]> {
  const results: Result[] = []
  let begun = 0
  const work = async () => {
    for (let at = begun++; at < names.length; at = begun++) {
      const name = names[at] as string
      results[at] = { name, ...(await serve(join(folder, name))) }
      if (begun % 200 === 0) process.stderr.write(`${begun} of ${names.length} models\n`)
    }
  }
  await Promise.all(Array.from({ length: availableParallelism() }, work))
  return results
}

async function serve(folder: string): Promise<Omit<Result, 'name'>> {
  const told = JSON.parse(readFileSync(join(folder, 'case.json'), 'utf8')) as Case
  if (told.reason !== undefined) return { notAsked: told.reason }
  let started: Awaited<ReturnType<typeof ModelServer.start>>
  try {
    started = await ModelServer.start(folder, START_MS)
  } catch (error) {
    return { notServed: (error as Error).message }
  }
  const { server, url } = started
  const route = `${url}/v2/models/${encodeURIComponent(basename(folder))}/infer`
  const inputs = told.inputs.map(asWritten)
  const expected = told.outputs.map(asWritten)
  const ask = async (encoding: Encoding) => {
    try {
      const answer = await encoding(route, inputs)
      if (typeof answer === 'string') return { refused: answer }
      const wrong = difference(answer, expected, told)
      return wrong === undefined ? { right: true } : { wrong }
    } catch (error) {
      await server.end()
      return { refused: `no response: ${(error as Error).message}, ${server.failure()}` }
    }
  }
  const json = await ask(inJson)
  const binary = await ask(inBinary)
  await server.end()
  return { json, binary }
}

function asWritten({ name, datatype, shape, data }: Written): WrittenTensor {
  return typeof data === 'string'
    ? { name, datatype, shape, data_base64: data }
    : { name, datatype, shape, data }
}

type Encoding = (
  route: string,
  inputs: readonly WrittenTensor[],
) => Promise<readonly Output[] | string>

async function inJson(route: string, inputs: readonly WrittenTensor[]) {
  const body = writeExactly({ inputs: inputs.map(asJson) })
  const response = await post(route, { 'content-type': 'application/json' }, body)
  const answer = parseExactly(await response.text()) as {
    error?: string
    outputs: (Output & { data: Output['values'] })[]
  }
  if (!response.ok) return `${response.status} ${answer.error}`
  return answer.outputs.map(output => ({
    ...output,
    values: fromJson(output.datatype, output.data),
  }))
}

async function inBinary(route: string, inputs: readonly WrittenTensor[]) {
  const { headers, body } = binaryRequest(inputs)
  const response = await post(route, headers, body)
  if (!response.ok)
    return `${response.status} ${((await response.json()) as { error: string }).error}`
  return binaryOutputs(response.headers, Buffer.from(await response.arrayBuffer())).map(output => ({
    ...output,
    values: elements(output.datatype, output.bytes),
  }))
}

function post(url: string, headers: Record<string, string>, body: string | Buffer) {
  return fetch(url, { method: 'POST', headers, body, signal: AbortSignal.timeout(ANSWER_MS) })
}
