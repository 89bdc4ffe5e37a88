import { make } from '../dom.js'
import { describe, problemElement, undescribe } from '../problem.js'
import { elementCount } from '../request.js'
import { shapeText, variable } from './dimensions.js'
import { exampleElements, MOST_FIELDS, MOST_MADE, MOST_WRITTEN } from './elements.js'
import { Fields } from './fields.js'
import { BytesFile } from './file.js'
import { Made } from './made.js'
import { Written } from './written.js'

/** The part of the form for one input: its value, and the way in which the value is entered. */
export class Input {
  /** @type {number[]} */
  shape
  /** One text per element, for fields and generated values. @type {string[]} */
  elements

  /**
   * @param changed called for every change: with `resize` if the size of a dimension changed,
   *   because other inputs may share the dimension, and with `removed` if a row was removed
   */
  constructor(metadata, index, dimensions, changed) {
    this.metadata = metadata
    this.index = index
    this.dimensions = dimensions
    this.changed = changed
    this.hasRows = !metadata.anyRank && metadata.shape[0] === -1
    this.ways = {
      fields: new Fields(this),
      json: new Written(this),
      made: new Made(this),
      file: new BytesFile(this),
    }
    /** @type {'fields' | 'json' | 'made' | 'file'} */
    this.way = 'json'
    this.#make()
    this.reset()
  }

  /** Creates the permanent elements. */
  #make() {
    const { metadata, index } = this
    this.shapeShown = make('output')
    this.select = make('select')
    this.select.onchange = () => {
      this.#switchTo(this.select.value)
      this.changed({})
    }
    this.sizeFields = new Map(variable(metadata).map(d => [d, this.#sizeField(d)]))
    this.options = make(
      'div',
      make('label', 'Input as', this.select),
      ...[...this.sizeFields.values()].map(field => field.parentElement),
      this.shapeShown,
    )
    this.options.className = 'options'
    this.values = make('div')
    this.problem = problemElement(`input-${index}-problem`)
    const type = make('span', make('code', metadata.datatype), ' ')
    type.append(make('code', shapeText(metadata)))
    type.className = 'type'
    const legend = make('legend', make('code', metadata.name), type)
    this.element = make('fieldset', legend, this.options, this.problem, this.values)
    this.element.className = 'input'
  }

  #sizeField(d) {
    const { dimensionNames } = this.metadata
    const field = /** @type {HTMLInputElement} */ (
      Object.assign(make('input'), { type: 'number', min: '0', step: '1', required: true })
    )
    field.oninput = () => {
      if (field.validity.valid) this.setSize(d, Number(field.value))
    }
    const name = d === 0 && this.hasRows ? 'rows' : `dimension ${d}`
    make('label', dimensionNames[d] || name, field)
    return field
  }

  /** The number of elements. */
  get count() {
    return elementCount(this.shape)
  }

  /** Applies the current sizes of the dimensions. */
  followDimensions() {
    const { metadata, dimensions } = this
    this.shape = metadata.anyRank ? metadata.example.shape : dimensions.shapeOf(metadata)
  }

  /** Returns to the example. */
  reset() {
    this.followDimensions()
    this.elements = this.count > MOST_MADE ? [] : exampleElements(this.metadata, this.shape)
    this.way = this.#firstWay()
    for (const way of Object.values(this.ways)) way.reset()
    this.#draw()
  }

  #firstWay() {
    if (this.metadata.anyRank) return 'json'
    if (this.count <= MOST_FIELDS) return 'fields'
    if (this.count <= MOST_WRITTEN) return 'json'
    return this.count <= MOST_MADE ? 'made' : 'file'
  }

  #switchTo(way) {
    this.ways[way].begin(this.way)
    this.way = way
    this.#draw()
  }

  setSize(d, size) {
    this.dimensions.set(this.metadata, d, size)
    this.changed({ resize: true })
  }

  /** Applies a changed dimension. */
  resize() {
    const from = this.shape
    this.followDimensions()
    if (String(this.shape) === String(from)) return
    const other = this.ways[this.way].resize(from, this.shape)
    if (other !== undefined) this.#switchTo(other)
    // Do not redraw the text while the person types.
    else if (this.way === 'json') this.drawOptions()
    else this.#draw()
  }

  removeOwnRow(row) {
    const { dimensions, metadata } = this
    dimensions.set(metadata, 0, this.shape[0] - 1)
    this.changed({ resize: true, removed: { row, key: dimensions.keyOf(metadata, 0) } })
  }

  /** Removes a row. A row that inputs share is removed from each of these inputs. */
  removeRow({ row, key }) {
    const isShared = this.hasRows && this.dimensions.keyOf(this.metadata, 0) === key
    if (this.way !== 'fields' || !isShared) return
    this.ways.fields.removeRow(row)
    this.#draw()
  }

  #draw() {
    this.drawOptions()
    this.values.replaceChildren(...this.ways[this.way].draw())
  }

  /**
   * Draws the possible ways and the sizes. Keeps the fields for sizes, so that the person can
   * continue to type in them.
   */
  drawOptions() {
    const { count, shape, metadata } = this
    const values = `${count.toLocaleString('en')} value${count === 1 ? '' : 's'}`
    this.shapeShown.textContent = metadata.anyRank ? '' : `${values} in shape [${shape.join(', ')}]`
    const possible = Object.entries(this.ways).filter(([, way]) => way.isPossible(count))
    this.select.replaceChildren(
      ...possible.map(([name, { label }]) => new Option(label, name, false, name === this.way)),
    )
    for (const [d, field] of this.sizeFields) {
      if (Number(field.value) !== shape[d]) field.value = String(shape[d])
      field.parentElement.hidden = this.way === 'json' || (d === 0 && this.way === 'fields')
    }
  }

  /** @returns the tensor in the form @throws {Unsendable} if the tensor cannot be sent */
  read() {
    const { name, datatype } = this.metadata
    return this.ways[this.way].read({ name, shape: [...this.shape], datatype })
  }

  /**
   * Shows a problem beside the element that caused it.
   * @param at the index of the element, if it is known
   * @returns the element to focus on
   */
  mark(text, at) {
    const { fields } = this.ways
    const field =
      at === undefined || this.way !== 'fields' ? null : document.getElementById(fields.idOf(at))
    if (field !== null) {
      const said = problemElement(`${field.id}-problem`)
      said.textContent = text
      said.hidden = false
      field.parentElement.append(said)
      describe(field, said)
      return field
    }
    this.problem.textContent = text
    this.problem.hidden = false
    const control = /** @type {HTMLElement} */ (
      this.values.querySelector('textarea, input, select') ??
        this.options.querySelector('select, input')
    )
    if (this.way !== 'fields') describe(control, this.problem)
    else this.element.setAttribute('aria-describedby', this.problem.id)
    return control
  }

  unmark() {
    this.problem.hidden = true
    this.element.removeAttribute('aria-describedby')
    undescribe(this.element)
  }
}
