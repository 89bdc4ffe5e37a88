import { setTimeout as wait } from 'node:timers/promises'
import { defineTransform } from 'onnx-function'

/*
 * A transform for iris with the faults that wrong.long.ts tests. Each thread has its own module
 * state.
 */

let hungUp = 0
let counted = 0

function loop(): never {
  for (;;);
}

function block(ms: number): void {
  const end = performance.now() + ms
  while (performance.now() < end);
}

interface Asked {
  readonly do?: string
  readonly ms?: number
  readonly rows?: number
}

const FAULTS: Record<string, (asked: Asked, signal: AbortSignal) => unknown> = {
  loop,
  asyncloop: async () => {
    await wait(1)
    loop()
  },
  count: () => {
    counted++
  },
  never: () => new Promise(() => {}),
  wait: ({ ms = 0 }, signal) => {
    signal.addEventListener('abort', () => {
      hungUp++
    })
    return wait(ms)
  },
  block: ({ ms = 0 }) => block(ms),
  leak: () => {
    Promise.reject(new Error('this rejection is not awaited'))
  },
  timer: () => {
    setTimeout(() => {
      throw new Error('this error is not caught')
    }, 1)
  },
  exit: () => process.exit(3),
  memory: () => {
    const all: unknown[] = []
    for (;;) all.push(new Array(100_000).fill(all.length))
  },
}

export default defineTransform()({
  input: { properties: { name: { type: 'string', pattern: '^(a+)+$' } } },
  async preprocess(data, { signal }) {
    const asked = data as Asked
    await FAULTS[asked.do ?? '']?.(asked, signal)
    const row = [5.1, 3.5, 1.4, 0.2]
    return { input: Array.from({ length: asked.rows ?? 1 }, () => row) as never }
  },
  async postprocess(outputs, data) {
    const asked = data as Asked
    if (asked.do === 'postnever') await new Promise(() => {})
    if (asked.do === 'postloop') loop()
    return { label: outputs.predicted_class?.data[0], hungUp, counted }
  },
})
