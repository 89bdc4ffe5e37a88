import { areShares, bars, short } from '../answer.js'
import { make } from '../dom.js'
import { parseExactly, pretty } from '../json.js'
import { barElements, note } from '../response.js'
import { pictureOf } from './picked-file.js'

const MOST_MEMBERS = 12
const LONGEST_WORD = 80

/**
 * Creates the elements that show a transform's response: JSON, a text, a picture, or no content.
 * @param {Uint8Array} body
 * @param {Headers} headers
 * @param output the schema of the transform's output
 */
export function shownAnswer(body, headers, output) {
  const type = headers.get('content-type')?.toLowerCase() ?? ''
  if (body.length === 0 && type === '')
    return {
      elements: [
        note('The response has no content. An event with this data would get no reply event.'),
      ],
      summary: ': no content',
    }
  if (type.startsWith('image/'))
    return {
      elements: [pictureOf(body, type.split(';')[0], 'The response')],
      summary: ': an image',
    }
  const isJson = /[/+]json\b/.test(type)
  if (!isJson && !type.startsWith('text/'))
    return {
      elements: [note(`The response is ${body.length.toLocaleString('en')} bytes of ${type}.`)],
    }
  const text = new TextDecoder().decode(body)
  if (!isJson) return { elements: [word(text)], raw: text }
  const value = parseExactly(text)
  return { elements: valueElements(value, output), raw: text, summary: summary(value) }
}

function valueElements(value, output) {
  const bars = barsOf(value)
  if (bars !== undefined) return bars
  if (typeof value !== 'object' || value === null) return [word(value)]
  const entries = Object.entries(value)
  if (Array.isArray(value) || entries.length === 0 || entries.length > MOST_MEMBERS)
    return [json(value)]
  return entries.map(([name, member]) => {
    const isWord = typeof member !== 'object' || member === null
    const shown = isWord ? [word(member)] : (barsOf(member) ?? [json(member)])
    const said = make('span', output?.properties?.[name]?.description ?? '')
    said.className = 'type'
    const section = make('section', make('h3', make('code', name), said), ...shown)
    section.className = 'output'
    return section
  })
}

/** Creates bars for numbers in an array or an object that are shares of 1. */
function barsOf(value) {
  const entries = Object.entries(Object(value))
  const numbers = entries.map(([, number]) => number)
  if (typeof value !== 'object' || numbers.length < 2) return undefined
  if (!numbers.every(Number.isFinite) || !areShares(numbers)) return undefined
  return barElements(
    bars(numbers, Array.isArray(value) ? undefined : entries.map(([name]) => name)),
  )
}

function word(value) {
  const text = typeof value === 'string' ? value || '(empty text)' : short(value)
  const element = make('p', text)
  element.className = text.length > LONGEST_WORD ? 'long' : 'said'
  element.title = typeof value === 'number' ? String(value) : ''
  return element
}

const json = value => Object.assign(make('pre', pretty(jsonText(value))), { tabIndex: 0 })

/** Formats JSON in which integers beyond 2^53 are bigints. */
const jsonText = value =>
  JSON.stringify(value, (_, each) => (typeof each === 'bigint' ? rawJson(String(each)) : each))

/** Browsers without JSON.rawJSON round the number. */
const rawJson = text => /** @type {any} */ (JSON).rawJSON?.(text) ?? Number(text)

/** Returns the first value of the response, for users of screen readers. */
function summary(value) {
  const first = typeof value === 'object' && value !== null ? Object.values(value)[0] : value
  return typeof first === 'object' ? '' : `: ${first}`
}
