import { showCommands, showNoCommands } from './commands.js'
import { $, copies, make } from './dom.js'
import { pretty } from './json.js'
import { showLive } from './live.js'
import { Unsendable } from './request.js'
import { shownResponse } from './response.js'
import { whenSeen } from './seen.js'
import { TensorForm } from './tensor-form.js'
import { shownAnswer } from './value/answer.js'
import { ValueForm } from './value/value-form.js'

const model = JSON.parse($('#model').textContent)
const form = $('form')
const { transform } = model
const fields =
  transform?.preprocess === true
    ? new ValueForm(transform, changed)
    : new TensorForm(model, changed)
/** The path that callers use, with or without a transform. */
const path = transform === undefined ? model.inferPath : '/'

const LONGEST_RAW = 50_000

/** Delay before the page shows that it is waiting. */
const LONG_MS = 1_500

const FILL_IN = 'Fill in the form and press Run.'

/** The number of changes to the form. */
let changes = 0

function changed() {
  changes++
  fields.unmark()
  tellCommands()
  if ($('#on-change').checked) run({ focus: false })
  else if (isAnswered) $('#changed').hidden = false
}

function tellCommands() {
  try {
    showCommands(fields.read(), path, model.event)
  } catch (error) {
    if (!(error instanceof Unsendable)) throw error
    showNoCommands(`The form cannot be sent yet: ${error.where}${error.message}`)
  }
}

// Running

let isAnswered = false
let isRunning = false
/** @type {Run | undefined} */
let wanted

/**
 * @typedef {{ focus: boolean, isFirst?: boolean }} Run whether to focus on a refused field, and
 * whether the page has just been opened
 */

/**
 * Sends the contents of the form. Only one request is in flight at a time; of the requests that
 * wait, only the last one is sent.
 * @param {Run} options
 */
async function run(options) {
  wanted = options
  if (isRunning) return
  isRunning = true
  form.setAttribute('aria-busy', 'true')
  while (wanted !== undefined) {
    const next = wanted
    wanted = undefined
    await send(next)
  }
  form.removeAttribute('aria-busy')
  isRunning = false
}

/** @param {Run} options */
async function send(options) {
  let request
  try {
    request = fields.read()
  } catch (error) {
    if (!(error instanceof Unsendable)) throw error
    if (options.isFirst) $('#status').textContent = FILL_IN
    else refused('Not sent', error.message, { ...options, place: fields.refuseToSend(error) })
    return
  }
  const waits = setTimeout(tellWaiting, LONG_MS, options)
  const sent = changes
  try {
    receive(await post(request), { ...options, sent })
  } catch (error) {
    refused('No response', error.message, options)
  } finally {
    clearTimeout(waits)
  }
}

/** @returns the response, and the duration of the request in milliseconds */
async function post({ headers, json, bytes }) {
  const began = performance.now()
  const response = await fetch(path, {
    method: 'POST',
    headers,
    body: new Blob([json, ...bytes]),
    cache: 'no-store',
  })
  const body = new Uint8Array(await response.arrayBuffer())
  return { response, body, milliseconds: performance.now() - began }
}

/**
 * @param got the response
 * @param {Run & { sent: number }} options `sent` is the number of changes to the form at the time
 *   of the request
 */
function receive(got, options) {
  const { response, body, milliseconds } = got
  if (response.ok) {
    const shown =
      transform?.postprocess === true
        ? shownAnswer(body, response.headers, transform.output)
        : shownResponse(body, response.headers, model)
    showAnswer(shown, milliseconds)
    $('#changed').hidden = options.sent === changes
    return
  }
  const text = errorOf(body)
  const status = `${response.status} ${response.statusText}`.trim()
  const place = options.isFirst ? undefined : fields.refuse(text)
  refused(status, text, { ...options, place })
}

/** Returns the server's error. A proxy may respond in any other format. */
function errorOf(body) {
  const text = new TextDecoder().decode(body)
  try {
    return JSON.parse(text).error ?? text
  } catch {
    return text
  }
}

function tellWaiting({ isFirst = false }) {
  $('#status').textContent = isFirst
    ? 'Running the example… The model may still be starting.'
    : 'Waiting for the response…'
}

/**
 * @param {string} status
 * @param {string} text
 * @param {Run & { place?: { control: HTMLElement, text: string } }} options `place` is the place
 *   that already shows the error
 */
function refused(status, text, { focus, isFirst, place }) {
  clearAnswer()
  if (place !== undefined) {
    tell(status, 'bad', `: ${place.text}`)
    if (focus) place.control.focus()
    return
  }
  if (isFirst)
    $('#status').textContent =
      `The example has no response yet (${status}). Press Run to try again, or change the values.`
  else tell(status, 'bad')
  $('#problem').textContent = text
  $('#problem').hidden = false
}

function clearAnswer() {
  isAnswered = false
  $('#changed').hidden = true
  $('#problem').hidden = true
  $('#outputs').replaceChildren()
  $('#raw').hidden = true
}

function tell(word, kind, ...rest) {
  const element = make('span', word)
  element.className = kind
  $('#status').replaceChildren(element, ...rest)
}

/**
 * @param {{ elements: HTMLElement[], raw?: string, by?: string, summary?: string }} shown
 * @param {number} milliseconds
 */
function showAnswer({ elements, raw, by = '', summary = '' }, milliseconds) {
  clearAnswer()
  fields.unmark()
  isAnswered = true
  $('#outputs').replaceChildren(...elements)
  showRaw(raw)
  const said = make('span', summary)
  said.className = 'sr'
  tell('Answered', 'good', ` in ${milliseconds.toFixed(1)} ms${by}`, said)
}

/** @param {string | undefined} text undefined if the response is not text */
function showRaw(text) {
  $('#raw').hidden = text === undefined
  if (text === undefined) return
  $('#raw pre').textContent =
    text.length > LONGEST_RAW
      ? `${text.slice(0, LONGEST_RAW)} … (${text.length - LONGEST_RAW} more characters)`
      : pretty(text)
}

// The page

$('#inputs').append(...fields.elements)
form.onsubmit = event => {
  event.preventDefault()
  run({ focus: true })
}
form.onkeydown = event => {
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) form.requestSubmit()
}
$('#reset').onclick = () => {
  fields.reset()
  changed()
}
$('#on-change').onchange = () => {
  if ($('#on-change').checked) run({ focus: false })
}
$('#mode').onchange = tellCommands
copies($('#copy-curl'), $('#curl'))
copies($('#copy-event'), $('#event'))
$('#playground').hidden = false
tellCommands()
// With METRICS_PORT, this port serves no metrics.
if ($('[href="/metrics"]') !== null) showLive()
whenSeen(() => {
  if (changes > 0 || isRunning) return
  if (fields.hasExample) run({ focus: false, isFirst: true })
  else $('#status').textContent = FILL_IN
})
