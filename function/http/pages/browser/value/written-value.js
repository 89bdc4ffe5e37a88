import { make } from '../dom.js'
import { pretty } from '../json.js'
import { Unsendable } from '../request.js'

/** A way to enter the value: typed or pasted JSON or text. */
export class WrittenValue {
  #changed
  #isText
  #text = ''
  #mediaType

  /** @param {string} mediaType the media type of a text; application/json for JSON */
  constructor(mediaType, changed) {
    this.#changed = changed
    this.#mediaType = mediaType
    this.#isText = mediaType !== 'application/json'
    this.label = this.#isText ? 'text' : 'JSON'
  }

  begin(json) {
    if (json === undefined) return
    this.#text = this.#isText ? textIn(json) : pretty(json)
  }

  reset(example) {
    if (example === undefined) this.#text = ''
    else this.begin(JSON.stringify(example))
  }

  /** @returns the value as JSON */
  json() {
    return this.#isText ? JSON.stringify(this.#text) : this.#text
  }

  /** @throws {Unsendable} if the text is not valid JSON */
  read() {
    if (!this.#isText)
      try {
        JSON.parse(this.#text)
      } catch (error) {
        throw new Unsendable(
          this.#text.trim() === ''
            ? 'the form is empty'
            : `this is not valid JSON: ${error.message}`,
        )
      }
    return { contentType: this.#mediaType, text: this.#text }
  }

  draw() {
    const area = Object.assign(make('textarea'), {
      value: this.#text,
      rows: 4,
      spellcheck: this.#isText,
      autocomplete: 'off',
    })
    area.oninput = () => {
      this.#text = area.value
      this.#changed()
    }
    const label = make('label', this.#isText ? 'Text' : 'JSON', area)
    label.className = 'written'
    return [label]
  }
}

/** Returns the text of a JSON string; returns other JSON unchanged. */
function textIn(json) {
  try {
    const value = JSON.parse(json)
    return typeof value === 'string' ? value : json
  } catch {
    return json
  }
}
