import { curl, toBase64 } from './curl.js'
import { $, make } from './dom.js'
import { eventHeaders, structuredEvent } from './request.js'

/** A shell takes no longer word than 128 KiB; nobody reads one of a tenth of it. */
const LONGEST_COMMAND = 16_000

const METHOD = 'POST'

/** The body that the shown download and commands are of. */
let download

/**
 * Shows a request as commands: as it is, and as the data of an event.
 * @param request
 * @param {string} path that it is sent to
 * @param event the attributes of the event
 */
export function showCommands({ headers, json, bytes, answer }, path, event) {
  const size = bytes.reduce((sum, part) => sum + part.length, json.length)
  const file =
    size > LONGEST_COMMAND ? (bytes.length > 0 ? 'request.bin' : 'request.json') : undefined
  const body = file === undefined ? { body: json, tail: toBase64(joined(bytes)) } : { file }
  const isStructured = bytes.length === 0 && answer === 'json' && file === undefined
  const [, structured] = $('#mode').options
  structured.disabled = !isStructured
  if (!isStructured) $('#mode').value = 'binary'
  const url = `${location.origin}/`
  $('#curl').textContent = curl({ url: location.origin + path, method: METHOD, headers, ...body })
  $('#event').textContent =
    $('#mode').value === 'binary'
      ? curl({ url, method: METHOD, headers: [...headers, ...eventHeaders(event)], ...body })
      : curl({
          url,
          method: METHOD,
          headers: [['Content-Type', 'application/cloudevents+json']],
          body: structuredEvent(event, json),
        })
  offerDownload(file, json, bytes)
}

/** Shows instead of commands why there are none. */
export function showNoCommands(text) {
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
