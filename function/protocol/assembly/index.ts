/*
 * The JSON of numbers in WebAssembly, written in AssemblyScript. scripts/assembly compiles these
 * files to ../numbers-module.ts.
 */

export {
  DOUBLES,
  FLOATS,
  INPUT,
  LEAST_POWER,
  LEFT,
  LENGTHS,
  MOST_BYTES,
  MOST_DEPTH,
  MOST_FLOATS,
  MOST_LEFT,
  MOST_POWER,
  MOST_TEXT,
  POWERS,
  TEXT,
} from './layout'
export { end, left, read } from './read'
export { write, written } from './write'

import { fillExactPowers } from './decimal'

fillExactPowers()
