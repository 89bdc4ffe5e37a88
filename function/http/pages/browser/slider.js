const LIMITS = { UINT8: [0, 255], INT8: [-128, 127] }

/**
 * Returns the range of an input's sliders. UINT8 and INT8 use the range of the datatype; for other
 * datatypes, the range extends somewhat beyond the example.
 * @param {readonly string[]} example the elements of the input in the example
 * @returns {{ min: number, max: number, step: number } | undefined} undefined if a slider is not
 *   useful
 */
export function sliderRange(datatype, example) {
  if (datatype === 'BOOL' || datatype === 'BYTES') return undefined
  const [least, most] = LIMITS[datatype] ?? []
  if (least !== undefined) return { min: least, max: most, step: 1 }
  const values = example.map(Number)
  const largest = Math.max(...values.map(Math.abs))
  if (!(largest < 1e9)) return undefined
  const isInteger = !datatype.startsWith('FP')
  if (largest === 0)
    return isInteger
      ? { min: datatype.startsWith('U') ? 0 : -10, max: 10, step: 1 }
      : { min: -1, max: 1, step: 0.01 }
  const max = roundUp(largest * 1.5)
  return {
    min: values.some(value => value < 0) ? -max : 0,
    max,
    step: isInteger ? Math.max(1, Math.round(max / 100)) : max / 100,
  }
}

/** Rounds up to 1, 2 or 5 times a power of ten. */
function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(value))
  return [1, 2, 5, 10]
    .map(factor => Number((factor * power).toPrecision(1)))
    .find(rounded => rounded >= value)
}
