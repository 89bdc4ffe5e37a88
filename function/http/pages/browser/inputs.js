import { make } from './dom.js'
import { parseExactly } from './json.js'
import {
  dataJson,
  elementCount,
  elementJson,
  halfBytes,
  nestedShape,
  resized,
  Unsendable,
  writtenTensor,
} from './request.js'
import { sliderRange } from './slider.js'

/** So many elements get a field each; more are written as JSON, and more than anybody writes are made up. */
const MOST_FIELDS = 64
const MOST_WRITTEN = 4_096
const MOST_MADE = 2_000_000
/** A row of more elements has fields without sliders. */
const MOST_SLIDERS = 8

/** The sizes of variable dimensions. Those of one name in the graph are one, as the server wants it. */
export function createDimensions(inputs) {
  const sizes = new Map()
  const keyOf = ({ name, dimensionNames }, d) => dimensionNames[d] || JSON.stringify([name, d])
  const reset = () => {
    for (const input of inputs) {
      for (const d of variable(input)) sizes.set(keyOf(input, d), input.example.shape[d])
    }
  }
  reset()
  return {
    reset,
    keyOf,
    shapeOf: input =>
      input.shape.map((size, d) => (size === -1 ? sizes.get(keyOf(input, d)) : size)),
    set: (input, d, size) => sizes.set(keyOf(input, d), size),
  }
}

const variable = ({ shape, anyRank }) =>
  anyRank ? [] : [...shape.keys()].filter(d => shape[d] === -1)

const emptyOf = datatype => ({ BOOL: 'false', BYTES: '' })[datatype] ?? '0'

/** A shape in the graph's own words. */
const shapeText = ({ shape, dimensionNames, anyRank }) =>
  anyRank
    ? 'any shape'
    : `[${shape.map((size, d) => (size === -1 ? dimensionNames[d] || 'any' : size)).join(', ')}]`

/**
 * The part of the form for one input.
 * @param changed is told of every change; with `resize` where a dimension has another size, which other inputs may share, and with
 *   `removed` where that is for a row less
 */
