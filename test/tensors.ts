/** A tensor as test files describe it. The codec in this file is independent of the server's. */
export interface WrittenTensor {
  readonly name: string
  readonly datatype: string
  readonly shape: readonly number[]
  readonly data?: readonly (number | bigint | string | boolean)[]
  /** The bytes of the binary extension, as base64. */
  readonly data_base64?: string
}

const WRITERS: Record<
  string,
  [bytes: number, write: (view: DataView, at: number, value: never) => void]
> = {
  BOOL: [1, (view, at, value: boolean) => view.setUint8(at, value ? 1 : 0)],
  UINT8: [1, (view, at, value: number) => view.setUint8(at, value)],
  UINT16: [2, (view, at, value: number) => view.setUint16(at, value, true)],
  UINT32: [4, (view, at, value: number) => view.setUint32(at, value, true)],
  UINT64: [8, (view, at, value: number | bigint) => view.setBigUint64(at, BigInt(value), true)],
  INT8: [1, (view, at, value: number) => view.setInt8(at, value)],
  INT16: [2, (view, at, value: number) => view.setInt16(at, value, true)],
  INT32: [4, (view, at, value: number) => view.setInt32(at, value, true)],
  INT64: [8, (view, at, value: number | bigint) => view.setBigInt64(at, BigInt(value), true)],
  FP32: [4, (view, at, value: number | string) => view.setFloat32(at, Number(value), true)],
  FP64: [8, (view, at, value: number | string) => view.setFloat64(at, Number(value), true)],
}

export function toBytes({ datatype, data, data_base64: base64 }: WrittenTensor): Buffer {
  if (base64 !== undefined) return Buffer.from(base64, 'base64')
  if (datatype === 'BYTES')
    return Buffer.concat(
      (data as readonly string[]).flatMap(text => [lengthPrefix(text), Buffer.from(text)]),
    )
  const [bytes, write] = WRITERS[datatype] as (typeof WRITERS)[string]
  const view = new DataView(new ArrayBuffer(bytes * (data?.length ?? 0)))
  data?.forEach((value, i) => {
    write(view, i * bytes, value as never)
  })
  return Buffer.from(view.buffer)
}

function lengthPrefix(text: string): Buffer {
  const prefix = Buffer.alloc(4)
  prefix.writeUInt32LE(Buffer.byteLength(text))
  return prefix
}

/** Keeps every digit of integers; {@link writeExactly} does the reverse. */
export const parseExactly = (text: string): unknown =>
  // A reviver takes seconds for megabytes, and most texts do not need it.
  /[[,:\s-]\d{16}/.test(text)
    ? JSON.parse(text, ((_key: string, value: unknown, { source }: { source: string }) =>
        typeof value === 'number' && /^-?\d{16,}$/.test(source) ? BigInt(source) : value) as (
        key: string,
        value: unknown,
      ) => unknown)
    : JSON.parse(text)

export const writeExactly = (value: unknown): string =>
  typeof value === 'bigint'
    ? String(value)
    : Array.isArray(value)
      ? `[${value.map(writeExactly)}]`
      : typeof value === 'object' && value !== null
        ? `{${Object.entries(value).map(([key, held]) => `${JSON.stringify(key)}:${writeExactly(held)}`)}}`
        : Object.is(value, -0)
          ? '-0'
          : JSON.stringify(value)

export function binaryRequest(inputs: readonly WrittenTensor[]): {
  headers: Record<string, string>
  body: Buffer
} {
  const parts = inputs.map(toBytes)
  const json = JSON.stringify({
    parameters: { binary_data_output: true },
    inputs: inputs.map(({ name, datatype, shape }, i) => ({
      name,
      datatype,
      shape,
      parameters: { binary_data_size: parts[i]?.byteLength },
    })),
  })
  return {
    headers: {
      'content-type': 'application/octet-stream',
      'inference-header-content-length': String(Buffer.byteLength(json)),
    },
    body: Buffer.concat([Buffer.from(json), ...parts]),
  }
}

export function binaryOutputs(
  headers: Headers,
  body: Buffer,
): { name: string; datatype: string; shape: number[]; bytes: Buffer }[] {
  const jsonLength = Number(headers.get('inference-header-content-length'))
  const { outputs } = JSON.parse(body.subarray(0, jsonLength).toString())
  let at = jsonLength
  return outputs.map(
    ({
      name,
      datatype,
      shape,
      parameters,
    }: {
      name: string
      datatype: string
      shape: number[]
      parameters: { binary_data_size: number }
    }) => {
      const bytes = body.subarray(at, at + parameters.binary_data_size)
      at += parameters.binary_data_size
      return { name, datatype, shape, bytes }
    },
  )
}
