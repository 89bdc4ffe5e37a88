import { appendFileSync } from 'node:fs'
import { setTimeout as wait } from 'node:timers/promises'
import { defineTransform } from 'onnx-function'

/* Writes what becomes of it to LIFE_FILE, as life.long.ts reads it. */

const tell = (what: string) => appendFileSync(process.env.LIFE_FILE as string, `${what}\n`)

export default defineTransform()({
  async setup({ model }) {
    await wait(20)
    if (process.env.LIFE_FAILS !== undefined) throw new Error('there is no vocabulary')
    tell(`setup of ${model.name}`)
  },
  postprocess() {
    tell('call')
    return 1
  },
  async close() {
    await wait(20)
    tell('close')
  },
})
