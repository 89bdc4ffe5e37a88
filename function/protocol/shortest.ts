/**
 * The FP32 below a power of two is nearer than the one above. Therefore fewer digits identify these
 * three if they are rounded up, away from the nearest.
 */
const ROUNDED_UP = new Map([
  [2 ** -96, 1.2621775e-29],
  [2 ** 87, 1.5474251e26],
  [2 ** 90, 1.2379401e27],
])

/** An FP32 in the fewest digits that identify it: 5.1, not 5.099999904632568. */
export function shortest(value: number): number {
  // toPrecision() loses the sign of −0.
  if (value === 0) return value
  const up = ROUNDED_UP.get(Math.abs(value))
  if (up !== undefined) return Math.sign(value) * up
  for (let digits = 1; ; digits++) {
    const short = Number(value.toPrecision(digits))
    // Nine digits identify each FP32. NaN equals nothing.
    if (Math.fround(short) === value || digits === 9) return short
  }
}
