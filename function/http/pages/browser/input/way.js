/**
 * The parts of an input (input.js) that the ways to enter it use. These parts are declared here,
 * because input.js imports the ways.
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

  /** @param {number} _count the number of elements @returns {boolean} */
  isPossible(_count) {
    return true
  }

  /** @returns {HTMLElement[]} the way's part of the page */
  draw() {
    return []
  }

  /**
   * @param tensor the name, shape and datatype
   * @returns the tensor with its data
   * @throws {Unsendable} if the data cannot be sent
   */
  read(tensor) {
    return tensor
  }

  /**
   * Called when the person switches to this way of entering the input. @param {string} _from the
   * previous way
   */
  begin(_from) {}

  /** Returns to the example. */
  reset() {}

  /**
   * Called when the input's shape has changed.
   * @param {number[]} _from
   * @param {number[]} _to
   * @returns {string | undefined} the way to switch to, if any
   */
  resize(_from, _to) {
    return undefined
  }
}