export function createInput(input, index, dimensions, changed) {
  const { name, datatype, anyRank } = input
  const hasRows = !anyRank && input.shape[0] === -1
  const shapeOf = () => (anyRank ? input.example.shape : dimensions.shapeOf(input))

  let shape
  /** One text an element, for fields and for what is made up. */
  let elements
  let how
  let made = 'example'
  /** What is made up does not change by typing. */
  let madeData
  let written = ''
  let file

  const shapeShown = make('output')
  const way = make('select')
  way.onchange = () => {
    switchTo(way.value)
    changed({})
  }
  const sizeFields = new Map(variable(input).map(d => [d, sizeField(d)]))
  const options = make(
    'div',
    make('label', 'Given as', way),
    ...[...sizeFields.values()].map(field => field.parentElement),
    shapeShown,
  )
  options.className = 'options'
  const values = make('div')
  const problem = problemElement(`input-${index}-problem`)
  const legend = make('legend', make('code', name), typeElement())
  const element = make('fieldset', legend, options, problem, values)
  element.className = 'input'

  function typeElement() {
    const type = make('span', make('code', datatype), ' ', make('code', shapeText(input)))
    type.className = 'type'
    return type
  }

  function reset() {
    shape = shapeOf()
    file = undefined
    madeData = undefined
    made = 'example'
    const count = elementCount(shape)
    elements = count > MOST_MADE ? [] : exampleElements()
    if (anyRank) how = 'json'
    else if (count <= MOST_FIELDS) how = 'fields'
    else if (count <= MOST_WRITTEN) how = 'json'
    else how = count <= MOST_MADE ? 'made' : 'file'
    written = count <= MOST_WRITTEN ? nested(elements, shape, datatype) : ''
    draw()
  }

  /** The example, in the shape there is now. */
  function exampleElements() {
    const { example } = input
    if (example.elements === undefined)
      return new Array(elementCount(shape)).fill(example.every ?? emptyOf(datatype))
    return resized(example.elements, example.shape, shape, emptyOf(datatype))
  }

  /** A dimension has another size. */
  function resize() {
    const to = shapeOf()
    if (String(to) === String(shape)) return
    const from = shape
    shape = to
    madeData = undefined
    if (how === 'fields') {
      elements = resized(elements, from, to, emptyOf(datatype))
      if (elements.length > MOST_FIELDS) how = 'json'
      if (how === 'json') {
        written = nested(elements, to, datatype)
        draw()
        return
      }
    } else if (how === 'made') makeUp(made)
    // What is being typed stays as it is.
    if (how === 'json') drawOptions()
    else draw()
  }

  /** A row that inputs share is gone from each of them. */
  function removeRow({ row, key }) {
    if (how !== 'fields' || !hasRows || dimensions.keyOf(input, 0) !== key) return
    const size = elements.length / shape[0]
    elements.splice(row * size, size)
    shape = [shape[0] - 1, ...shape.slice(1)]
    draw()
  }

  function setSize(d, size) {
    dimensions.set(input, d, size)
    changed({ resize: true })
  }

  function draw() {
    drawOptions()
    const content = {
      fields: fieldsElement,
      json: writtenElement,
      made: madeElement,
      file: fileElement,
    }[how]
    values.replaceChildren(...content())
  }

  /** What can be chosen, and how large it is. Fields for sizes stay, so that somebody can go on typing in them. */
  function drawOptions() {
    shapeShown.textContent = anyRank
      ? ''
      : `${count(elementCount(shape), 'value')} in shape [${shape.join(', ')}]`
    const size = elementCount(shape)
    const ways = [
      size <= MOST_FIELDS && !anyRank && ['fields', 'fields'],
      ['json', 'JSON'],
      size > MOST_FIELDS && size <= MOST_MADE && ['made', 'made up'],
      datatype !== 'BYTES' && size > MOST_FIELDS && ['file', 'a file of bytes'],
    ].filter(Boolean)
    way.replaceChildren(
      ...ways.map(([value, text]) => new Option(text, value, false, value === how)),
    )
    for (const [d, field] of sizeFields) {
      if (Number(field.value) !== shape[d]) field.value = String(shape[d])
      field.parentElement.hidden = how === 'json' || (d === 0 && how === 'fields')
    }
  }

  function sizeField(d) {
    const field = /** @type {HTMLInputElement} */ (
      Object.assign(make('input'), { type: 'number', min: '0', step: '1', required: true })
    )
    field.oninput = () => {
      if (field.validity.valid) setSize(d, Number(field.value))
    }
    make(
      'label',
      input.dimensionNames[d] || (d === 0 && hasRows ? 'rows' : `dimension ${d}`),
      field,
    )
    return field
  }

  function switchTo(to) {
    if (to === 'json' && (how === 'fields' || elementCount(shape) <= MOST_WRITTEN))
      written = nested(elements, shape, datatype)
    if (to === 'fields') elements = readWritten() ?? elements
    if (to === 'made') makeUp(made)
    how = to
    draw()
  }

  /** @returns the elements that are written, where they are as many as the shape says */
  function readWritten() {
    try {
      const flat = [parseExactly(written)].flat(Number.POSITIVE_INFINITY).map(String)
      return flat.length === elementCount(shape) ? flat : undefined
    } catch {
      return undefined
    }
  }

  function makeUp(what) {
    made = what
    madeData = undefined
    const count = elementCount(shape)
    if (what === 'example') elements = exampleElements()
    else elements = Array.from({ length: count }, MAKERS[what](datatype))
  }

  // Fields, one an element

  const fieldId = at => `input-${index}-${at}`

  function fieldsElement() {
    const rows = hasRows ? shape[0] : 1
    const size = rows === 0 ? 0 : elements.length / rows
    const inner = hasRows ? shape.slice(1) : shape
    const limits =
      size <= MOST_SLIDERS
        ? sliderRange(datatype, input.example.elements ?? [input.example.every])
        : undefined
    const groups = Array.from({ length: rows }, (_, row) => {
      const fields = make(
        'div',
        ...Array.from({ length: size }, (_, i) =>
          fieldElement(row * size + i, placeText(i, inner), row, limits),
        ),
      )
      fields.className = size <= MOST_SLIDERS ? 'fields' : 'fields dense'
      return hasRows ? rowElement(row, fields) : fields
    })
    const list = make('div', ...groups)
    list.className = 'rows'
    if (!hasRows) return [list]
    const add = smallButton('Add a row', () => setSize(0, shape[0] + 1))
    add.classList.add('add')
    return [list, make('p', add)]
  }

  function rowElement(row, fields) {
    const remove = smallButton('Remove', () => {
      const to = shape[0] - 1
      dimensions.set(input, 0, to)
      changed({ resize: true, removed: { row, key: dimensions.keyOf(input, 0) } })
      const add = /** @type {HTMLElement} */ (values.querySelector('.add'))
      add.focus()
    })
    remove.setAttribute('aria-label', `Remove row ${row + 1}`)
    const title = make('legend', `Row ${row + 1}`, ...(shape[0] > 1 ? [remove] : []))
    const group = make('fieldset', title, fields)
    group.className = 'row'
    return group
  }

  /** @param limits of a slider beside the field, if it is to have one */
  function fieldElement(at, place, row, limits) {
    const where = make('span', `${name}, ${hasRows ? `row ${row + 1}, ` : ''}`)
    where.className = 'sr'
    const label =
      place === '' && !hasRows
        ? make('label', make('code', name))
        : make('label', where, make('code', place || 'value'))
    label.htmlFor = fieldId(at)
    const field = Object.assign(make('input'), {
      id: fieldId(at),
      autocomplete: 'off',
      spellcheck: false,
    })
    const wrapper = make('div', label)
    wrapper.className = 'field'
    if (datatype === 'BOOL') {
      Object.assign(field, { type: 'checkbox', checked: elements[at] === 'true' })
      field.onchange = () => edit(at, String(field.checked))
    } else {
      Object.assign(field, { type: 'text', value: elements[at] })
      if (datatype !== 'BYTES') field.inputMode = 'decimal'
      field.oninput = () => {
        edit(at, field.value)
        if (range !== undefined && Number.isFinite(Number(field.value))) range.value = field.value
      }
    }
    const range =
      limits && Object.assign(make('input'), { type: 'range', ...limits, value: elements[at] })
    if (range !== undefined) {
      range.setAttribute('aria-label', `${label.textContent}, slider`)
      range.oninput = () => {
        field.value = range.value
        edit(at, range.value)
      }
      wrapper.classList.add('slides')
      wrapper.append(range)
    }
    wrapper.append(field)
    return wrapper
  }

  function edit(at, text) {
    elements[at] = text
    changed({})
  }

  // JSON, as somebody writes or pastes it

  function writtenElement() {
    const area = make('textarea')
    Object.assign(area, {
      value: written,
      rows: 3,
      spellcheck: false,
      autocomplete: 'off',
      id: `input-${index}-json`,
    })
    area.oninput = () => {
      written = area.value
      const resize = followNesting()
      drawOptions()
      changed({ resize })
    }
    const label = make('label', make('span', `${name}, `), 'nested as its shape or flat', area)
    label.className = 'written'
    label.firstElementChild.className = 'sr'
    return [label]
  }

  /** Variable dimensions get the size that what is written has. @returns whether any did */
  function followNesting() {
    if (anyRank) return false
    let nesting
    try {
      nesting = nestedShape(JSON.parse(written))
    } catch {
      return false
    }
    const free = variable(input)
    const fixed = elementCount(input.shape.filter(size => size !== -1))
    if (nesting.length === input.shape.length)
      for (const d of free) dimensions.set(input, d, nesting[d])
    else if (nesting.length === 1 && free.length === 1 && nesting[0] % fixed === 0)
      dimensions.set(input, free[0], nesting[0] / fixed)
    else return false
    shape = shapeOf()
    return true
  }

  // Too many to type

  function madeElement() {
    const ways = Object.keys(MAKERS).filter(way => datatype !== 'BYTES' || way === 'zeros')
    const names = {
      zeros: datatype === 'BYTES' ? 'empty' : 'zeros',
      ones: 'ones',
      random: 'random',
    }
    const select = make(
      'select',
      new Option('the example', 'example'),
      ...ways.map(way => new Option(names[way], way)),
    )
    select.value = made
    const preview = make('p')
    preview.className = 'preview'
    const show = () => {
      preview.textContent = `${elements.slice(0, 8).join(', ')}${elements.length > 8 ? `, … ${elements.length.toLocaleString('en')} values` : ''}`
    }
    select.onchange = () => {
      makeUp(select.value)
      show()
      changed({})
    }
    show()
    const label = make('label', make('span', `${name}, `), 'Values ', select)
    label.firstElementChild.className = 'sr'
    const line = make('div', label)
    line.className = 'options'
    return [line, preview]
  }

  function fileElement() {
    const chooser = Object.assign(make('input'), { type: 'file', id: `input-${index}-file` })
    chooser.onchange = async () => {
      const [chosen] = chooser.files
      file = chosen && new Uint8Array(await chosen.arrayBuffer())
      changed({})
    }
    const label = make('label', `Elements of ${datatype}, little-endian, row after row`, chooser)
    label.className = 'written'
    return [label]
  }

  /** @returns the tensor in the form @throws {Unsendable} */
  function read() {
    const tensor = { name, shape: [...shape], datatype }
    if (how === 'file') {
      if (file === undefined) throw new Unsendable('no file is chosen')
      return { ...tensor, bytes: file }
    }
    if (how === 'json')
      return writtenTensor(input, written, nesting => (anyRank ? nesting : tensor.shape))
    if (datatype === 'FP16') return { ...tensor, bytes: halfBytes(elements) }
    if (how === 'fields') return { ...tensor, data: dataJson(datatype, elements) }
    madeData ??= dataJson(datatype, elements)
    return { ...tensor, data: madeData }
  }

  /** Shows what is wrong where it is. @returns what to put the focus on */
  function mark(text, at) {
    const field =
      at === undefined || how !== 'fields' ? undefined : document.getElementById(fieldId(at))
    if (field) {
      const said = problemElement(`${fieldId(at)}-problem`)
      said.textContent = text
      said.hidden = false
      field.parentElement.append(said)
      describe(field, said)
      return field
    }
    problem.textContent = text
    problem.hidden = false
    const control = /** @type {HTMLElement} */ (
      values.querySelector('textarea, input, select') ?? options.querySelector('select, input')
    )
    if (how !== 'fields') describe(control, problem)
    else element.setAttribute('aria-describedby', problem.id)
    return control
  }

  function describe(control, said) {
    control.setAttribute('aria-invalid', 'true')
    control.setAttribute('aria-describedby', said.id)
  }

  function unmark() {
    problem.hidden = true
    element.removeAttribute('aria-describedby')
    for (const said of values.querySelectorAll('.problem')) said.remove()
    for (const control of element.querySelectorAll('[aria-invalid]')) {
      control.removeAttribute('aria-invalid')
      control.removeAttribute('aria-describedby')
    }
  }

  reset()
  return { element, read, reset, resize, removeRow, mark, unmark }
}

