import { make } from '../dom.js'
import { parseExactly } from '../json.js'
import { fieldRange, textsOf, valueJson } from './schema.js'

/** A form with one field for each property of a JSON object. */
export class NamedFields {
  label = 'fields'
  #fields
  #changed
  /** @type {string[]} */
  #texts = []
  #ranges = []

  /** @param {import('./schema.js').Field[]} fields */
  constructor(fields, changed) {
    this.#fields = fields
    this.#changed = changed
  }

  /** @param {string} json the previous value in the form */
  begin(json) {
    try {
      this.#texts = textsOf(this.#fields, parseExactly(json))
    } catch {
      // The written text is not valid JSON, so keep the fields as they were.
    }
  }

  reset(example) {
    this.#texts = textsOf(this.#fields, example)
    this.#ranges = this.#fields.map((field, i) => fieldRange(field, this.#texts[i]))
  }

  /** @returns the value as JSON @throws {Unsendable} if the text of a field is not JSON */
  json() {
    return valueJson(this.#fields, this.#texts)
  }

  read() {
    return { contentType: 'application/json', text: this.json() }
  }

  draw() {
    const list = make('div', ...this.#fields.map((field, i) => this.#draw(field, i)))
    list.className = 'fields'
    return [list]
  }

  #draw(field, at) {
    const { label, hint, isRequired, kind } = field
    const id = idOf(at)
    const name = Object.assign(make('label', label), { htmlFor: id })
    const control = this.#control(field, at)
    control.id = id
    const wrapper = make('div', name)
    wrapper.className = 'field'
    const range = this.#ranges[at]
    if (range !== undefined) {
      wrapper.classList.add('slides')
      wrapper.append(this.#slider(control, label, range))
    }
    wrapper.append(control)
    const isLeftOut = !isRequired && kind !== 'boolean'
    const said = [hint.replace(/\.$/, ''), isLeftOut ? 'optional' : ''].filter(Boolean).join('; ')
    if (said === '') return wrapper
    const note = Object.assign(make('p', said), {
      id: `${id}-hint`,
      className: 'note',
    })
    control.setAttribute('aria-describedby', note.id)
    wrapper.append(note)
    return wrapper
  }

  #control({ kind, choices, isRequired }, at) {
    const value = this.#texts[at]
    if (kind === 'boolean') {
      const box = Object.assign(make('input'), { type: 'checkbox', checked: value === 'true' })
      box.onchange = () => this.#edit(at, String(box.checked))
      return box
    }
    if (kind === 'choice') {
      const empty = value === '' || !isRequired ? [new Option('', '')] : []
      const select = make('select', ...empty, ...choices.map(text => new Option(shown(text), text)))
      select.value = value
      select.onchange = () => this.#edit(at, select.value)
      return select
    }
    const control = make(kind === 'json' || value.includes('\n') ? 'textarea' : 'input')
    Object.assign(control, { autocomplete: 'off', spellcheck: false, value, rows: 2 })
    if (kind === 'number') control.inputMode = 'decimal'
    if (kind === 'integer') control.inputMode = 'numeric'
    if (control.type === 'text') control.setAttribute('type', 'text')
    control.oninput = () => this.#edit(at, control.value)
    return control
  }

  /** Creates a slider. The slider and the field always have the same value. */
  #slider(field, label, range) {
    const slider = Object.assign(make('input'), { type: 'range', ...range, value: field.value })
    slider.setAttribute('aria-label', `${label}, slider`)
    const edited = field.oninput
    slider.oninput = () => {
      field.value = slider.value
      edited()
    }
    field.oninput = () => {
      edited()
      if (Number.isFinite(Number(field.value))) slider.value = field.value
    }
    return slider
  }

  #edit(at, text) {
    this.#texts[at] = text
    this.#changed()
  }

  /** @returns the control of a field, if the control is shown */
  controlOf(at) {
    return document.getElementById(idOf(at))
  }
}

const idOf = at => `field-${at}`

/** Formats a choice for people, without quotes around strings. */
function shown(json) {
  const value = JSON.parse(json)
  return typeof value === 'string' ? value : json
}
