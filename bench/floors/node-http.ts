import { createServer } from 'node:http'
import { infer } from './onnx.ts'

createServer((request, response) => {
  const chunks: Buffer[] = []
  request.on('data', chunk => chunks.push(chunk))
  request.on('end', async () => {
    const answer = JSON.stringify(await infer(JSON.parse(Buffer.concat(chunks).toString())))
    response.writeHead(200, {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(answer),
    })
    response.end(answer)
  })
}).listen(Number(process.env.PORT), '127.0.0.1')