/** How values are made up; the same for every element but what is random. */
const MAKERS = {
  zeros: datatype => () => emptyOf(datatype),
  ones: datatype => () => (datatype === 'BOOL' ? 'true' : '1'),
  random: datatype => () => {
    if (datatype === 'BOOL') return String(Math.random() < 0.5)
    if (datatype.startsWith('FP')) return Math.random().toFixed(4)
    return String(Math.floor(Math.random() * (datatype === 'UINT8' ? 256 : 10)))
  },
}

/** Where an element stands: [2], or [0, 2] where there are more dimensions; a scalar stands nowhere. */
function placeText(at, shape) {
  if (shape.length === 0) return ''
  const place = []
  let rest = at
  for (const size of [...shape].reverse()) {
    place.unshift(rest % size)
    rest = Math.floor(rest / size)
  }
  return `[${place.join(', ')}]`
}

/** As JSON, a line for each row. */
function nested(elements, shape, datatype) {
  const write = (from, sizes) => {
    const [size, ...inner] = sizes
    if (size === undefined) return elementJson(datatype, elements[from])
    const stride = elementCount(inner)
    const parts = Array.from({ length: size }, (_, i) => write(from + i * stride, inner))
    return `[${parts.join(inner.length === 0 ? ', ' : ',\n ')}]`
  }
  return shape.length === 0 ? `[${write(0, shape)}]` : write(0, shape)
}

const count = (n, what) => `${n.toLocaleString('en')} ${what}${n === 1 ? '' : 's'}`

function smallButton(text, action) {
  const button = make('button', text)
  button.type = 'button'
  button.className = 'small'
  button.onclick = action
  return button
}

function problemElement(id) {
  const said = make('p')
  said.id = id
  said.className = 'problem'
  said.hidden = true
  return said
}
