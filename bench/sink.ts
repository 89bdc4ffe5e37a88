import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

/** A collector that discards all data. It runs in the load's process, on the load's core. */
const server = createServer((request, response) => {
  request.resume().once('end', () => response.end())
})
server.listen(0, '127.0.0.1')
await once(server, 'listening')
server.unref()

export const SINK = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
