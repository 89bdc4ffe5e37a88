import { once } from 'node:events'
import type { Served } from '../conformance/test/target.ts'
import { type Server, startServer, testModel } from './server.ts'

/** Small enough for a single read, and large enough for an id of 1 MB. */
const MAX_BODY_BYTES = 2 * 2 ** 20

/** Starts this server for the conformance suite, with iris or a model in test/models. */
export async function serve(name: string): Promise<{ server: Server; served: Served }> {
  const isIris = name === 'iris'
  const server = await startServer({
    MAX_BODY_BYTES: String(MAX_BODY_BYTES),
    ...(!isIris && { MODEL_DIR: testModel(name) }),
  })
  const { name: model, version } = server.service.model
  const served = {
    url: server.url,
    model,
    version,
    casesFile: `${testModel(name)}/cases.json`,
    maxBodyBytes: isIris ? MAX_BODY_BYTES : undefined,
  }
  return { server, served }
}

/** As a program, serves the named models, prints their addresses, and exits when its input ends. */
if (import.meta.main) {
  const names = process.argv.slice(2)
  const all = await Promise.all(names.map(serve))
  const served = Object.fromEntries(all.map(({ served }, i) => [names[i], served]))
  process.stdout.write(`${JSON.stringify(served)}\n`)
  process.stdin.resume()
  await once(process.stdin, 'end')
  await Promise.all(all.map(({ server }) => server.stop()))
}
