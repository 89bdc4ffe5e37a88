process.env.ORT_DISABLE_TELEMETRY = '1'
const { InferenceSession, Tensor } = await import('onnxruntime-node')

/*
 * The highest rate of a model on one core: calls `session.run` in a loop, and prints {"perSecond":
 * runs}. Arguments: model file, input, shape, seconds.
 */

const [file, input, shape, seconds] = process.argv.slice(2) as [string, string, string, string]
const session = await InferenceSession.create(file, { intraOpNumThreads: 1, interOpNumThreads: 1 })
const dims = shape.split(',').map(Number)
const values = new Float32Array(dims.reduce((product, length) => product * length)).fill(1)

async function run(forMs: number): Promise<number> {
  const started = performance.now()
  const end = started + forMs
  let runs = 0
  let now = started
  for (; now < end; runs++) {
    await session.run({ [input]: new Tensor('float32', values, dims) })
    now = performance.now()
  }
  return runs / ((now - started) / 1_000)
}

await run(Number(seconds) * 200)
const perSecond = await run(Number(seconds) * 1_000)
process.stdout.write(`${JSON.stringify({ perSecond })}\n`)
