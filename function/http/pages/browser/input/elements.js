import { elementCount, elementJson, resized } from '../request.js'

/**
 * Up to MOST_FIELDS elements have one field each. More elements are written as JSON, and more than
 * MOST_WRITTEN elements are generated.
 */
export const MOST_FIELDS = 64
export const MOST_WRITTEN = 4_096
export const MOST_MADE = 2_000_000

const emptyOf = datatype => ({ BOOL: 'false', BYTES: '' })[datatype] ?? '0'

/** Returns the elements of the model's example as texts, in another shape. */
export function exampleElements({ example, datatype }, shape) {
  if (example.elements === undefined)
    return new Array(elementCount(shape)).fill(example.every ?? emptyOf(datatype))
  return resized(example.elements, example.shape, shape, emptyOf(datatype))
}

/** Fits elements of one shape to another shape. */
export const reshaped = ({ datatype }, elements, from, to) =>
  resized(elements, from, to, emptyOf(datatype))

/** Generators of values. Except for random values, all elements get the same value. */
export const MAKERS = {
  zeros: datatype => () => emptyOf(datatype),
  ones: datatype => () => (datatype === 'BOOL' ? 'true' : '1'),
  random: datatype => () => {
    if (datatype === 'BOOL') return String(Math.random() < 0.5)
    if (datatype.startsWith('FP')) return Math.random().toFixed(4)
    return String(Math.floor(Math.random() * (datatype === 'UINT8' ? 256 : 10)))
  },
}

/** Formats elements as JSON, one line per row. */
export function nested(elements, shape, datatype) {
  const write = (from, sizes) => {
    const [size, ...inner] = sizes
    if (size === undefined) return elementJson(datatype, elements[from])
    const stride = elementCount(inner)
    const parts = Array.from({ length: size }, (_, i) => write(from + i * stride, inner))
    return `[${parts.join(inner.length === 0 ? ', ' : ',\n ')}]`
  }
  return shape.length === 0 ? `[${write(0, shape)}]` : write(0, shape)
}

/**
 * Returns the name of an element: its feature or its index, such as [2], or [0, 2] if there are
 * several dimensions. The name of a scalar is empty.
 * @param {readonly string[]} [features] names of the last dimension's elements
 */
export function placeText(at, shape, features) {
  if (features !== undefined && shape.at(-1) === features.length) {
    const outer = shape.slice(0, -1)
    const before = placeText(Math.floor(at / features.length), outer)
    return `${before}${before && ' '}${features[at % features.length]}`
  }
  if (shape.length === 0) return ''
  const place = []
  let rest = at
  for (const size of [...shape].reverse()) {
    place.unshift(rest % size)
    rest = Math.floor(rest / size)
  }
  return `[${place.join(', ')}]`
}
