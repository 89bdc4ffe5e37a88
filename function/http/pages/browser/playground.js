import { placeOfError, readResponse, short, shownRows } from './answer.js'
import { curl, toBase64 } from './curl.js'
import { $, copies, make } from './dom.js'
import { createDimensions } from './input/dimensions.js'
import { Input } from './input/input.js'
import { pretty } from './json.js'
import { showLive } from './live.js'
import { eventHeaders, inferenceRequest, structuredEvent, Unsendable } from './request.js'

const model = JSON.parse($('#model').textContent)
const form = $('form')
const dimensions = createDimensions(model.inputs)
const inputs = model.inputs.map((input, i) => new Input(input, i, dimensions, changed))

/** A shell takes no longer word than 128 KiB; nobody reads one of a tenth of it. */
const LONGEST_COMMAND = 16_000

const MOST_ROWS = 20
const LONGEST_RAW = 50_000

function changed({ resize = false, removed = undefined }) {
  if (removed) for (const input of inputs) input.removeRow(removed)
  if (resize) for (const input of inputs) input.resize()
  unmark()
  showCommands()
  if (answered && !$('#at-once').checked) $('#changed').hidden = false
  if ($('#at-once').checked) run({ focus: false })
}

/** @throws {{ input: number, error: Unsendable }} */
function readRequest() {
  const tensors = inputs.map((input, i) => {
    try {
      return input.read()
    } catch (error) {
      if (!(error instanceof Unsendable)) throw error
      throw Object.assign(error, { input: i })
    }
  })
  return inferenceRequest(tensors, model.outputs)
}

// Commands

/** The body that the shown download and commands are of. */
let download

function showCommands() {
  let request
  try {
    request = readRequest()
  } catch (error) {
    if (!(error instanceof Unsendable)) throw error
    tellCommands(`Nothing can be sent: ${model.inputs[error.input].name}: ${error.message}`)
    return
  }
  const { headers, json, bytes, answer } = request
  const size = bytes.reduce((sum, part) => sum + part.length, json.length)
  const file =
    size > LONGEST_COMMAND ? (bytes.length > 0 ? 'request.bin' : 'request.json') : undefined
  const body = file === undefined ? { body: json, tail: toBase64(joined(bytes)) } : { file }
  const isStructured = bytes.length === 0 && answer === 'json' && file === undefined
  const [, structured] = $('#mode').options
  structured.disabled = !isStructured
  if (!isStructured) $('#mode').value = 'binary'
  const method = 'POST'
  $('#curl').textContent = curl({
    url: location.origin + model.inferPath,
    method,
    headers,
    ...body,
  })
  $('#event').textContent =
    $('#mode').value === 'binary'
      ? curl({
          url: `${location.origin}/`,
          method,
          headers: [...headers, ...eventHeaders(model.event)],
          ...body,
        })
      : curl({
          url: `${location.origin}/`,
          method,
          headers: [['Content-Type', 'application/cloudevents+json']],
          body: structuredEvent(model.event, json),
        })
  offerDownload(file, json, bytes)
}

function tellCommands(text) {
  $('#curl').textContent = text
  $('#event').textContent = text
  offerDownload(undefined)
}

/** Where the body is no part of the command, it is a file beside it. */
function offerDownload(file, json, bytes) {
  if (download !== undefined) URL.revokeObjectURL(download)
  download = undefined
  $('#download').hidden = file === undefined
  if (file === undefined) return
  const blob = new Blob([json, ...bytes], { type: 'application/octet-stream' })
  download = URL.createObjectURL(blob)
  const link = Object.assign(make('a', file), { href: download, download: file })
  $('#download').replaceChildren(
    make(
      'span',
      'The request is too long for a command: it is in ',
      link,
      ` (${blob.size.toLocaleString('en')} bytes).`,
    ),
  )
}

function joined(parts) {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}

// Asking

let answered = false
let isRunning = false
let isWanted = false

/**
 * Runs the model on what is in the form; while it runs, of all further wishes only the last is
 * followed.
 */
async function run({ focus }) {
  isWanted = true
  if (isRunning) return
  isRunning = true
  form.setAttribute('aria-busy', 'true')
  while (isWanted) {
    isWanted = false
    await ask({ focus })
  }
  form.removeAttribute('aria-busy')
  isRunning = false
}

async function ask({ focus }) {
  let request
  try {
    request = readRequest()
  } catch (error) {
    if (!(error instanceof Unsendable)) throw error
    refused({ input: error.input, element: error.element, text: error.message }, 'Not sent', focus)
    return
  }
  const { headers, json, bytes } = request
  const began = performance.now()
  try {
    const response = await fetch(model.inferPath, {
      method: 'POST',
      headers,
      body: new Blob([json, ...bytes]),
      cache: 'no-store',
    })
    const body = new Uint8Array(await response.arrayBuffer())
    const milliseconds = performance.now() - began
    if (response.ok)
      showAnswer(
        readResponse(body, response.headers.get('inference-header-content-length')),
        milliseconds,
      )
    else
      refused(
        placeOfError(errorOf(body), model.inputs),
        `${response.status} ${response.statusText}`.trim(),
        focus,
      )
  } catch (error) {
    refused({ input: undefined, element: undefined, text: error.message }, 'No answer', focus)
  }
}

