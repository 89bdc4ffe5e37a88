import { $ } from './dom.js'
import { follows, ratesBetween, readSample } from './rates.js'

const POLL_MS = 2_000
/** Periods over which the line, the rate and the latencies are shown. */
const KEPT_SECONDS = 120
const LATENCY_SECONDS = 60
const RATE_SECONDS = 6
/**
 * How long the page polls after the last interaction. Each poll is a request and keeps a function
 * from scaling to zero, so a page that is left open must stop polling.
 */
const ATTENTION_MS = 60_000

/** Shows how many requests the process answers, and how fast, while the page is in use. */
export function showLive() {
  /** @type {import('./rates.js').Sample[]} */
  let samples = []
  let timer
  let isPolling = false
  let attentionUntil = performance.now() + ATTENTION_MS

  const isLookedAt = () =>
    document.visibilityState === 'visible' && performance.now() < attentionUntil

  async function poll() {
    timer = undefined
    if (!isLookedAt()) {
      say(
        'Paused so that an idle function can scale to zero. Move the pointer or press a key to resume.',
      )
      return
    }
    isPolling = true
    try {
      const response = await fetch('/metrics', { cache: 'no-store' })
      if (!response.ok) throw new Error(`GET /metrics returned ${response.status}`)
      const sample = readSample(await response.text(), performance.now() / 1000)
      const last = samples.at(-1)
      if (last !== undefined && !follows(last, sample)) samples = []
      samples = [...samples.filter(({ at }) => at > sample.at - KEPT_SECONDS), sample]
      draw(samples)
      say('')
    } catch (error) {
      samples = []
      say(`The metrics cannot be read: ${error.message}`)
    }
    isPolling = false
    timer = setTimeout(poll, POLL_MS)
  }

  function attend() {
    attentionUntil = performance.now() + ATTENTION_MS
    if (timer === undefined && !isPolling && document.visibilityState === 'visible')
      timer = setTimeout(poll, 0)
  }

  $('#live').hidden = false
  for (const event of ['pointermove', 'pointerdown', 'keydown', 'focus', 'scroll'])
    addEventListener(event, attend, { passive: true })
  document.addEventListener('visibilitychange', () => {
    clearTimeout(timer)
    timer = undefined
    attend()
  })
  attend()
}

function draw(samples) {
  const last = samples.at(-1)
  const since = seconds => samples.find(({ at }) => at >= last.at - seconds)
  const [recent, longer] = [since(RATE_SECONDS), since(LATENCY_SECONDS)]
  if (recent === last) return
  const { perSecond, errorsPerSecond } = ratesBetween(recent, last)
  const { mean, p95 } = ratesBetween(longer, last)
  $('#rate').textContent = rateText(perSecond)
  $('#errors').textContent = rateText(errorsPerSecond)
  $('#mean').textContent = durationText(mean)
  $('#p95').textContent = durationText(p95)

  const rates = samples
    .slice(1)
    .map((sample, i) => ({ at: sample.at, value: ratesBetween(samples[i], sample).perSecond }))
  const most = Math.max(...rates.map(({ value }) => value), 1)
  const points = rates.map(
    ({ at, value }) =>
      `${(KEPT_SECONDS - (last.at - at)).toFixed(2)} ${(31 - (value / most) * 29).toFixed(2)}`,
  )
  const line = `M${points.join('L')}`
  const left = points[0].split(' ')[0]
  $('#live .line').setAttribute('d', line)
  $('#live .area').setAttribute('d', `${line}L${KEPT_SECONDS} 32L${left} 32Z`)
}

const rateText = rate =>
  rate >= 99.5 ? String(Math.round(rate)) : String(Number(rate.toPrecision(2)))

const durationText = seconds => {
  if (seconds === undefined) return '–'
  return seconds < 1
    ? `${Number((seconds * 1000).toPrecision(2))} ms`
    : `${Number(seconds.toPrecision(2))} s`
}

function say(text) {
  if ($('#live-note').textContent !== text) $('#live-note').textContent = text
}
