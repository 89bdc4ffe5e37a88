import { make, smallButton } from '../dom.js'
import { dataJson, halfBytes } from '../request.js'
import { sliderRange } from '../slider.js'
import { MOST_FIELDS, placeText, reshaped } from './elements.js'
import { Way } from './way.js'

/** In rows with more elements than this, fields have no sliders. */
const MOST_SLIDERS = 8

/** One field per element. */
export class Fields extends Way {
  label = 'fields'

  isPossible(count) {
    return count <= MOST_FIELDS && !this.input.metadata.anyRank
  }

  begin() {
    this.input.elements = this.input.ways.json.readElements() ?? this.input.elements
  }

  /** Switches to JSON if there are too many elements for fields. */
  resize(from, to) {
    const { input } = this
    input.elements = reshaped(input.metadata, input.elements, from, to)
    return input.elements.length > MOST_FIELDS ? 'json' : undefined
  }

  removeRow(row) {
    const { input } = this
    const size = input.elements.length / input.shape[0]
    input.elements.splice(row * size, size)
    input.shape = [input.shape[0] - 1, ...input.shape.slice(1)]
  }

  draw() {
    const { elements, shape, hasRows, metadata } = this.input
    const rows = hasRows ? shape[0] : 1
    const size = rows === 0 ? 0 : elements.length / rows
    const inner = hasRows ? shape.slice(1) : shape
    const { example, datatype, features } = metadata
    const limits =
      size <= MOST_SLIDERS ? sliderRange(datatype, example.elements ?? [example.every]) : undefined
    const groups = Array.from({ length: rows }, (_, row) => {
      const places = Array.from({ length: size }, (_, i) => ({
        at: row * size + i,
        place: placeText(i, inner, features),
        row,
      }))
      const fields = make('div', ...places.map(place => this.#field(place, limits)))
      fields.className = size <= MOST_SLIDERS ? 'fields' : 'fields dense'
      return hasRows ? this.#row(row, fields) : fields
    })
    const list = make('div', ...groups)
    list.className = 'rows'
    if (!hasRows) return [list]
    const add = smallButton('Add a row', () => this.input.setSize(0, this.input.shape[0] + 1))
    add.classList.add('add')
    return [list, make('p', add)]
  }

  #row(row, fields) {
    const { input } = this
    const remove = smallButton('Remove', () => {
      input.removeOwnRow(row)
      const add = /** @type {HTMLElement} */ (input.values.querySelector('.add'))
      add.focus()
    })
    remove.setAttribute('aria-label', `Remove row ${row + 1}`)
    const title = make('legend', `Row ${row + 1}`, ...(input.shape[0] > 1 ? [remove] : []))
    const group = make('fieldset', title, fields)
    group.className = 'row'
    return group
  }

  /** @param limits the limits of the slider beside the field, if the field has a slider */
  #field({ at, place, row }, limits) {
    const { metadata, elements } = this.input
    const label = this.#label(place, row)
    label.htmlFor = this.idOf(at)
    const field = Object.assign(make('input'), {
      id: this.idOf(at),
      autocomplete: 'off',
      spellcheck: false,
    })
    const wrapper = make('div', label)
    wrapper.className = 'field'
    if (metadata.datatype === 'BOOL') {
      Object.assign(field, { type: 'checkbox', checked: elements[at] === 'true' })
      field.onchange = () => this.#edit(at, String(field.checked))
    } else {
      Object.assign(field, { type: 'text', value: elements[at] })
      if (metadata.datatype !== 'BYTES') field.inputMode = 'decimal'
      field.oninput = () => this.#edit(at, field.value)
    }
    if (limits !== undefined) {
      wrapper.classList.add('slides')
      wrapper.append(this.#slider(at, field, { label: label.textContent, limits }))
    }
    wrapper.append(field)
    return wrapper
  }

  #label(place, row) {
    const { metadata, hasRows } = this.input
    if (place === '' && !hasRows) return make('label', make('code', metadata.name))
    const where = make('span', `${metadata.name}, ${hasRows ? `row ${row + 1}, ` : ''}`)
    where.className = 'sr'
    return make('label', where, metadata.features ? place : make('code', place || 'value'))
  }

  /** Creates a slider. The slider and the field always have the same value. */
  #slider(at, field, { label, limits }) {
    const value = this.input.elements[at]
    const slider = Object.assign(make('input'), { type: 'range', ...limits, value })
    slider.setAttribute('aria-label', `${label}, slider`)
    slider.oninput = () => {
      field.value = slider.value
      this.#edit(at, slider.value)
    }
    field.oninput = () => {
      this.#edit(at, field.value)
      if (Number.isFinite(Number(field.value))) slider.value = field.value
    }
    return slider
  }

  #edit(at, text) {
    this.input.elements[at] = text
    this.input.changed({})
  }

  idOf(at) {
    return `input-${this.input.index}-${at}`
  }

  read(tensor) {
    const { elements } = this.input
    return tensor.datatype === 'FP16'
      ? { ...tensor, bytes: halfBytes(elements) }
      : { ...tensor, data: dataJson(tensor.datatype, elements) }
  }
}
