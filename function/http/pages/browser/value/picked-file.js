import { fromBase64, toBase64 } from '../curl.js'
import { make } from '../dom.js'
import { Unsendable } from '../request.js'

/** Size of the largest picture that is shown before it is sent. */
const MOST_SHOWN_BYTES = 2_000_000

/**
 * @typedef {object} Picked
 * @property {Uint8Array} bytes
 * @property {string} type
 * @property {string} [name] the name of the file; absent for the example
 */

/** A way to enter the value: a file that is dropped anywhere on the page or chosen. */
export class PickedFile {
  label = 'a file'
  #expected
  #changed
  /** @type {Picked | undefined} */
  #picked
  /** The reason why there is no file. */
  #problem = 'no file is chosen'
  #redraw = () => {}

  /**
   * @param {string | undefined} expected the expected media type, which may be a range such as
   *   image/*
   */
  constructor(expected, changed) {
    this.#expected = expected
    this.#changed = changed
    addEventListener('dragover', event => {
      if (this.#isShown) event.preventDefault()
    })
    addEventListener('drop', event => {
      if (!this.#isShown) return
      event.preventDefault()
      const [file] = event.dataTransfer.files
      if (file !== undefined) this.#pick(file)
    })
  }

  #box = /** @type {HTMLElement | undefined} */ (undefined)

  get #isShown() {
    return this.#box?.isConnected ?? false
  }

  begin() {}

  /** @param {unknown} example the example in Base64 */
  reset(example) {
    this.#picked =
      typeof example === 'string' && this.#expected !== undefined
        ? { bytes: fromBase64(example), type: this.#expected }
        : undefined
  }

  json() {
    return undefined
  }

  /** @throws {Unsendable} if there is no file */
  read() {
    if (this.#picked === undefined) throw new Unsendable(this.#problem)
    const { bytes, type, name } = this.#picked
    return { contentType: type, bytes, file: name }
  }

  async #pick(file) {
    const isExact = this.#expected !== undefined && !this.#expected.includes('*')
    const type = isExact ? this.#expected : file.type || 'application/octet-stream'
    try {
      const bytes = new Uint8Array(await file.arrayBuffer())
      this.#picked = { bytes, type, name: file.name }
    } catch (error) {
      // A dropped folder, for example, cannot be read.
      this.#picked = undefined
      this.#problem = `${file.name} cannot be read: ${error.message}`
    }
    this.#redraw()
    this.#changed()
  }

  draw() {
    const chooser = Object.assign(make('input'), { type: 'file', accept: this.#expected ?? '' })
    chooser.onchange = () => {
      const [file] = chooser.files
      if (file !== undefined) this.#pick(file)
    }
    const shown = make('div')
    shown.className = 'picked'
    const label = make('label', 'Drop a file on this page, or choose one', chooser)
    label.className = 'written'
    const box = make('div', label, shown)
    box.className = 'drop'
    this.#redraw = () => shown.replaceChildren(...this.#picture())
    this.#redraw()
    this.#box = box
    return [box]
  }

  #picture() {
    if (this.#picked === undefined) return []
    const { bytes, type, name = 'the example' } = this.#picked
    const text = make('span', `${name}: ${bytes.length.toLocaleString('en')} bytes of ${type}`)
    text.className = 'note'
    if (!type.startsWith('image/') || bytes.length > MOST_SHOWN_BYTES) return [text]
    return [pictureOf(bytes, type, name), text]
  }
}

/**
 * Creates a picture from a data URL, because the page may load pictures only from its own document.
 */
export const pictureOf = (bytes, type, alt) =>
  Object.assign(make('img'), { src: `data:${type};base64,${toBase64(bytes)}`, alt })
