import { placeOfError } from './answer.js'
import { createDimensions } from './input/dimensions.js'
import { Input } from './input/input.js'
import { inferenceRequest, Unsendable } from './request.js'

/** The form for a model's inputs. It creates inference requests. */
export class TensorForm {
  /** Always true: if model.json has no example, the server generates an example. */
  hasExample = true
  #model
  #dimensions
  #inputs

  /** @param changed called for every change */
  constructor(model, changed) {
    this.#model = model
    this.#dimensions = createDimensions(model.inputs)
    this.#inputs = model.inputs.map(
      (input, i) =>
        new Input(input, i, this.#dimensions, change => {
          this.#follow(change)
          changed()
        }),
    )
  }

  #follow({ resize = false, removed = undefined }) {
    if (removed) for (const input of this.#inputs) input.removeRow(removed)
    if (resize) for (const input of this.#inputs) input.resize()
  }

  get elements() {
    return this.#inputs.map(({ element }) => element)
  }

  reset() {
    this.#dimensions.reset()
    for (const input of this.#inputs) input.reset()
  }

  /** @returns the request in the form @throws {Unsendable} if the contents cannot be sent */
  read() {
    const tensors = this.#inputs.map((input, i) => {
      try {
        return input.read()
      } catch (error) {
        if (!(error instanceof Unsendable)) throw error
        throw Object.assign(error, { input: i, where: this.#where(i) })
      }
    })
    return inferenceRequest(tensors, this.#model.outputs)
  }

  /**
   * Shows the server's error at the field that it names.
   * @param {string} text the text of the error
   * @returns {{ control: HTMLElement, text: string } | undefined} the field to focus on and the
   *   text of the error; undefined if the error names no input
   */
  refuse(text) {
    const place = placeOfError(text, this.#model.inputs)
    return place.input === undefined ? undefined : this.#mark(place)
  }

  /** Shows an error at the field that cannot be sent. @param {Unsendable} error */
  refuseToSend({ input, element, message }) {
    return this.#mark({ input, element, text: message })
  }

  #mark({ input, element, text }) {
    this.unmark()
    const control = this.#inputs[input].mark(text, element)
    return { control, text: `${this.#where(input)}${text}` }
  }

  #where(i) {
    return `input ${this.#model.inputs[i].name}: `
  }

  unmark() {
    for (const input of this.#inputs) input.unmark()
  }
}
