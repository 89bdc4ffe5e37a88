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
      if (type !== undefined && name !== undefined && fields(type, 2).length === 0) shapeless.add(name.toString('utf8'))
    }
  }
  return shapeless
}

/** The length-delimited fields of that number in one protocol buffers message. */
function fields(message: Buffer, wanted: number): Buffer[] {
  const found: Buffer[] = []
  let at = 0
  const varint = () => {
    let value = 0
    for (let shift = 0; ; shift += 7) {
      const byte = message[at++] ?? 0
      // Multiplied, not shifted: lengths pass 2^31 in large models.
      value += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) return value
    }
  }
  while (at < message.length) {
    const tag = varint()
    const wire = tag % 8
    if (wire === 0) varint()
    else if (wire === 1) at += 8
    else if (wire === 5) at += 4
    else {
      const end = varint() + at
      if (Math.floor(tag / 8) === wanted) found.push(message.subarray(at, end))
      at = end
    }
  }
  return found
}
