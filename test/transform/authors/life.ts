import { appendFileSync } from 'node:fs'
import { setTimeout as wait } from 'node:timers/promises'
import { defineTransform } from 'onnx-function'

/* Records its calls in LIFE_FILE, which life.long.ts reads. */

const tell = (what: string) => appendFileSync(process.env.LIFE_FILE as string, `${what}\n`)

export default defineTransform()({
  async setup({ model }) {
    await wait(20)
    if (process.env.LIFE_FAILS !== undefined) throw new Error('the vocabulary is missing')
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
