import { AssertionError } from 'node:assert/strict'
import { inspect } from 'node:util'
import { show } from './answer.ts'
import type { Reply } from './connection.ts'
import { Inapplicable, type Point, type Target } from './point.ts'
import { type Groups, groups } from './points.ts'
import { get } from './request.ts'

export type Outcome = 'pass' | 'fail' | 'not applicable'

export interface Result {
  readonly group: string
  readonly point: string
  readonly source: string
  readonly level: Point['level']
  readonly expected: string
  /**
   * The last response if the point passes, the error if it fails, or the reason why it does not
   * apply.
   */
  readonly got: string
  readonly outcome: Outcome
  readonly milliseconds: number
}

export interface Asked extends Point {
  readonly group: string
}

export function choosePoints(globs: readonly string[] = [], of: Groups = groups): readonly Asked[] {
  const patterns = globs.map(
    glob =>
      new RegExp(`^${glob.replaceAll(/[\\^$.|?+()[\]{}]/g, '\\$&').replaceAll('*', '.*')}$`, 's'),
  )
  const all = Object.entries(of).flatMap(([group, points]) =>
    points.map(point => ({ ...point, group })),
  )
  return patterns.length === 0
    ? all
    : all.filter(({ name, group }) =>
        patterns.some(pattern => pattern.test(name) || pattern.test(group)),
      )
}

/**
 * The server is no longer reachable. The last result is that of the point after which it was
 * unreachable.
 */
export class Gone extends Error {
  readonly results: readonly Result[]

  constructor(results: readonly Result[], left: number) {
    super(
      `the server has been unreachable since "${results.at(-1)?.point}"; ${left} points were not tested`,
    )
    this.results = results
  }
}

const COMES_BACK_WITHIN_MS = 30_000

/**
 * @param progress called before each point with the results so far
 * @throws {Gone} if the server becomes unreachable
 */
export async function askPoints(
  target: Target,
  points: readonly Asked[],
  progress: (next: Asked, results: readonly Result[]) => void = () => {},
): Promise<readonly Result[]> {
  const results: Result[] = []
  for (const point of points) {
    progress(point, results)
    const { result, unreachable } = await ask(target, point)
    results.push(result)
    if (unreachable && !(await comesBack(target)))
      throw new Gone(results, points.length - results.length)
  }
  return results
}

async function ask(
  target: Target,
  { group, name, source, level, expected, notApplicable, check }: Asked,
) {
  const before = performance.now()
  const result = (outcome: Outcome, got: string): Result => ({
    group,
    point: name,
    source,
    level,
    expected,
    got: oneLine(got),
    outcome,
    milliseconds: Math.round(performance.now() - before),
  })
  const reason = notApplicable?.(target)
  if (reason !== undefined) return { result: result('not applicable', reason), unreachable: false }
  let last: Reply | undefined
  const watched: Target = {
    ...target,
    async send(sent) {
      last = await target.send(sent)
      return last
    },
  }
  try {
    await check(watched)
    return { result: result('pass', last === undefined ? '' : show(last)), unreachable: false }
  } catch (error) {
    if (error instanceof Inapplicable)
      return { result: result('not applicable', error.message), unreachable: false }
    if (error instanceof AssertionError)
      return { result: result('fail', reasonOf(error)), unreachable: false }
    return { result: result('fail', reasonOf(error as Error)), unreachable: true }
  }
}

/** Omits the long diff that an assertion adds. */
function reasonOf(error: Error): string {
  if (!(error instanceof AssertionError) || !error.generatedMessage) {
    // Node appends both values to a custom message.
    return (
      error.message.replace(/\n(?:\n[^\n]* !== [^\n]*\n$|\+ actual - expected\n[\s\S]*$)/, '') ||
      (error as NodeJS.ErrnoException).code ||
      error.name
    )
  }
  const [got, expected] = [error.actual, error.expected].map(value =>
    inspect(value, { breakLength: Number.POSITIVE_INFINITY, depth: 5 }),
  )
  return error.operator === 'match' || error.operator === 'notDeepStrictEqual'
    ? `${got}`
    : `${got}, not ${expected}`
}

const oneLine = (text: string) => {
  const line = text.replaceAll(/[\s\p{Cc}]+/gu, ' ').trim()
  return line.length > 300 ? `${line.slice(0, 299)}…` : line
}

/** A supervisor may restart a server that crashed. */
async function comesBack(target: Target): Promise<boolean> {
  const until = performance.now() + COMES_BACK_WITHIN_MS
  do {
    try {
      await get(target, '/v2/health/live')
      return true
    } catch {
      await new Promise(later => setTimeout(later, 500))
    }
  } while (performance.now() < until)
  return false
}
