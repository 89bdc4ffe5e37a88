import express from 'express'
import { infer } from './onnx.ts'

express()
  .use(express.json({ limit: '64mb' }))
  .post('/v2/models/:model/infer', async (request, response) => {
    response.json(await infer(request.body))
  })
  .listen(Number(process.env.PORT), '127.0.0.1')
