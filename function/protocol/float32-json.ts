import { type Numbers, numbers } from './numbers.ts'
import { shortest } from './shortest.ts'

/**
 * Writes FP32 values as JSON, separated by commas, with the fewest digits that identify each value:
 * 5.1, not 5.099999904632568. The JSON is half as long as with the 17 digits of a double.
 * Math.fround of the parsed number is the original FP32. NaN and infinities are strings (RFC 8259,
 * section 6).
 */
export function float32sToJson(data: Float32Array): string {
  const loaded = numbers(data.length)
  return loaded === undefined ? Array.from(data, textOf).join() : write(data, loaded)
}

function write(data: Float32Array, loaded: Numbers): string {
  const most = loaded.floats.length
  let json = ''
  for (let from = 0; from < data.length; from += most) {
    const part = data.length <= most ? data : data.subarray(from, from + most)
    loaded.floats.set(part)
    for (let next = 0; next < part.length; next++) {
      next = loaded.write(next, part.length)
      json += loaded.text.toString('latin1', 0, loaded.written())
      if (next < part.length) json += `,${textOf(part[next] as number)}`
    }
  }
  // Remove the comma before the first element.
  return json.slice(1)
}

function textOf(value: number): string {
  if (!Number.isFinite(value)) return `"${value}"`
  if (Object.is(value, -0)) return '-0'
  return String(Number.isInteger(value) && Math.abs(value) < 1e21 ? value : shortest(value))
}
