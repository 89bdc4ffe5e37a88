/* Reads and writes FP16. Node before version 24 has no DataView.prototype.getFloat16(). */

export function readHalf(view: DataView, at: number): number {
  const bits = view.getUint16(at, true)
  const sign = bits < 0x8000 ? 1 : -1
  const exponent = (bits >> 10) & 0x1f
  const fraction = bits & 0x3ff
  if (exponent === 0x1f) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (0x400 + fraction) * 2 ** (exponent - 25))
}

export const writeHalf = (view: DataView, at: number, value: number): void =>
  view.setUint16(at, bitsOf(value), true)

function bitsOf(value: number): number {
  if (Number.isNaN(value)) return 0x7e00
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0
  const size = Math.abs(value)
  // 65520 and more round to infinity.
  if (size >= 65_520) return sign + 0x7c00
  const exponent = Math.max(Math.floor(Math.log2(size)), -14)
  // A fraction that overflows increments the exponent.
  return sign + ((exponent + 14) << 10) + roundToEven(size / 2 ** (exponent - 10))
}

function roundToEven(value: number): number {
  const rounded = Math.round(value)
  return rounded - value === 0.5 && rounded % 2 === 1 ? rounded - 1 : rounded
}
