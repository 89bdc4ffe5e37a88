import { readFile } from 'node:fs/promises'

/**
 * The names of the graph's inputs and outputs that the file gives no shape.
 * ONNX Runtime for Node shows them as it shows a scalar, [], although any rank fits them; only the file tells them apart.
 * Field numbers are those of onnx.proto: ModelProto.graph 7, GraphProto.input 11 and output 12, ValueInfoProto.name 1 and
 * type 2, TypeProto.tensor_type 1, TypeProto.Tensor.shape 2.
 */
export async function readShapeless(path: string): Promise<ReadonlySet<string>> {
  const shapeless = new Set<string>()
  for (const graph of fields(await readFile(path), 7)) {
    for (const value of [...fields(graph, 11), ...fields(graph, 12)]) {
      const [type] = fields(value, 2).flatMap(type => fields(type, 1))
      const [name] = fields(value, 1)
      if (type !== undefined && name !== undefined && fields(type, 2).length === 0)
        shapeless.add(name.toString('utf8'))
    }
  }
  return shapeless
}

/** The length-delimited fields of that number in one protocol buffers message. */
const fields = (message: Buffer, wanted: number): Buffer[] => {
  const found: Buffer[] = []
  for (const { number, bytes } of readFields(message))
    if (number === wanted && bytes !== undefined) found.push(bytes)
  return found
}

/** One field of a protocol buffers message: a number, or bytes (text, another message, packed numbers). */
export interface Field {
  readonly number: number
  /** Of a varint; exact up to 2^53. */
  readonly value?: number
  readonly bytes?: Buffer
}

/**
 * The fields of one protocol buffers message, in order; those of fixed width have neither value nor bytes here.
 * @throws {Error} of one line, when the bytes are no such message
 */
export function* readFields(message: Buffer): Generator<Field> {
  let at = 0
  const varint = () => {
    let value = 0
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = message[at++]
      if (byte === undefined) throw new Error('it is cut off')
      // Multiplied, not shifted: lengths pass 2^31 in large models.
      value += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) return value
    }
    throw new Error('it holds a number of more than 64 bits')
  }
  while (at < message.length) {
    const tag = varint()
    const [number, wire] = [Math.floor(tag / 8), tag % 8]
    if (number === 0) throw new Error('it holds a field without a number')
    if (wire === 0) yield { number, value: varint() }
    else if (wire === 2) {
      const end = varint() + at
      if (end > message.length) throw new Error('it is cut off')
      yield { number, bytes: message.subarray(at, end) }
      at = end
    } else if (wire === 1 || wire === 5) {
      at += wire === 1 ? 8 : 4
      if (at > message.length) throw new Error('it is cut off')
      yield { number }
    } else throw new Error(`it holds a field of the unknown kind ${wire}`)
  }
}
