import { Agent, request as httpRequest } from 'node:http'
import { setTimeout as wait } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { CASES, type Case } from './cases.ts'
import { MeasuredServer } from './servers.ts'

const HELP = `node bench/turns/run.ts [--only TEXT] [--rounds N]

Prints the longest turn of the event loop for every kind of request at its limit, in milliseconds of CPU time of the main thread.

  --only TEXT   only the cases whose name contains this text
  --rounds N    how often each case is sent (3)
`

/** The longest turn allowed, in milliseconds of CPU time. */
const MOST_MS = 50

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: '' },
    rounds: { type: 'string', default: '3' },
    help: { type: 'boolean', default: false },
  },
})

const print = (text: string) => process.stdout.write(text)

/** @returns the status, or the code of the error */
function send(
  { method = 'POST', path, headers }: Case,
  port: number,
  own: string,
  body?: string | Uint8Array,
) {
  return new Promise<string>(resolve => {
    const request = httpRequest(
      {
        port,
        host: '127.0.0.1',
        method,
        path: path ?? own,
        headers: headers ?? {},
        agent: new Agent(),
      },
      response => {
        response.resume()
        response.once('end', () => resolve(String(response.statusCode)))
        response.once('error', () => resolve(String(response.statusCode)))
      },
    )
    request.once('error', error => resolve((error as NodeJS.ErrnoException).code ?? error.message))
    request.end(body)
  })
}

/** The server finishes its spans after it has sent the response. */
const AFTERWARDS_MS = 100

async function measure(one: Case, server: MeasuredServer, rounds: number): Promise<string> {
  const body = one.body?.()
  const turns: number[] = []
  let status = ''
  for (let round = 0; round < rounds; round++) {
    server.begin()
    const requests = Array.from({ length: one.times ?? 1 }, () =>
      send(one, server.port, server.path, body),
    )
    status = [...new Set(await Promise.all(requests))].join()
    await wait(AFTERWARDS_MS)
    turns.push(await server.end())
  }
  const longest = Math.max(...turns)
  const shown = turns.map(turn => turn.toFixed(1).padStart(7)).join('')
  return `${longest > MOST_MS ? '!' : ' '} ${shown}  ${status.padEnd(10)} ${one.name}\n`
}

async function main(): Promise<void> {
  if (values.help) {
    print(HELP)
    return
  }
  const chosen = CASES.filter(({ name }) => name.includes(values.only))
  for (const name of new Set(chosen.map(({ server }) => server))) {
    let server = await MeasuredServer.start(name)
    for (const one of chosen.filter(({ server }) => server === name)) {
      const result = await Promise.race([
        measure(one, server, Number(values.rounds)),
        server.ended.then(() => `!    ended             ${one.name}\n`),
      ])
      print(result)
      if (result.includes('ended')) server = await MeasuredServer.start(name)
    }
    await server.stop()
  }
}

await main()
