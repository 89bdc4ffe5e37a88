import type { Message } from '../../function/protocol/protobuf-decode.ts'
import { toBytes, type WrittenTensor } from '../tensors.ts'

/** The field of InferTensorContents for each datatype; FP16 has none. */
export const CONTENTS: Readonly<Record<string, string>> = {
  BOOL: 'bool_contents',
  UINT8: 'uint_contents',
  UINT16: 'uint_contents',
  UINT32: 'uint_contents',
  UINT64: 'uint64_contents',
  INT8: 'int_contents',
  INT16: 'int_contents',
  INT32: 'int_contents',
  INT64: 'int64_contents',
  FP32: 'fp32_contents',
  FP64: 'fp64_contents',
  BYTES: 'bytes_contents',
}

export const rawRequest = (model: string, inputs: readonly WrittenTensor[]): Message => ({
  model_name: model,
  inputs: inputs.map(({ name, datatype, shape }) => ({ name, datatype, shape })),
  raw_input_contents: inputs.map(toBytes),
})

export const typedRequest = (model: string, inputs: readonly WrittenTensor[]): Message => ({
  model_name: model,
  inputs: inputs.map(tensor => {
    const { name, datatype, shape, data = [] } = tensor
    return {
      name,
      datatype,
      shape,
      contents: { [CONTENTS[datatype] as string]: elements(tensor, data) },
    }
  }),
})

const elements = ({ datatype }: WrittenTensor, data: NonNullable<WrittenTensor['data']>) =>
  data.map(element => {
    if (datatype === 'BYTES') return Buffer.from(element as string)
    return typeof element === 'string' ? Number(element) : element
  })

export interface Output {
  readonly name: string
  readonly datatype: string
  readonly shape: readonly number[]
  readonly bytes: Buffer
}

export function outputsOf(response: Message): Output[] {
  const { outputs, raw_output_contents: raw } = response
  return outputs.map(({ name, datatype, shape, contents }: Message, i: number) => ({
    name,
    datatype,
    shape: [...shape],
    bytes:
      raw.length > 0
        ? Buffer.from(raw[i])
        : toBytes({ name, datatype, shape, data: typedData(datatype, contents) }),
  }))
}

const typedData = (datatype: string, contents: Message | undefined) =>
  (contents?.[CONTENTS[datatype] as string] ?? []).map((element: unknown) =>
    datatype === 'BYTES' ? Buffer.from(element as Uint8Array).toString() : element,
  )
