import { make } from '../dom.js'
import { describe, problemElement, undescribe } from '../problem.js'
import { NamedFields } from './named-fields.js'
import { PickedFile } from './picked-file.js'
import { fieldsOf, placeOfViolation } from './schema.js'
import { WrittenValue } from './written-value.js'

/** The form for a transform's input. */
export class ValueForm {
  /** Whether there is an example to send before a person fills in the form. */
  hasExample
  #example
  #fields
  #ways
  #way
  #values = Object.assign(make('div'), { className: 'value-input' })
  #problem = problemElement('value-problem')
  #select = make('select')
  #fieldset

  /**
   * @param transform the schema of the transform's input, and an example of the input
   * @param changed called for every change
   */
  constructor({ input = true, mediaType, example }, changed) {
    this.hasExample = example !== undefined
    this.#example = example
    this.#fields = mediaType === undefined ? fieldsOf(input) : undefined
    this.#ways = waysOf({ input, mediaType, fields: this.#fields }, changed)
    this.#select.append(...this.#ways.map(({ label }) => new Option(label)))
    this.#select.onchange = () => {
      this.#switchTo(this.#select.selectedIndex)
      changed()
    }
    const { title = 'Request', description } = Object(input)
    const parts = description === undefined ? [] : [noteOf(description)]
    const options = make('div', make('label', 'Input as', this.#select))
    options.className = 'options'
    options.hidden = this.#ways.length === 1
    this.#fieldset = make('fieldset', make('legend', title), ...parts, options)
    this.#fieldset.append(this.#problem, this.#values)
    this.#fieldset.className = 'input'
    this.reset()
  }

  get elements() {
    return [this.#fieldset]
  }

  reset() {
    for (const way of this.#ways) way.reset(this.#example)
    this.#way = this.#ways[0]
    this.#select.selectedIndex = 0
    this.#draw()
  }

  #switchTo(index) {
    const json = this.#jsonNow()
    this.#way = this.#ways[index]
    this.#way.begin(json)
    this.#draw()
  }

  /**
   * @returns {string | undefined} the value as JSON; undefined if a field is not JSON, or if a file
   *   is chosen
   */
  #jsonNow() {
    try {
      return this.#way.json()
    } catch {
      return undefined
    }
  }

  #draw() {
    this.unmark()
    this.#values.replaceChildren(...this.#way.draw())
  }

  /** @returns the request in the form @throws {Unsendable} if the contents cannot be sent */
  read() {
    const { contentType, text = '', bytes, file } = this.#way.read()
    return {
      headers: /** @type {[string, string][]} */ ([['Content-Type', contentType]]),
      json: text,
      bytes: bytes === undefined ? [] : [bytes],
      file,
      event: contentType,
    }
  }

  /**
   * Shows the server's error at the field that it names.
   * @param {string} text the text of the error
   * @returns {{ control: HTMLElement, text: string } | undefined} the field to focus on and the
   *   text of the error; undefined if the error names no field
   */
  refuse(text) {
    const at = this.#fields === undefined ? -1 : placeOfViolation(text, this.#fields)
    if (this.#way instanceof NamedFields) return at === -1 ? undefined : this.#mark(text, at)
    return at === -1 && !/^(the data|\/\S+) /.test(text) ? undefined : this.#mark(text)
  }

  /** Shows an error at the field that cannot be sent. */
  refuseToSend({ message, element }) {
    return this.#mark(message, element)
  }

  #mark(text, at) {
    this.unmark()
    const field = at !== undefined && this.#way.controlOf?.(at)
    const control = field || this.#values.querySelector('textarea, input, select')
    const problem = field ? problemElement(`${field.id}-problem`) : this.#problem
    if (field) field.parentElement.append(problem)
    problem.textContent = text
    problem.hidden = false
    describe(control, problem)
    return { control, text }
  }

  unmark() {
    this.#problem.hidden = true
    undescribe(this.#fieldset)
  }
}

/** Returns the ways to enter the input, the best way first. */
function waysOf({ input, mediaType, fields }, changed) {
  const json = new WrittenValue('application/json', changed)
  if (mediaType !== undefined) {
    const file = new PickedFile(mediaType, changed)
    return mediaType.startsWith('text/') ? [new WrittenValue(mediaType, changed), file] : [file]
  }
  const text = new WrittenValue('text/plain', changed)
  if (fields !== undefined) return [new NamedFields(fields, changed), json]
  if (typeof input === 'object' && input.type !== undefined)
    return input.type === 'string' ? [text, json] : [json]
  return [json, text, new PickedFile(undefined, changed)]
}

function noteOf(text) {
  return Object.assign(make('p', text), { className: 'note' })
}
