import { setTimeout as wait } from 'node:timers/promises'
import { decideBatching } from '../../function/inference/batchability/decide.ts'
import { type Batching, checkBatchTrue } from '../../function/inference/batching.ts'
import { exampleInputs } from '../../function/inference/example.ts'
import { folderBytes, LARGE_MODEL_BYTES } from '../../function/inference/execution.ts'
import { featuresByInput } from '../../function/inference/features.ts'
import { checkGraph } from '../../function/inference/graph-check.ts'
import type { ModelFolder } from '../../function/inference/model-folder.ts'
import { setEnvironment } from '../../function/inference/onnxruntime.ts'
import { SLOW_RUN_MS } from '../../function/inference/run-costs.ts'
import { openSession, type Session } from '../../function/inference/session.ts'
import { join, split } from '../../function/protocol/rows.ts'
import { isBatched, type Signature, type Tensor } from '../../function/protocol/tensor.ts'
import type { Operator } from './graph.ts'
import { missingOperators, type Newest, newestVersions } from './operators.ts'
import { type ReadyRequest, tryRequest } from './request.ts'
import type { TransformFolder, TriedTransform } from './try-transform.ts'
import { variedInputs } from './varied.ts'

export interface Question {
  readonly folder: ModelFolder
  readonly operators: readonly Operator[]
  /** The number of threads per run for a model that runs in workers. */
  readonly ortThreads: number
}

/** The messages of the process: each step as it begins, in case of a crash, and then the result. */
export type Said =
  | { readonly doing: string }
  | { readonly found: Found }
  | { readonly tried: TriedTransform }
  | { readonly failure: string }

export interface Found {
  readonly newest: Newest
  readonly missing: readonly { readonly operator: Operator; readonly reason: string }[]
  /** Why the model cannot be served; `served` is then absent. */
  readonly unservable?: string
  readonly served?: Served
}

/** Times are in milliseconds, medians if there are several; memory is in bytes. */
export interface Served {
  readonly signature: Signature
  /**
   * The names in model.json for the elements of the last dimension of each input, by input name.
   */
  readonly features: Readonly<Record<string, readonly string[]>>
  readonly leftOut: Session['leftOut']
  /** Why the model fails on the example; the report then has no request and no run times. */
  readonly exampleFails: string | undefined
  /** Outputs whose strings are not UTF-8 for inputs other than the example. */
  readonly notText: readonly string[]
  /** Outputs that cannot be returned for the example, although others can. */
  readonly lost: readonly { readonly name: string; readonly reason: string }[]
  readonly request: ReadyRequest | undefined
  readonly refused: string | undefined
  readonly batching: Batching
  /** The node whose run time or output size depends on input values. */
  readonly byValues: string | undefined
  readonly sizesByValues: string | undefined
  readonly place: 'main thread' | 'worker threads'
  readonly threads: number
  readonly loadMs: number
  readonly warmUpMs: number | undefined
  /** A run with one row, or with one request if the model has no batch dimension. */
  readonly oneRowMs: number | undefined
  /** Undefined if the model has no batch dimension, or fails on 32 rows: see `rowsFail`. */
  readonly rows32Ms: number | undefined
  readonly rowsFail: string | undefined
  readonly modelBytes: number
  readonly processBytes: number
}

const ROWS = 32

/*
 * Runs in its own process: the process's memory is the model's, and a crash of the model does not
 * stop the report.
 */

const tell = (said: Said) => new Promise<void>(resolve => process.send?.(said, () => resolve()))

process.once('message', async (question: Question | TransformFolder) => {
  try {
    if ('operators' in question) await tell({ found: await examine(question) })
    else await tell({ tried: await (await import('./try-transform.ts')).tryTransform(question) })
  } catch (error) {
    await tell({ failure: (error as Error).message })
  }
  process.disconnect()
  // The author's code may have opened handles that keep the process alive.
  process.exit()
})