/** What the server says is wrong; what a proxy before it answers may be anything. */
function errorOf(body) {
  const text = new TextDecoder().decode(body)
  try {
    return JSON.parse(text).error ?? text
  } catch {
    return text
  }
}

function refused({ input, element, text }, status, focus) {
  clearAnswer()
  const place = inputs[input]
  if (place === undefined) {
    tell(status, 'bad')
    $('#problem').textContent = text
    $('#problem').hidden = false
    return
  }
  unmark()
  const control = place.mark(text, element)
  tell(status, 'bad', `: input ${model.inputs[input].name}: ${text}`)
  if (focus) control.focus()
}

function unmark() {
  for (const input of inputs) input.unmark()
}

function clearAnswer() {
  answered = false
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

// The answer

function showAnswer({ text, response, outputs }, milliseconds) {
  clearAnswer()
  unmark()
  answered = true
  const shown = outputs.map(output => {
    const { shape, anyRank } = model.outputs.find(({ name }) => name === output.name)
    return { ...output, rows: shownRows(output, model.labels, shape[0] === -1 && !anyRank) }
  })
  // What a classifier says in a word comes first.
  shown.sort((a, b) => Number(b.datatype === 'BYTES') - Number(a.datatype === 'BYTES'))
  $('#outputs').replaceChildren(...shown.map(outputElement))
  $('#raw').hidden = false
  $('#raw pre').textContent =
    text.length > LONGEST_RAW
      ? `${text.slice(0, LONGEST_RAW)} … (${text.length - LONGEST_RAW} characters more)`
      : pretty(text)
  const { model_name: name, model_version: version = '' } = response
  const said = make('span', summary(shown))
  said.className = 'sr'
  tell('Answered', 'good', ` in ${milliseconds.toFixed(1)} ms by ${name} ${version}`, said)
}

/** For who hears the page: the word, where the answer is one. */
function summary([{ rows } = { rows: [] }]) {
  const [row] = rows
  return rows.length === 1 && row.texts?.length === 1 ? `: ${row.texts[0]}` : ''
}

function outputElement({ name, datatype, shape, rows }) {
  const type = make('span', make('code', datatype), ' ', make('code', `[${shape.join(', ')}]`))
  type.className = 'type'
  const element = make('section', make('h3', make('code', name), type))
  element.className = rows.length > 1 ? 'output many' : 'output'
  rows.slice(0, MOST_ROWS).forEach((row, i) => {
    const result = make(
      'div',
      ...(rows.length > 1 ? [make('h4', `Row ${i + 1}`)] : []),
      ...rowElements(row),
    )
    result.className = 'result'
    element.append(result)
  })
  if (rows.length > MOST_ROWS)
    element.append(
      note(
        `${(rows.length - MOST_ROWS).toLocaleString('en')} more rows are in the response below.`,
      ),
    )
  if (rows.length === 0) element.append(note('No rows.'))
  return element
}

function rowElements(row) {
  if (row.bars) return barElements(row)
  if (row.texts?.length === 1 && row.of === 1) {
    const said = make('p', row.texts[0] === '' ? '(empty text)' : row.texts[0])
    said.className = 'said'
    return [said]
  }
  const items =
    row.texts ??
    row.numbers.map(({ value, label }) =>
      label === undefined ? short(value) : `${value} (${label})`,
    )
  const list = make('ul', ...items.map(item => make('li', item)))
  list.className = items.length === 1 ? 'numbers one' : 'numbers'
  return row.of > items.length
    ? [list, note(`The first ${items.length} of ${row.of.toLocaleString('en')} values.`)]
    : [list]
}

function barElements({ bars, shares, negative, of }) {
  const list = make('ul', ...bars.map(barElement))
  list.className = negative ? 'bars signed' : 'bars'
  const notes = [
    ...(bars.length < of ? [`The ${bars.length} largest of ${of.toLocaleString('en')}.`] : []),
    ...(shares ? [] : ['These do not add up to 1: lengths are relative to the largest.']),
  ]
  return notes.length === 0 ? [list] : [list, note(notes.join(' '))]

  function barElement({ name, value, length, isLargest }) {
    const bar = make('span')
    bar.className = value < 0 ? 'bar negative' : 'bar'
    bar.style.width = `${(length * (negative ? 50 : 100)).toFixed(2)}%`
    const track = make('span', bar)
    track.className = 'track'
    track.setAttribute('aria-hidden', 'true')
    const number = make('span', short(value))
    number.className = 'value'
    number.title = String(value)
    const item = make('li', make('span', name), track, number)
    if (isLargest) item.className = 'largest'
    return item
  }
}

function note(text) {
  const element = make('p', text)
  element.className = 'note'
  return element
}

// The page

$('#inputs').append(...inputs.map(({ element }) => element))
form.onsubmit = event => {
  event.preventDefault()
  run({ focus: true })
}
form.onkeydown = event => {
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) form.requestSubmit()
}
$('#reset').onclick = () => {
  dimensions.reset()
  for (const input of inputs) input.reset()
  changed({})
}
$('#at-once').onchange = () => {
  if ($('#at-once').checked) run({ focus: false })
}
$('#mode').onchange = showCommands
copies($('#copy-curl'), $('#curl'))
copies($('#copy-event'), $('#event'))
$('#playground').hidden = false
showCommands()
showLive()
