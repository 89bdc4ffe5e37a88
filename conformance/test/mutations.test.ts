import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, test } from 'node:test'
import type { Reply, Sent } from '../connection.ts'
import { DATATYPES } from '../datatypes.ts'
import type { Point, Target } from '../point.ts'
import { points as extensions } from '../points/extensions.ts'
import { points } from '../points.ts'
import { EXTENSIONS, extended } from './extended.ts'
import { MUTATIONS } from './mutations.ts'
import { startServers } from './servers.ts'
import { type Served, targetOf } from './target.ts'
import { behind, json, keyOf, remembered } from './wrong-server.ts'

/**
 * On a server with one fault, exactly the points about this fault fail, and every point fails on at
 * least one server. Each server is onnx-function with altered requests or responses.
 */

/** Together, these models make every point applicable. */
const MODELS = [
  'iris',
  'iris, with limited bodies',
  'iris, with extensions',
  'two-in-two-out',
  'failing',
  'same-dimension',
  'fixed',
  'middle',
  'scalar',
  'fp16-out',
  ...Object.keys(DATATYPES).map(datatype => `identity-${datatype.toLowerCase()}`),
]

interface Exchange {
  readonly key: string
  readonly sent: Sent
  readonly reply: Reply
}

interface Right {
  readonly target: Target
  readonly points: readonly Point[]
  readonly exchanges: ReadonlyMap<Point, readonly Exchange[]>
}

const started = new Map<string, Promise<Right>>()
const servers = await startServers([...new Set(MODELS.map(servedAs))])
after(() => servers.stop())

function servedAs(model: string): string {
  return model.split(',')[0] as string
}

function right(model: string): Promise<Right> {
  const known = started.get(model) ?? start(model)
  started.set(model, known)
  return known
}

const withoutExtensions = points.filter(point => !extensions.includes(point))

async function start(model: string): Promise<Right> {
  const served = servers.served[servedAs(model)] as Served
  const { limits, ...others } = await targetOf(served)
  const isExtended = model.endsWith('extensions')
  const send = remembered(others.send)
  const target: Target = {
    ...others,
    // Bodies of the maximum size are large, so only one model tests this size.
    ...(limits && model.endsWith('bodies') && { limits }),
    ...(isExtended ? { extensions: EXTENSIONS, send: extended(send) } : { send }),
  }
  const applicable = (isExtended ? extensions : withoutExtensions).filter(
    ({ notApplicable }) => notApplicable?.(target) === undefined,
  )
  const exchanges = new Map<Point, readonly Exchange[]>()
  for (const point of applicable) {
    const seen: Exchange[] = []
    await point.check({
      ...target,
      async send(sent) {
        const reply = await target.send(sent)
        seen.push({ key: keyOf(sent), sent, reply })
        return reply
      },
    })
    exchanges.set(point, seen)
  }
  return { target, points: applicable, exchanges }
}

const turnedRed = new Set<string>()

async function isRed(point: Point, target: Target): Promise<boolean> {
  try {
    await point.check(target)
    return false
  } catch {
    turnedRed.add(point.name)
    return true
  }
}

const matches = (globs: readonly string[], name: string) =>
  globs.some(glob => new RegExp(`^${glob.split('*').map(escaped).join('.*')}$`, 's').test(name))

const escaped = (text: string) => text.replaceAll(/[\\^$.|?+()[\]{}]/g, '\\$&')

/**
 * The table of mutations.md: for each fault, the models to test, and the number and names of the
 * points that fail.
 */
const TABLE = new Map(
  readFileSync(new URL('../mutations.md', import.meta.url), 'utf8')
    .split('\n')
    .filter(line => line.startsWith('| ') && !line.startsWith('| a server that'))
    .map(line => {
      const [wrong = '', models = '', count = '', points = ''] = line.slice(2, -2).split(' | ')
      const red = [...points.matchAll(/`([^`]+)`/g)].map(([, name]) => name as string)
      return [wrong, { models: models.split('; '), count: Number(count), red }] as const
    }),
)

for (const [wrong, make] of Object.entries(MUTATIONS)) {
  test(`on a server that ${wrong}, exactly the points of mutations.md fail`, async () => {
    const { models, count, red } =
      TABLE.get(wrong) ?? assert.fail(`mutations.md has no row for "${wrong}"`)
    const [got, expected] = [new Set<string>(), new Set<string>()]
    for (const model of models) {
      const { target, points: applicable } = await right(model)
      const bent = behind(target, make())
      for (const point of applicable) {
        if (await isRed(point, bent)) got.add(point.name)
        if (matches(red, point.name)) expected.add(point.name)
      }
    }
    assert.deepEqual([...got].sort(), [...expected].sort())
    assert.equal(count, got.size)
    for (const glob of red)
      assert.ok(
        [...got].some(name => matches([glob], name)),
        `no point that fails matches ${glob} of mutations.md`,
      )
  })
}

/** A request that this many points send is not specific to any of them. */
const SHARED_BY = 8

function ownRequests(
  { exchanges }: Right,
  point: Point,
  isWanted: (status: number) => boolean,
): ReadonlySet<string> {
  const wanted = (exchanges.get(point) ?? [])
    .filter(({ reply }) => isWanted(reply.status))
    .map(({ key }) => key)
  return new Set(wanted.filter(key => (askers(exchanges).get(key) ?? 0) < SHARED_BY))
}

const counted = new WeakMap<object, ReadonlyMap<string, number>>()

function askers(exchanges: Right['exchanges']): ReadonlyMap<string, number> {
  const known = counted.get(exchanges)
  if (known !== undefined) return known
  const counts = new Map<string, number>()
  for (const seen of exchanges.values())
    for (const key of new Set(seen.map(({ key }) => key)))
      counts.set(key, (counts.get(key) ?? 0) + 1)
  counted.set(exchanges, counts)
  return counts
}

for (const model of MODELS) {
  test(`${model}: a point fails if the server accepts its invalid request`, async () => {
    const server = await right(model)
    for (const point of server.points) {
      const mistakes = ownRequests(server, point, status => status >= 400)
      if (mistakes.size === 0) continue
      const bent = behind(server.target, {
        answers: (reply, sent) => (mistakes.has(keyOf(sent)) ? json(200, { outputs: [] }) : reply),
      })
      const red = await isRed(point, bent)
      if (/ is rejected$| gets 404 | gets an error /.test(point.name))
        assert.ok(red, `the point passes although its request is accepted: ${point.name}`)
    }
  })

  test(`${model}: a point fails if the server rejects its valid request`, async () => {
    const server = await right(model)
    for (const point of server.points) {
      const good = ownRequests(server, point, status => status === 200)
      if (good.size === 0) continue
      const bent = behind(server.target, {
        answers: (reply, sent) => (good.has(keyOf(sent)) ? json(400, { error: 'refused' }) : reply),
      })
      const red = await isRed(point, bent)
      if (!ALSO_REFUSED.includes(point.name))
        assert.ok(red, `the point passes although its request is rejected: ${point.name}`)
    }
  })
}

/** The points that send valid requests of their own but do not check the status. */
const ALSO_REFUSED = [
  'metadata has Content-Type application/json',
  'an error response is short even if the invalid value is long',
  'a compressed response has Vary: Accept-Encoding',
]

test('every point fails on at least one faulty server', () =>
  assert.deepEqual(
    points.map(({ name }) => name).filter(name => !turnedRed.has(name)),
    [],
  ))

test('mutations.md has one row per faulty server', () =>
  assert.deepEqual([...TABLE.keys()], Object.keys(MUTATIONS)))
