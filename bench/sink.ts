import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

/**
 * A collector that accepts and drops all pushed data; it runs beside the load, on the load's core.
 */
const server = createServer((request, response) => {
  request.resume().once('end', () => response.end())
})
server.listen(0, '127.0.0.1')
await once(server, 'listening')
server.unref()

export const SINK = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
