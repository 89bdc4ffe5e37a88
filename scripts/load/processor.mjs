// The functions that the scenarios in artillery.yml call. They report counters and histograms to
// Artillery through `events`.
import * as http from 'node:http'
import * as https from 'node:https'
import { text } from 'node:stream/consumers'
import { setTimeout as wait } from 'node:timers/promises'

const { TARGET, HOST_HEADER, MODEL, WAKE_UPS = '20', SLEEP_SECONDS } = process.env

/** Seconds until no pod runs. On a cluster: the stable window plus the last pod's grace period. */
const SLEEPS = { local: 3, knative: 150, kserve: 150 }

export async function chooseModel(context) {
  context.vars.model = MODEL ?? 'iris-classifier'
}

/** TARGET and HOST_HEADER override artillery.yml. */
export async function address(request) {
  if (TARGET !== undefined) {
    // Artillery has not filled in the URL's variables yet, and the class URL would escape them.
    const path = request.url.replace(/^https?:\/\/[^/]*/, '')
    request.url = TARGET.replace(/\/$/, '') + path
  }
  if (HOST_HEADER !== undefined) request.headers = { ...request.headers, host: HOST_HEADER }
}

export async function binary(request, context) {
  const { sepalLength, sepalWidth, petalLength, petalWidth } = context.vars
  const tensor = Buffer.from(
    Float32Array.of(sepalLength, sepalWidth, petalLength, petalWidth).buffer,
  )
  const head = JSON.stringify({
    inputs: [
      {
        name: 'input',
        shape: [1, 4],
        datatype: 'FP32',
        parameters: { binary_data_size: tensor.byteLength },
      },
    ],
  })
  request.body = Buffer.concat([Buffer.from(head), tensor])
  request.headers = {
    ...request.headers,
    'content-type': 'application/octet-stream',
    'inference-header-content-length': String(Buffer.byteLength(head)),
  }
}

export async function event(request) {
  request.headers = {
    ...request.headers,
    'ce-specversion': '1.0',
    'ce-id': crypto.randomUUID(),
    'ce-source': '/load',
    'ce-type': 'com.example.iris.classify.request',
  }
}

export async function countVersion(_request, response, _context, events) {
  const { model_version: version, outputs } = JSON.parse(response.body)
  events.emit('counter', `canary.version.${version}`, 1)
  events.emit('counter', `canary.answer.${version}.${outputs[1].data[0]}`, 1)
}

export function moreWakeUps(context, next) {
  const { wakeUps = 0 } = context.vars
  next(wakeUps < Number(WAKE_UPS))
}

export async function untilAsleep(context) {
  await wait(1_000 * Number(SLEEP_SECONDS ?? SLEEPS[context.vars.$environment] ?? SLEEPS.local))
}

/**
 * If a new process sent the response, records a wake-up and the startup's share of the response
 * time.
 */
export async function recordWakeUp(request, { timings }, context, events) {
  const { vars } = context
  const total = timings.response - timings.start
  vars.wakeUps = (vars.wakeUps ?? 0) + 1
  const metrics = await readMetrics(new URL('/metrics', request.url))
  const began = Number(/^process_start_time_seconds (\S+)$/m.exec(metrics)?.[1])
  if (Number.isNaN(began)) throw new Error('GET /metrics has no process_start_time_seconds')
  if (began === vars.began) {
    events.emit('counter', 'cold.still_awake', 1)
    return
  }
  vars.began = began
  let ours = 0
  for (const [, phase, seconds] of metrics.matchAll(
    /^cold_start_seconds\{phase="([^"]+)"\} (\S+)$/gm,
  )) {
    ours += 1_000 * Number(seconds)
    events.emit('histogram', `cold.ours.${phase}_ms`, 1_000 * Number(seconds))
  }
  events.emit('counter', 'cold.wake_ups', 1)
  events.emit('histogram', 'cold.total_ms', total)
  events.emit('histogram', 'cold.ours_ms', ours)
  events.emit('histogram', 'cold.platform_ms', Math.max(0, total - ours))
}

/** fetch cannot send a Host header that differs from the address; node:http can. */
function readMetrics(url) {
  const { get } = url.protocol === 'https:' ? https : http
  const headers = HOST_HEADER === undefined ? {} : { host: HOST_HEADER }
  return new Promise((resolve, reject) => {
    get(url, { headers, agent: false }, response => text(response).then(resolve, reject)).once(
      'error',
      reject,
    )
  })
}
