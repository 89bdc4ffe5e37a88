/** Returns the indexes of an input's variable dimensions. */
export const variable = ({ shape, anyRank }) =>
  anyRank ? [] : [...shape.keys()].filter(d => shape[d] === -1)

/**
 * Stores the sizes of variable dimensions. Dimensions with the same name in the graph have the same
 * size in all inputs, as the server requires.
 */
export function createDimensions(inputs) {
  const sizes = new Map()
  const keyOf = ({ name, dimensionNames }, d) => dimensionNames[d] || JSON.stringify([name, d])
  const reset = () => {
    for (const input of inputs) {
      for (const d of variable(input)) sizes.set(keyOf(input, d), input.example.shape[d])
    }
  }
  reset()
  return {
    reset,
    keyOf,
    shapeOf: input =>
      input.shape.map((size, d) => (size === -1 ? sizes.get(keyOf(input, d)) : size)),
    set: (input, d, size) => sizes.set(keyOf(input, d), size),
  }
}

/** Formats a shape with the dimension names of the graph. */
export const shapeText = ({ shape, dimensionNames, anyRank }) =>
  anyRank
    ? 'any shape'
    : `[${shape.map((size, d) => (size === -1 ? dimensionNames[d] || 'any' : size)).join(', ')}]`
