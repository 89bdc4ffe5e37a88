import { make } from '../dom.js'
import { parseExactly } from '../json.js'
import { elementCount, nestedShape, writtenTensor } from '../request.js'
import { variable } from './dimensions.js'
import { MOST_WRITTEN, nested } from './elements.js'
import { Way } from './way.js'

/** A way to enter an input: typed or pasted JSON. */
export class Written extends Way {
  label = 'JSON'
  text = ''

  reset() {
    const { elements, shape, metadata, count } = this.input
    this.text = count <= MOST_WRITTEN ? nested(elements, shape, metadata.datatype) : ''
  }

  /**
   * @param from the previous way; values from fields are always written, because they may have been
   *   edited
   */
  begin(from) {
    const { elements, shape, metadata, count } = this.input
    if (from === 'fields' || count <= MOST_WRITTEN)
      this.text = nested(elements, shape, metadata.datatype)
  }

  draw() {
    const { metadata, index } = this.input
    const area = make('textarea')
    Object.assign(area, {
      value: this.text,
      rows: 3,
      spellcheck: false,
      autocomplete: 'off',
      id: `input-${index}-json`,
    })
    area.oninput = () => {
      this.text = area.value
      const resize = this.#followNesting()
      this.input.drawOptions()
      this.input.changed({ resize })
    }
    const label = make('label', make('span', `${metadata.name}, `), 'nested or flat', area)
    label.className = 'written'
    label.firstElementChild.className = 'sr'
    return [label]
  }

  /**
   * Sets variable dimensions to the size of the written data.
   * @returns whether a dimension was set
   */
  #followNesting() {
    const { metadata, dimensions } = this.input
    if (metadata.anyRank) return false
    let nesting
    try {
      nesting = nestedShape(JSON.parse(this.text))
    } catch {
      return false
    }
    const free = variable(metadata)
    const fixed = elementCount(metadata.shape.filter(size => size !== -1))
    if (nesting.length === metadata.shape.length)
      for (const d of free) dimensions.set(metadata, d, nesting[d])
    else if (nesting.length === 1 && free.length === 1 && nesting[0] % fixed === 0)
      dimensions.set(metadata, free[0], nesting[0] / fixed)
    else return false
    this.input.followDimensions()
    return true
  }

  /** @returns the written elements, if their number matches the shape */
  readElements() {
    try {
      const flat = [parseExactly(this.text)].flat(Number.POSITIVE_INFINITY).map(String)
      return flat.length === this.input.count ? flat : undefined
    } catch {
      return undefined
    }
  }

  read(tensor) {
    const { metadata } = this.input
    return writtenTensor(metadata, this.text, nesting =>
      metadata.anyRank ? nesting : tensor.shape,
    )
  }
}
