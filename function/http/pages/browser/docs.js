import { curl, fromBase64, toBase64 } from './curl.js'
import { $, copies, make } from './dom.js'
import { pretty } from './json.js'

const utf8 = new TextEncoder()

/** Formats text that contains `code`. */
const prose = text => text.split('`').map((part, i) => (i % 2 === 1 ? make('code', part) : part))

/** Lets the browser break a long path after its slashes. */
const breakable = path => path.split(/(?<=\/)(?=.)/).flatMap(part => [part, make('wbr')])

/** Resolves a reference within the document. */
const resolve = (api, value) =>
  value?.$ref
    ? value.$ref
        .slice(2)
        .split('/')
        .reduce((at, key) => at[key], api)
    : value

/**
 * Returns the examples of a media type: the named JSON examples, and the example with binary tensor
 * data.
 */
const examplesIn = (api, { examples = {}, 'x-example': binary }) => [
  ...Object.entries(examples).map(([name, reference]) => ({ name, ...resolve(api, reference) })),
  ...(binary ? [binary] : []),
]

/** Returns the document's examples of an operation, as texts for the fields of the form. */
function examplesOf(api, operation) {
  const { content = {} } = operation.requestBody ?? {}
  const examples = Object.entries(content).flatMap(([type, media]) =>
    examplesIn(api, media).map(({ name, summary, value, base64 }) => {
      const headers = (operation.parameters ?? [])
        .filter(({ examples }) => examples?.[name])
        .map(({ name: header, examples }) => [header, examples[name].value])
      const lines = [['Content-Type', type], ...headers].map(pair => pair.join(': ')).join('\n')
      if (base64 === undefined)
        return { summary, headers: lines, body: pretty(JSON.stringify(value)), tail: '' }
      const bytes = fromBase64(base64)
      const length = Number(headers[0][1])
      return {
        summary,
        headers: lines,
        body: new TextDecoder().decode(bytes.subarray(0, length)),
        tail: toBase64(bytes.subarray(length)),
      }
    }),
  )
  if (examples.length > 0) return examples
  const [type] = Object.keys(content)
  return [
    { summary: '', headers: type === undefined ? '' : `Content-Type: ${type}`, body: '', tail: '' },
  ]
}

/** @returns the contents of the form */
function read(form) {
  const { method, path, headers, body, tail } = form.elements
  const lines = headers.value.split('\n').filter(line => line.trim() !== '')
  return {
    method: method.value,
    path: path.value,
    headers: lines.map(line =>
      /^([^:]*):?(.*)$/
        .exec(line)
        .slice(1)
        .map(part => part.trim()),
    ),
    body: body.value,
    tail: tail.value.replaceAll(/\s/g, ''),
  }
}

const curlOf = ({ path, method, headers, body, tail }) =>
  curl({ url: location.origin + path, method, headers, body, tail })

async function send({ method, path, headers, body, tail }) {
  const began = performance.now()
  const response = await fetch(location.origin + path, {
    method,
    headers,
    // The Blob has no type, so that only the form's Content-Type is sent.
    body: body === '' && tail === '' ? undefined : new Blob([body, fromBase64(tail)]),
    cache: 'no-store',
    redirect: 'manual',
  })
  const answer = new Uint8Array(await response.arrayBuffer())
  return { response, answer, milliseconds: performance.now() - began }
}

const LONGEST = 100_000

function show({ headers }, bytes) {
  const type = headers.get('content-type') ?? ''
  const text = part => new TextDecoder().decode(part)
  if (/json/.test(type)) return shorten(pretty(text(bytes)))
  if (!/octet-stream/.test(type)) return shorten(text(bytes))
  const length = Number(headers.get('inference-header-content-length'))
  const hex = Array.from(bytes.subarray(length, length + 512), byte =>
    byte.toString(16).padStart(2, '0'),
  ).join(' ')
  return `${shorten(pretty(text(bytes.subarray(0, length))))}\n\n${bytes.length - length} bytes of binary tensor data:\n${hex}${bytes.length - length > 512 ? ' …' : ''}`
}

const shorten = text =>
  text.length > LONGEST
    ? `${text.slice(0, LONGEST)} … (${text.length - LONGEST} more characters)`
    : text

const describe = pairs =>
  pairs.flatMap(([term, ...content]) => [make('dt', term), make('dd', ...content)])

