/** An FP32 in the fewest digits that identify it: 5.1, not 5.099999904632568. */
export function shortest(value: number): number {
  // toPrecision() loses the sign of −0.
  if (value === 0) return value
  for (let digits = 1; ; digits++) {
    const short = Number(value.toPrecision(digits))
    // Nine digits identify each FP32. NaN equals nothing.
    if (Math.fround(short) === value || digits === 9) return short
  }
}
