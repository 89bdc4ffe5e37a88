import { writeFileSync } from 'node:fs'
import { type Asked, askPoints, choosePoints, Gone, type Result } from './ask.ts'
import { connect } from './connection.ts'
import { connectGrpc } from './grpc/connection.ts'
import { HELP, type Options, readOptions, Usage } from './options.ts'
import { unasked } from './points/extensions.ts'
import { type Groups, groups, grpcGroups } from './points.ts'
import {
  failuresOf,
  jsonOf,
  junitOf,
  type Subject,
  summaryOf,
  tableOf,
  totalsOf,
  verdictOf,
} from './report.ts'
import { readTarget, Unusable } from './target.ts'

const OK = 0
const FAILED = 1
const NOT_ASKED = 2

const print = (text: string) => process.stdout.write(`${text}\n`)
const say = (text: string) => process.stderr.write(`conformance: ${text}\n`)

/** @returns the exit code */
async function run(options: Options): Promise<number> {
  const asked: Groups = options.grpc === undefined ? groups : { ...groups, ...grpcGroups }
  const points = choosePoints(options.only, asked)
  if (points.length === 0)
    throw new Usage(
      `no point matches ${options.only.join(', ')}; groups are ${Object.keys(asked).join(', ')}`,
    )
  const send = connect(options.url, { headers: options.headers })
  const target = await reach(options, () =>
    readTarget({
      send,
      model: options.model,
      version: options.version,
      example: options.example,
      ...(options.grpc !== undefined && { call: connectGrpc(options.grpc, options.headers) }),
    }),
  )
  const subject: Subject = { url: options.url, model: options.model, version: target.version }
  let results: readonly Result[]
  let gone: Gone | undefined
  try {
    results = await askPoints(target, points, progress(points.length))
  } catch (error) {
    if (!(error instanceof Gone)) throw error
    gone = error
    results = error.results
  }
  eraseProgress()
  print(`${tableOf(results, process.stdout.columns ?? 200)}\n`)
  const failures = failuresOf(results)
  if (failures !== '') print(`Failed\n\n${failures}\n`)
  print(`${summaryOf(results)}\n`)
  print(verdictOf(subject, results))
  const others = unasked(target.extensions)
  if (others.length > 0)
    print(
      `The suite does not test these extensions, which the server also advertises: ${others.join(', ')}.`,
    )
  write('--json', options.json, () => jsonOf(subject, target, results))
  write('--junit', options.junit, () => junitOf(subject, results))
  if (gone !== undefined) say(gone.message)
  const { required, stricter } = totalsOf(results)
  return required.fail > 0 || (options.strict && stricter.fail > 0) || gone !== undefined
    ? FAILED
    : OK
}

function progress(total: number): (next: Asked, results: readonly Result[]) => void {
  let group = ''
  let drawn = 0
  return (next, results) => {
    const failed = results.filter(({ outcome }) => outcome === 'fail').length
    const line = `${results.length} of ${total} points, ${failed} failed; ${next.group}`
    if (process.stderr.isTTY && (performance.now() - drawn > 50 || next.group !== group)) {
      process.stderr.write(`\r\x1b[K${line}`)
      drawn = performance.now()
    } else if (!process.stderr.isTTY && next.group !== group) say(line)
    group = next.group
  }
}

function eraseProgress(): void {
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K')
}

/** @throws {Unusable} if the server cannot be reached */
async function reach<T>({ url }: Options, ask: () => Promise<T>): Promise<T> {
  try {
    return await ask()
  } catch (error) {
    if (error instanceof Unusable) throw error
    const { message, code } = (
      error instanceof AggregateError ? error.errors[0] : error
    ) as NodeJS.ErrnoException
    throw new Unusable(
      `cannot reach ${url}: ${message || code}; check that the server is running and that --url is correct`,
    )
  }
}

/** @throws {Usage} if the file cannot be written */
function write(option: string, file: string | undefined, text: () => string): void {
  try {
    if (file !== undefined) writeFileSync(file, text())
  } catch (error) {
    throw new Usage(`${option} ${file}: ${(error as Error).message}`)
  }
}

/**
 * Runs the command line and sets the exit code. @param args process.argv without its first two
 * elements
 */
export async function conformance(args: readonly string[]): Promise<void> {
  try {
    const options = readOptions(args)
    if (options === undefined) process.stdout.write(HELP)
    else process.exitCode = await run(options)
  } catch (error) {
    if (!(error instanceof Usage || error instanceof Unusable)) throw error
    say(error instanceof Usage ? `${error.message}; --help lists the options` : error.message)
    process.exitCode = NOT_ASKED
  }
}
