import { DATATYPES, type Datatype } from '../../function/protocol/datatypes.ts'
import type { Tensor } from '../../function/protocol/tensor.ts'

export function variedInputs(inputs: readonly Tensor[]): readonly Tensor[] {
  return inputs.map(tensor => {
    const data = DATATYPES[tensor.datatype].allocate(tensor.data.length)
    const vary = VARIATION[tensor.datatype]
    for (let i = 0; i < data.length; i++) data[i] = vary(tensor.data[i] as never)
    return { ...tensor, data }
  })
}

const orOne = (value: number) => (value === 0 ? 1 : 0)
const half = (value: number) => value * 0.5 + 1
const bigOrOne = (value: bigint) => (value === 0n ? 1n : 0n)

/** FP16 values are bit patterns: 0x3c00 is 1, and 0x4000 is 2. */
const VARIATION: Record<Datatype, (value: never) => number | bigint | string> = {
  BOOL: orOne,
  UINT8: orOne,
  UINT16: orOne,
  UINT32: orOne,
  UINT64: bigOrOne,
  INT8: orOne,
  INT16: orOne,
  INT32: orOne,
  INT64: bigOrOne,
  FP16: (bits: number) => (bits === 0x3c00 ? 0x4000 : 0x3c00),
  FP32: half,
  FP64: half,
  BYTES: (text: string) => (text === 'a' ? 'b' : 'a'),
}
