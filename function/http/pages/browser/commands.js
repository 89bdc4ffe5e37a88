import { curl, toBase64 } from './curl.js'
import { $, make } from './dom.js'
import { eventHeaders, structuredEvent } from './request.js'

/**
 * The maximum length, in characters, of a command that is shown. A shell accepts up to 128 KiB in
 * one word, but such a long command is not readable.
 */
const LONGEST_COMMAND = 16_000

const METHOD = 'POST'

/** The object URL of the request body that is offered for download. */
let download

/**
 * Shows two commands that send a request: as it is, and as the data of an event.
 * @param {import('./request.js').Request} request
 * @param {string} path the request's path
 * @param attributes the attributes of the event
 */
export function showCommands(request, path, attributes) {
  const { headers, json, bytes } = request
  const file = request.file ?? downloadOf(request)
  const tail = toBase64(joined(bytes))
  const body = file === undefined ? { body: json, tail } : { file }
  const isStructured = request.event !== undefined && file === undefined
  const [, structured] = $('#mode').options
  structured.disabled = !isStructured
  if (!isStructured) $('#mode').value = 'binary'
  const url = `${location.origin}/`
  $('#curl').textContent = curl({ url: location.origin + path, method: METHOD, headers, ...body })
  $('#event').textContent =
    $('#mode').value === 'binary'
      ? curl({ url, method: METHOD, headers: [...headers, ...eventHeaders(attributes)], ...body })
      : curl({
          url,
          method: METHOD,
          headers: [['Content-Type', 'application/cloudevents+json']],
          body: structuredEvent(attributes, request.event, dataMember(request, tail)),
        })
  if (request.file === undefined) offerDownload(file, json, bytes)
  else tellFile(request.file)
}

/** Returns the name of the file to download, if the request is too long for a command. */
function downloadOf({ json, bytes }) {
  const size = bytes.reduce((sum, part) => sum + part.length, json.length)
  if (size <= LONGEST_COMMAND) return undefined
  return bytes.length > 0 ? 'request.bin' : 'request.json'
}

/**
 * Returns the data of an event in structured mode (CloudEvents, JSON format section 3.1).
 * @param {import('./request.js').Request} request
 * @param {string} base64 the bytes of the request in Base64
 */
function dataMember({ json, bytes, event }, base64) {
  if (bytes.length > 0) return `"data_base64":"${base64}"`
  return `"data":${event === 'application/json' ? json : JSON.stringify(json)}`
}

/** Shows a text instead of the commands. */
export function showNoCommands(text) {
  $('#curl').textContent = text
  $('#event').textContent = text
  offerDownload(undefined)
}

/** Explains that the commands read the person's own file. */
function tellFile(name) {
  offerDownload(undefined)
  $('#download').hidden = false
  $('#download').textContent = `Run the commands in the folder that contains ${name}.`
}

/** Offers the body as a file, if the command does not contain it. */
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
      'The request is too long for a command. Download the request: ',
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
