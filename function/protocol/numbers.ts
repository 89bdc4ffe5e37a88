import { MODULE } from './numbers-module.ts'

/*
 * Reads and writes the numbers of tensors in WebAssembly (assembly/). Reading takes less than half
 * of the time that the same algorithm takes in JavaScript, and writing half.
 */

/** The part of the WebAssembly API in use. Node's type declarations lack it. */
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => object
  readonly Instance: new (module: object) => { readonly exports: Record<string, unknown> }
}

/** The exports of assembly/index.ts. */
interface Exports {
  readonly memory: { readonly buffer: ArrayBuffer }
  readonly read: (start: number, first: number) => number
  readonly end: () => number
  readonly left: () => number
  readonly write: (from: number, to: number) => number
  readonly written: () => number
}

export interface Numbers extends Omit<Exports, 'memory'> {
  readonly floats: Float32Array
  readonly text: Buffer
  readonly json: Buffer
  readonly doubles: Float64Array
  readonly lengths: Int32Array
  readonly leftNumbers: Uint32Array
}

/**
 * How many numbers JavaScript reads and writes before the module is loaded. Loading takes 1.5 ms of
 * CPU time, as much as JavaScript needs to write about 1,000 numbers. The first response after a
 * start is usually small, and does not wait.
 */
const FIRST_NUMBERS = 1_000

let soFar = 0
let isTried = false
let loaded: Numbers | undefined

/**
 * Returns the functions, and loads them if necessary.
 * @param count how many numbers the caller is going to read or write
 * @returns undefined for the first numbers, and if this process cannot use WebAssembly: with
 * `node --jitless`, or in a limited address space
 */
export function numbers(count: number): Numbers | undefined {
  soFar += count
  if (isTried || soFar < FIRST_NUMBERS) return loaded
  isTried = true
  try {
    loaded = load()
  } catch {
    loaded = undefined
  }
  return loaded
}

function load(): Numbers {
  const module = new WebAssembly.Module(Buffer.from(MODULE, 'base64'))
  const { exports } = new WebAssembly.Instance(module)
  const { memory, read, end, left, write, written } = exports as unknown as Exports
  const { buffer } = memory
  const at = (name: string) => (exports[name] as { readonly value: number }).value
  const powers = powersOfTen(at('LEAST_POWER'), at('MOST_POWER'))
  new BigUint64Array(buffer, at('POWERS'), powers.length).set(powers)
  return {
    read,
    end,
    left,
    write,
    written,
    floats: new Float32Array(buffer, at('FLOATS'), at('MOST_FLOATS')),
    text: Buffer.from(buffer, at('TEXT'), at('MOST_TEXT')),
    json: Buffer.from(buffer, at('INPUT'), at('MOST_BYTES')),
    doubles: new Float64Array(buffer, at('DOUBLES'), at('MOST_BYTES') / 2),
    lengths: new Int32Array(buffer, at('LENGTHS'), at('MOST_DEPTH')),
    leftNumbers: new Uint32Array(buffer, at('LEFT'), 3 * at('MOST_LEFT')),
  }
}

const BITS = 128

/**
 * Returns the 128 most significant bits of each power of ten: the upper 64 bits, then the lower.
 * Negative powers are rounded up, other powers down. A factor of two changes only the exponent, so
 * powers of five suffice.
 */
function powersOfTen(least: number, most: number): BigUint64Array {
  const powers: bigint[] = []
  for (let power = least; power <= most; power++) {
    const five = 5n ** BigInt(Math.abs(power))
    const bits = five.toString(2).length
    const significant =
      power < 0
        ? (1n << BigInt(bits - 1 + BITS)) / five + 1n
        : (five << BigInt(BITS)) >> BigInt(bits)
    powers.push(significant >> 64n, significant)
  }
  return BigUint64Array.from(powers)
}
