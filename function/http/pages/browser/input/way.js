/**
 * The parts of an input (input.js) that its ways use. Named here, so that the ways do not import
 * the file that imports them.
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

/** A way to give an input. */
export class Way {
  label = ''

  /** @param {GivenInput} input */
  constructor(input) {
    this.input = input
  }

  /** @param {number} _count of the input's elements @returns {boolean} */
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

  /** The input is given in this way from now on. @param {string} _from the way before */
  begin(_from) {}

  /** Back to the example. */
  reset() {}

  /**
   * The input has another shape.
   * @param {number[]} _from
   * @param {number[]} _to
   * @returns {string | undefined} the way that the input is given from now on, where that is
   *   another
   */
  resize(_from, _to) {
    return undefined
  }
}
