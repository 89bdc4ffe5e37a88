/**
 * The parts of an input (input.js) that its ways use. Declared here, because input.js imports the
 * ways.
 * @typedef {object} GivenInput
 * @property {any} metadata
 * @property {number} index
 * @property {any} dimensions
 * @property {boolean} hasRows
 * @property {number[]} shape
 * @property {string[]} elements
 * @property {number} count
 * @property {HTMLElement} values
 * @property {{ json: { readElements(): string[] | undefined } }} ways
 * @property {(change: object) => void} changed
 * @property {(dimension: number, size: number) => void} setSize
 * @property {(row: number) => void} removeOwnRow
 * @property {() => void} followDimensions
 * @property {() => void} drawOptions
 */

/** One way to enter an input. */
export class Way {
  label = ''

  /** @param {GivenInput} input */
  constructor(input) {
    this.input = input
  }

  /** @param {number} _count number of elements @returns {boolean} */
  isPossible(_count) {
    return true
  }

  /** @returns {HTMLElement[]} its part of the page */
  draw() {
    return []
  }

  /** @param tensor its name, shape and datatype @returns it with data @throws {Unsendable} */
  read(tensor) {
    return tensor
  }

  /** Called when the person switches to this way. @param {string} _from the previous way */
  begin(_from) {}

  /** Returns to the example. */
  reset() {}

  /**
   * Called when the input's shape changed.
   * @param {number[]} _from
   * @param {number[]} _to
   * @returns {string | undefined} the way to switch to, if any
   */
  resize(_from, _to) {
    return undefined
  }
}