async function examine({ folder, operators, ortThreads }: Question): Promise<Found> {
  setEnvironment()
  await tell({ doing: 'looking up the operators' })
  const missing = missingOperators(operators)
  const newest = newestVersions()
  await tell({ doing: 'loading the model' })
  try {
    return { missing, newest, served: await serve(folder, ortThreads) }
  } catch (error) {
    return { missing, newest, unservable: (error as Error).message }
  }
}

/**
 * Loads and runs the model as the server would, and measures it.
 * @throws {Error} with a one-line message if the server would not start
 */
async function serve(folder: ModelFolder, ortThreads: number): Promise<Served> {
  const before = await memory()
  const check = await checkGraph(folder.file)
  const { byValues, sizesByValues } = check
  const inWorkers = byValues !== undefined || folderBytes(folder.file) > LARGE_MODEL_BYTES
  let threads = inWorkers ? ortThreads : 1
  const began = performance.now()
  let session = await openSession(folder.file, threads)
  const loadMs = performance.now() - began
  if (folder.batch === true) checkBatchTrue(session.signature)
  const example = readExample(session, folder)
  const features = featuresByInput(folder.features, session.signature)

  await tell({ doing: 'running the model' })
  const outputs = await tryOutputs(session, example)
  const { fails } = outputs
  if (fails !== undefined && folder.sample !== undefined)
    throw new Error(`the model failed on the sample in model.json: ${fails}`)
  const names = session.signature.outputs.map(({ name }) => name)
  const wanted = names.filter(name => outputs.lost.every(lost => lost.name !== name))
  const slow =
    fails === undefined && !inWorkers && (await runMs(session, example, wanted)) > SLOW_RUN_MS
  if (slow && ortThreads > 1) {
    await session.close()
    threads = ortThreads
    session = await openSession(folder.file, threads)
  }
  const rows = isBatched(session.signature) ? rowsOf(example) : undefined
  const timed =
    fails === undefined ? await time(session, rows?.[0] ?? example, rows?.[1], wanted) : undefined
  const inputs = rows?.[1] ?? example
  const processBytes = await memory()
  const modelBytes = inWorkers
    ? processBytes - before
    : await copyBytes(folder.file, threads, inputs, wanted)
  const served = {
    signature: session.signature,
    features,
    leftOut: session.leftOut,
    exampleFails: fails,
    lost: outputs.lost,
    notText: fails === undefined ? await notText(session, example, wanted) : [],
    ...(await ask(session, folder, example, fails === undefined ? wanted : [])),
    batching: await decideBatching(folder, session, example, check),
    byValues,
    sizesByValues,
    place: inWorkers || slow ? 'worker threads' : 'main thread',
    threads,
    loadMs,
    warmUpMs: outputs.warmUpMs,
    oneRowMs: timed?.oneRowMs,
    rows32Ms: timed?.rows32Ms,
    rowsFail: timed?.rowsFail,
    modelBytes,
    processBytes,
  } as const
  await session.close()
  return served
}

/**
 * The memory of another copy of the model after a run, because the memory of the first copy
 * includes that of ONNX Runtime itself. Models that run in workers are large or slow, so they are
 * not loaded twice.
 */
async function copyBytes(
  file: string,
  threads: number,
  inputs: readonly Tensor[],
  outputs: readonly string[],
): Promise<number> {
  const before = await memory()
  const copy = await openSession(file, threads)
  await copy.run(inputs, outputs).catch(() => {})
  const after = await memory()
  await copy.close()
  return Math.max(0, after - before)
}

function readExample({ signature }: Session, { sample }: ModelFolder): readonly Tensor[] {
  try {
    return exampleInputs(signature, sample)
  } catch (error) {
    throw new Error(`model.json: the sample does not match the model: ${(error as Error).message}`)
  }
}

/**
 * The first run, with all outputs. If it fails, requests each output separately to find those that
 * fail.
 */
