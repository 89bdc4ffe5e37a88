import { createServer } from 'node:http'

/** The least work of a Node server: it sends the same bytes for every request. */
const { status, headers, body } = JSON.parse(process.env.BENCH_ANSWER as string)
const bytes = Buffer.from(body, 'base64')

createServer((_request, response) => {
  response.writeHead(status, headers)
  response.end(bytes)
}).listen(Number(process.env.PORT), '127.0.0.1')
