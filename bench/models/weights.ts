import { closeSync, existsSync, mkdirSync, openSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { jsonOf, type Target } from '../requests.ts'

/*
 * Writes models of any size: y = x · W, where W has one row and as many columns as needed. The
 * field numbers are those of onnx.proto.
 */

const FLOAT = 1
const MIB = 2 ** 20

export interface Weights {
  readonly path: string
  readonly request: Target
}

export function createWeights(mib: number): Weights {
  const path = join(tmpdir(), `bench-weights-${mib}`)
  const file = join(path, 'model.onnx')
  if (!existsSync(file)) {
    mkdirSync(path, { recursive: true })
    write(file, mib)
  }
  // The output is the sum of all weights, which are zero, so the response is small.
  return {
    path,
    request: jsonOf(
      [{ name: 'x', datatype: 'FP32', shape: [1, 1], data: [1] }],
      outputs => outputs[0]?.data[0] === 0,
    ),
  }
}

function write(file: string, mib: number): void {
  const columns = Math.max(1, (mib * MIB) / 4)
  const weights = Buffer.alloc(columns * 4)
  const graph = message(
    field(1, message(text(1, 'x'), text(1, 'W'), text(2, 'xW'), text(4, 'MatMul'))),
    field(1, message(text(1, 'xW'), text(1, 'axes'), text(2, 'y'), text(4, 'ReduceSum'))),
    text(2, 'weights'),
    field(
      5,
      message(
        integer(1, 1),
        integer(1, columns),
        integer(2, FLOAT),
        text(8, 'W'),
        field(9, weights),
      ),
    ),
    field(
      5,
      message(
        integer(1, 1),
        integer(2, 7),
        text(8, 'axes'),
        field(9, Buffer.from(new BigInt64Array([1n]).buffer)),
      ),
    ),
    field(11, value('x')),
    field(12, value('y')),
  )
  const model = message(integer(1, 10), field(7, graph), field(8, message(integer(2, 21))))
  const handle = openSync(file, 'w')
  writeSync(handle, model)
  closeSync(handle)
}

const value = (name: string) =>
  message(
    text(1, name),
    field(
      2,
      message(
        field(
          1,
          message(
            integer(1, FLOAT),
            field(2, message(field(1, message(text(2, 'n'))), field(1, message(integer(1, 1))))),
          ),
        ),
      ),
    ),
  )

const message = (...fields: readonly Uint8Array[]) => Buffer.concat(fields)
const field = (number: number, bytes: Uint8Array) =>
  Buffer.concat([varint(number * 8 + 2), varint(bytes.length), bytes])
const text = (number: number, value: string) => field(number, Buffer.from(value))
const integer = (number: number, value: number) =>
  Buffer.concat([varint(number * 8), varint(value)])

function varint(value: number): Buffer {
  const bytes: number[] = []
  let left = value
  for (; left >= 128; left = Math.floor(left / 128)) bytes.push((left % 128) + 128)
  return Buffer.from([...bytes, left])
}
