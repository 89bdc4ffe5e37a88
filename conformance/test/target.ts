import { existsSync, readFileSync } from 'node:fs'
import { connect } from '../connection.ts'
import { parseJson } from '../json.ts'
import type { Target, Tensor, Value } from '../point.ts'
import { readTarget } from '../target.ts'

export interface Served {
  readonly url: string
  readonly model: string
  readonly version: string | undefined
  readonly casesFile: string
  readonly maxBodyBytes: number | undefined
}

interface Case {
  readonly name: string
  readonly inputs: readonly Tensor[]
  readonly outputs?: readonly { readonly datatype: string; readonly data?: unknown }[]
}

interface Cases {
  readonly cases: readonly Case[]
  readonly fails?: readonly Case[]
  readonly refused?: readonly Case[]
}

const readCases = (file: string): Cases =>
  existsSync(file) ? (parseJson(readFileSync(file, 'utf8')) as Cases) : { cases: [] }

/** INT64 and UINT64 become bigints; non-finite values become numbers. */
const readInputs = ({ inputs }: Case): readonly Tensor[] =>
  inputs.map(({ name, datatype, shape, data }) => ({
    name,
    datatype,
    shape,
    data: data.map(element => readValue(datatype, element)),
  }))

function readValue(datatype: string, element: Value): Value {
  if (datatype === 'INT64' || datatype === 'UINT64') return BigInt(element)
  return datatype.startsWith('FP') ? Number(element) : element
}

const isUnsayable = ({ outputs }: Case) =>
  outputs?.some(({ datatype, data }) => datatype === 'BYTES' && data === undefined) === true

export function targetOf({
  url,
  model,
  version,
  casesFile,
  maxBodyBytes,
}: Served): Promise<Target> {
  const { cases, fails = [], refused = [] } = readCases(casesFile)
  const example = cases.find(({ name }) => name.startsWith('one ')) ?? cases[0]
  const failing = [...fails, ...cases.filter(isUnsayable)].map(readInputs)
  const mismatched = refused.filter(({ inputs }) => inputs.length > 1).map(readInputs)
  return readTarget({
    send: connect(url),
    model,
    version,
    example: example && readInputs(example),
    ...(maxBodyBytes !== undefined && { limits: { maxBodyBytes } }),
    ...(failing.length > 0 && { failing }),
    ...(mismatched.length > 0 && { mismatched }),
  })
}
