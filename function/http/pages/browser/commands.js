import { curl, toBase64 } from './curl.js'
import { $, make } from './dom.js'
import { eventHeaders, structuredEvent } from './request.js'

/** A shell accepts at most 128 KiB in one word; people do not read even a tenth of that. */
const LONGEST_COMMAND = 16_000

const METHOD = 'POST'

/** The body of the download and commands shown. */
let download

/**
 * Shows a request as commands: as it is, and as the data of an event.
 * @param {import('./request.js').Request} request
 * @param {string} path the request's path
 * @param attributes of the event
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

/** The file name to download a request as, if it is too long for a command. */
function downloadOf({ json, bytes }) {
  const size = bytes.reduce((sum, part) => sum + part.length, json.length)
  if (size <= LONGEST_COMMAND) return undefined
  return bytes.length > 0 ? 'request.bin' : 'request.json'
}

/**
 * The data of an event in structured mode (CloudEvents, JSON format section 3.1).
 * @param {import('./request.js').Request} request
 * @param {string} base64 of its bytes
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

/** The commands read the person's own file. */
function tellFile(name) {
  offerDownload(undefined)
  $('#download').hidden = false
  $('#download').textContent = `Run the commands in the folder that holds ${name}.`
}

/** Offers the body as a file, if it is not part of the command. */
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
      'The request is too long for a command. Download it: ',
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
