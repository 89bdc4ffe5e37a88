import { make } from '../dom.js'
import { Unsendable } from '../request.js'
import { MOST_FIELDS } from './elements.js'
import { Way } from './way.js'

/** A way to enter an input: a file with the bytes of the elements. */
export class BytesFile extends Way {
  label = 'a file of bytes'
  #bytes

  isPossible(count) {
    return this.input.metadata.datatype !== 'BYTES' && count > MOST_FIELDS
  }

  reset() {
    this.#bytes = undefined
  }

  draw() {
    const { index, metadata } = this.input
    const chooser = Object.assign(make('input'), { type: 'file', id: `input-${index}-file` })
    chooser.onchange = async () => {
      const [chosen] = chooser.files
      this.#bytes = chosen && new Uint8Array(await chosen.arrayBuffer())
      this.input.changed({})
    }
    const label = make(
      'label',
      `Elements of ${metadata.datatype}, little-endian, row after row`,
      chooser,
    )
    label.className = 'written'
    return [label]
  }

  read(tensor) {
    if (this.#bytes === undefined) throw new Unsendable('no file is chosen')
    return { ...tensor, bytes: this.#bytes }
  }
}
