import { readResponse, short, shownRows } from './answer.js'
import { make } from './dom.js'

const MOST_ROWS = 20

/**
 * Creates the elements that show an inference response.
 * @param {Uint8Array} body
 * @param {Headers} headers
 * @param model the model, with its labels and outputs
 */
export function shownResponse(body, headers, model) {
  const jsonLength = headers.get('inference-header-content-length')
  const { text, response, outputs } = readResponse(body, jsonLength)
  const shown = outputs.map(output => {
    const { shape, anyRank } = model.outputs.find(({ name }) => name === output.name)
    return { ...output, rows: shownRows(output, model.labels, shape[0] === -1 && !anyRank) }
  })
  // Show a classifier's text output first.
  shown.sort((a, b) => Number(b.datatype === 'BYTES') - Number(a.datatype === 'BYTES'))
  const { model_name: name, model_version: version = '' } = response
  return {
    elements: shown.map(outputElement),
    raw: text,
    by: ` by ${name} ${version}`.trimEnd(),
    summary: summary(shown),
  }
}

/** Returns a one-word output as text, for users of screen readers. */
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
  if (rows.length === 0) element.append(note('The output has no rows.'))
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
    ? [list, note(`These are the first ${items.length} of ${row.of.toLocaleString('en')} values.`)]
    : [list]
}

export function barElements({ bars, shares, negative, of }) {
  const list = make('ul', ...bars.map(barElement))
  list.className = negative ? 'bars signed' : 'bars'
  const notes = [
    ...(bars.length < of
      ? [`These are the ${bars.length} largest of ${of.toLocaleString('en')} values.`]
      : []),
    ...(shares
      ? []
      : [
          'The values do not add up to 1, so the lengths of the bars are relative to the largest value.',
        ]),
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

export function note(text) {
  const element = make('p', text)
  element.className = 'note'
  return element
}