function operationElement(api, path, method, operation) {
  const element = $('template').content.firstElementChild.cloneNode(true)
  const examples = examplesOf(api, operation)
  showDescription(element, { api, path, method, operation })
  const fields = $('form', element).elements
  fields.example.append(...examples.map(({ summary }, i) => new Option(summary, String(i))))
  $('.examples', element).hidden = examples.length < 2
  const fill = ({ headers, body, tail }) => {
    fields.method.value = method.toUpperCase()
    fields.path.value = path
    fields.headers.value = headers
    fields.body.value = body
    fields.tail.value = tail
    update(element)
  }
  fields.example.onchange = () => fill(examples[fields.example.value])
  keepLength(fields)
  listen(element)
  copies($('.copy', element), $('.curl pre', element))
  fill(examples[0])
  return element
}

function showDescription(element, { api, path, method, operation }) {
  element.id = operation.operationId
  $('summary b', element).textContent = method.toUpperCase()
  $('summary b', element).className = method
  $('summary h3', element).append(...breakable(path))
  $('summary span', element).textContent = operation.summary
  $('.description', element).append(...prose(operation.description ?? ''))
  $('.description', element).hidden = operation.description === undefined
  $('.statuses dl', element).append(
    ...describe(
      Object.entries(operation.responses).map(([status, response]) => [
        status,
        ...prose(resolve(api, response).description),
      ]),
    ),
  )
}

/** Shows the fields that the request needs, and the curl command. */
function update(element) {
  const form = $('form', element)
  const { method, body, headers, tail } = form.elements
  const bodiless = method.value === 'GET' || method.value === 'HEAD'
  body.parentElement.hidden = bodiless && body.value === ''
  $('.tail', element).hidden = !/octet-stream/i.test(headers.value) && tail.value === ''
  $('.curl pre', element).textContent = curlOf(read(form))
}

/**
 * Updates the header with the length of the JSON when the JSON changes, if the header was correct
 * before the change.
 */
function keepLength({ body, headers }) {
  let jsonLength = 0
  const bodyLength = () => utf8.encode(body.value).length
  body.onfocus = () => (jsonLength = bodyLength())
  body.oninput = () => {
    const was = new RegExp(`^(inference-header-content-length: *)${jsonLength}$`, 'im')
    headers.value = headers.value.replace(was, (_, name) => name + bodyLength())
    jsonLength = bodyLength()
  }
}

function listen(element) {
  const form = $('form', element)
  form.oninput = event => {
    if (event.target !== form.elements.example) update(element)
  }
  form.onkeydown = event => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) form.requestSubmit()
  }
  form.onsubmit = async event => {
    event.preventDefault()
    // The button is not disabled, because a disabled button would lose the focus.
    if (form.ariaBusy === 'true') return
    form.ariaBusy = 'true'
    await showAnswer(element, read(form))
    form.ariaBusy = 'false'
  }
}

async function showAnswer(element, request) {
  const body = $('.answer .body', element)
  const headers = $('.answer .headers', element)
  const tell = (text, good) => {
    const status = $('.answer .status', element)
    status.className = `status ${good ? 'good' : 'bad'}`
    status.textContent = text
  }
  try {
    const { response, answer, milliseconds } = await send(request)
    body.textContent = show(response, answer)
    body.hidden = answer.length === 0
    headers.replaceChildren(...describe([...response.headers]))
    tell(
      `${response.status} ${response.statusText} · ${milliseconds.toFixed(1)} ms · ${answer.length} bytes`,
      response.ok,
    )
  } catch (error) {
    body.hidden = true
    headers.replaceChildren()
    tell(`The request was not sent, or there was no response: ${error.message}`, false)
  }
}

function open(id) {
  const element = /** @type {HTMLDetailsElement | null} */ (document.getElementById(id))
  if (element === null) return
  element.open = true
  element.scrollIntoView()
}

async function start() {
  const response = await fetch('/openapi.json')
  const api = await response.json()
  if (!response.ok) throw new Error(api.error)
  document.title = `${api.info.title} · API`
  $('h1').textContent = api.info.title
  $('#about').append(
    ...[api.info.summary, ...api.info.description.split('\n\n')].map(text =>
      make('p', ...prose(text)),
    ),
  )
  const operations = Object.entries(api.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({
      tag: operation.tags[0],
      element: operationElement(api, path, method, operation),
    })),
  )
  $('main').replaceChildren(
    ...api.tags.map(({ name, description }) => {
      const own = operations.filter(({ tag }) => tag === name).map(({ element }) => element)
      return make('section', make('h2', name, make('small', description)), ...own)
    }),
  )
  $('details').open = true
  if (location.hash) open(location.hash.slice(1))
  addEventListener('hashchange', () => open(location.hash.slice(1)))
}

start()
  .catch(error => {
    $('#loading').textContent = `This page could not be loaded: ${error.message}`
  })
  .finally(() => $('main').removeAttribute('aria-busy'))
