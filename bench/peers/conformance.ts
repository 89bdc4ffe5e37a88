import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Result } from '../../conformance/ask.ts'
import { grpcGroups, points } from '../../conformance/points.ts'
import { summaryOf, type Totals, totalsOf } from '../../conformance/report.ts'
import { projectFolder } from '../../test/server.ts'
import { freePort, ours, PEERS, type Subject, start } from '../subjects.ts'
import { install } from './install.ts'

/*
 * Writes the results of the conformance suite for this server and its peers to
 * conformance/servers.md.
 */

const page = join(projectFolder, 'conformance/servers.md')

const POINTS = [...points, ...Object.values(grpcGroups).flat()]

interface Report {
  readonly suite: { readonly name: string; readonly version: string; readonly node: string }
  readonly date: string
  readonly extensions: readonly string[]
  readonly totals: Totals
  readonly points: readonly Result[]
}

interface Conformance {
  readonly name: string
  /** The name and version in the server's metadata. */
  readonly server: string
  /** The number of starts: one, and one after each point that crashed the server. */
  readonly starts: number
  readonly report: Report
}

/** FastAPI is omitted: it implements only one route. */
const SUBJECTS: readonly Subject[] = [ours(), ...PEERS.filter(({ name }) => name !== 'FastAPI')]

/** If a point crashes the server, restarts it and runs the remaining points. */
async function ask(subject: Subject): Promise<Conformance> {
  const reports: Report[] = []
  let server = ''
  for (let left = POINTS.map(({ name }) => name); left.length > 0; ) {
    const grpcPort = await freePort()
    const env = { ...subject.env, GRPC_PORT: String(grpcPort) }
    const running = await start({ ...subject, env }, undefined)
    try {
      const url = `http://127.0.0.1:${running.port}`
      const { name, version } = (await (await fetch(`${url}/v2`)).json()) as {
        name: string
        version: string
      }
      server = `${name} ${version}`
      // This server uses one port for HTTP and gRPC.
      const grpc = `127.0.0.1:${subject === SUBJECTS[0] ? running.port : grpcPort}`
      const report = await conformance({ url, grpc, names: left })
      reports.push(report)
      const asked = new Set(report.points.map(({ point }) => point))
      left = left.filter(point => !asked.has(point))
    } finally {
      await running.stop()
    }
  }
  const [first] = reports as [Report]
  const results = reports.flatMap(({ points }) => points)
  return {
    name: subject.name,
    server,
    starts: reports.length,
    report: { ...first, points: results, totals: totalsOf(results) },
  }
}

interface Asked {
  readonly url: string
  readonly grpc: string
  readonly names: readonly string[]
}

/** @throws {Error} if the server cannot be reached */
async function conformance({ url, grpc, names }: Asked): Promise<Report> {
  const folder = mkdtempSync(join(tmpdir(), 'conformance-'))
  const file = join(folder, 'results.json')
  const only = names.length === POINTS.length ? [] : names.map(name => `--only=${name}`)
  const args = [
    'conformance/run.ts',
    '--url',
    url,
    '--model',
    'iris-classifier',
    '--grpc',
    grpc,
    '--json',
    file,
    ...only,
  ]
  try {
    await new Promise<void>((resolve, reject) =>
      execFile(
        process.execPath,
        args,
        { cwd: projectFolder, maxBuffer: 2 ** 26 },
        (error, _, stderr) =>
          error !== null && error.code !== 1 ? reject(new Error(stderr)) : resolve(),
      ),
    )
    return JSON.parse(readFileSync(file, 'utf8'))
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const holds = ({ pass, fail }: Totals['required']) => `${pass} of ${pass + fail}`

const code = (text: string) => `\`\` ${text.replaceAll('``', '` `')} \`\``

const short = (text: string) => (text.length > 140 ? `${text.slice(0, 139)}…` : text)

function failures(results: readonly Result[], level: Result['level']): string {
  const failed = results.filter(result => result.level === level && result.outcome === 'fail')
  return failed
    .map(({ group, point, got }) => `- ${group}: ${code(point)}: ${code(short(got))}`)
    .join('\n')
}

function section({
  name,
  server,
  starts,
  report: { extensions, totals, points },
}: Conformance): string {
  const { required, stricter } = totals
  const lists = [
    ...(required.fail === 0
      ? []
      : ['### Required points that fail', '', failures(points, 'required'), '']),
    ...(stricter.fail === 0
      ? []
      : [
          `<details><summary>${stricter.fail} stricter readings that fail</summary>`,
          '',
          failures(points, 'stricter'),
          '',
          '</details>',
          '',
        ]),
  ]
  return [
    `## ${name}`,
    '',
    `${server}; extensions: ${extensions.join(', ') || 'none'}.${starts === 1 ? '' : ` It crashed ${starts - 1} times during these points, and was restarted each time.`}`,
    '',
    '```',
    summaryOf(points),
    '```',
    '',
    ...(lists.length === 0 ? ['All points pass.', ''] : lists),
  ].join('\n')
}

const asked: Conformance[] = []
for (const subject of SUBJECTS) {
  const reason =
    subject.name === 'onnx-function'
      ? undefined
      : await install(subject.name.toLowerCase().split(' ')[0] as string)
  if (reason !== undefined) {
    process.stderr.write(`${subject.name} cannot be installed: ${reason}\n`)
    continue
  }
  process.stderr.write(`${subject.name}\n`)
  asked.push(await ask(subject))
}
const [{ report: first } = {} as Conformance] = asked
const generated = [
  `Suite ${first?.suite.version}, Node ${first?.suite.node}, ${first?.date.slice(0, 10)}; \`node bench/peers/conformance.ts\`, which starts each server and runs`,
  '',
  '```sh',
  'npm run conformance -- --url http://127.0.0.1:PORT --model iris-classifier --grpc 127.0.0.1:PORT',
  '```',
  '',
  '| server | required points that pass | stricter readings that pass | not applicable |',
  '|---|---|---|---|',
  ...asked.map(
    ({ name, server, report: { totals } }) =>
      `| ${name} (${server}) | ${holds(totals.required)} | ${holds(totals.stricter)} | ${totals.required['not applicable'] + totals.stricter['not applicable']} |`,
  ),
  '',
  ...asked.map(section),
].join('\n')
const text = readFileSync(page, 'utf8')
const mark = '<!-- generated from here: node bench/peers/conformance.ts -->\n'
writeFileSync(page, `${text.slice(0, text.indexOf(mark) + mark.length)}\n${generated.trimEnd()}\n`)