async function tryOutputs(
  session: Session,
  example: readonly Tensor[],
): Promise<Pick<Served, 'lost' | 'warmUpMs'> & { fails?: string }> {
  const names = session.signature.outputs.map(({ name }) => name)
  const began = performance.now()
  try {
    await session.run(example, names)
    const warmUpMs = performance.now() - began
    return { lost: [], warmUpMs }
  } catch (error) {
    const warmUpMs = performance.now() - began
    const lost: { name: string; reason: string }[] = []
    for (const name of names)
      await session
        .run(example, [name])
        .catch(({ message }: Error) => lost.push({ name, reason: message }))
    return lost.length === names.length
      ? { lost: [], warmUpMs: undefined, fails: (error as Error).message }
      : { lost, warmUpMs }
  }
}

/**
 * Finds outputs whose strings are not always UTF-8. The strings for the example may be valid by
 * chance, so the model runs with other values.
 */
async function notText(
  session: Session,
  example: readonly Tensor[],
  wanted: readonly string[],
): Promise<string[]> {
  const found: string[] = []
  const inputs = variedInputs(example)
  for (const name of wanted) {
    await session
      .run(inputs, [name])
      .catch(({ message }: Error) => NOT_TEXT.test(message) && found.push(name))
  }
  return found
}

const NOT_TEXT = /bytes that are not UTF-8/

async function ask(
  session: Session,
  folder: ModelFolder,
  example: readonly Tensor[],
  wanted: readonly string[],
): Promise<Pick<Served, 'request' | 'refused'>> {
  if (wanted.length === 0) return { request: undefined, refused: undefined }
  try {
    return { request: await tryRequest(session, folder, example, wanted), refused: undefined }
  } catch (error) {
    return { request: undefined, refused: (error as Error).message }
  }
}

/**
 * The example's first row, once and 32 times; undefined if the inputs have different numbers of
 * rows.
 */
function rowsOf(example: readonly Tensor[]): [one: Tensor[], many: Tensor[]] | undefined {
  const rows = example[0]?.shape[0] ?? 0
  if (rows === 0 || example.some(({ shape }) => shape[0] !== rows)) return undefined
  const one = split(example, rows === 1 ? [1] : [1, rows - 1])[0] as Tensor[]
  return [one, one.map(tensor => join(Array.from({ length: ROWS }, () => tensor)))]
}

async function time(
  session: Session,
  one: readonly Tensor[],
  many: readonly Tensor[] | undefined,
  outputs: readonly string[],
): Promise<Pick<Served, 'oneRowMs' | 'rows32Ms' | 'rowsFail'>> {
  const oneRowMs = await medianMs(session, one, outputs)
  if (many === undefined) return { oneRowMs, rows32Ms: undefined, rowsFail: undefined }
  try {
    return { oneRowMs, rows32Ms: await medianMs(session, many, outputs), rowsFail: undefined }
  } catch (error) {
    return { oneRowMs, rows32Ms: undefined, rowsFail: (error as Error).message }
  }
}

const LEAST_RUNS = 3
const MOST_RUNS = 1_000
const LONG_ENOUGH_MS = 300

/**
 * The median time of a run. Excludes the first fifth, in which ONNX Runtime allocates memory and V8
 * compiles code.
 */
async function medianMs(
  session: Session,
  inputs: readonly Tensor[],
  outputs: readonly string[],
): Promise<number> {
  const times: number[] = []
  const end = performance.now() + LONG_ENOUGH_MS
  for (let i = 0; i < MOST_RUNS && (i < LEAST_RUNS || performance.now() < end); i++)
    times.push(await runMs(session, inputs, outputs))
  const counted = times.slice(Math.floor(times.length / 5)).sort((a, b) => a - b)
  return counted[Math.floor(counted.length / 2)] as number
}

async function runMs(
  session: Session,
  inputs: readonly Tensor[],
  outputs: readonly string[],
): Promise<number> {
  const began = performance.now()
  await session.run(inputs, outputs)
  return performance.now() - began
}

/** The resident memory in bytes, after garbage collection. */
async function memory(): Promise<number> {
  global.gc?.()
  await wait(0)
  global.gc?.()
  return process.memoryUsage.rss()
}
