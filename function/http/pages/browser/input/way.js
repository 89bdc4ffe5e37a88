/** A way to give an input. */
export class Way {
  label = ''

  /** @param {import('./input.js').Input} input */
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
