/**
 * The FP32 values whose number the search below does not find. The FP32 below a power of two is
 * nearer than the FP32 above it, so three powers have a shorter number above them.
 */
const EXCEPTIONS = new Map([
  [2 ** -96, 1.2621775e-29],
  [2 ** 87, 1.5474251e26],
  [2 ** 90, 1.2379401e27],
  // Rounded to FP64 first, 7.038531e-26 is this FP32; read as FP32, it is the FP32 below.
  [Math.fround(7.0385313e-26), 7.0385313e-26],
])

/** Returns the number with the fewest digits that identify an FP32: 5.1, not 5.099999904632568. */
export function shortest(value: number): number {
  // toPrecision() loses the sign of −0.
  if (value === 0) return value
  const up = EXCEPTIONS.get(Math.abs(value))
  if (up !== undefined) return Math.sign(value) * up
  for (let digits = 1; ; digits++) {
    const short = Number(value.toPrecision(digits))
    // Nine digits identify every FP32. For NaN, only this condition ends the loop.
    if (Math.fround(short) === value || digits === 9) return short
  }
}
