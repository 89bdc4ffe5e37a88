import { make } from '../dom.js'
import { dataJson, halfBytes } from '../request.js'
import { exampleElements, MAKERS, MOST_FIELDS, MOST_MADE } from './elements.js'
import { Way } from './way.js'

const SHOWN = 8

/** Generated values, for inputs with too many elements to type. */
export class Made extends Way {
  label = 'generated'
  #what = 'example'
  /** The generated values as JSON, kept because typing does not change them. */
  #data

  isPossible(count) {
    return count > MOST_FIELDS && count <= MOST_MADE
  }

  reset() {
    this.#what = 'example'
    this.#data = undefined
  }

  begin() {
    this.#make(this.#what)
  }

  resize() {
    this.#make(this.#what)
    return undefined
  }

  #make(what) {
    const { input } = this
    const { datatype } = input.metadata
    this.#what = what
    this.#data = undefined
    input.elements =
      what === 'example'
        ? exampleElements(input.metadata, input.shape)
        : Array.from({ length: input.count }, MAKERS[what](datatype))
  }

  draw() {
    const { datatype, name } = this.input.metadata
    const ways = Object.keys(MAKERS).filter(way => datatype !== 'BYTES' || way === 'zeros')
    const nameOf = way => (way === 'zeros' && datatype === 'BYTES' ? 'empty' : way)
    const select = make(
      'select',
      new Option('the example', 'example'),
      ...ways.map(way => new Option(nameOf(way), way)),
    )
    select.value = this.#what
    const preview = make('p', this.#preview())
    preview.className = 'preview'
    select.onchange = () => {
      this.#make(select.value)
      preview.textContent = this.#preview()
      this.input.changed({})
    }
    const label = make('label', make('span', `${name}, `), 'Values ', select)
    label.firstElementChild.className = 'sr'
    const line = make('div', label)
    line.className = 'options'
    return [line, preview]
  }

  #preview() {
    const { elements } = this.input
    const more = elements.length > SHOWN ? `, … ${elements.length.toLocaleString('en')} values` : ''
    return `${elements.slice(0, SHOWN).join(', ')}${more}`
  }

  read(tensor) {
    const { elements } = this.input
    if (tensor.datatype === 'FP16') return { ...tensor, bytes: halfBytes(elements) }
    this.#data ??= dataJson(tensor.datatype, elements)
    return { ...tensor, data: this.#data }
  }
}
