import { existsSync, readFileSync } from 'node:fs'
import { connect } from '../../conformance/connection.ts'
import { parseJson } from '../../conformance/json.ts'
import type { Target, Tensor, Value } from '../../conformance/point.ts'
import { readTarget } from '../../conformance/target.ts'
import { type Server, startServer, testModel } from '../server.ts'

/** Our server with the iris classifier, or one of test/models, as the points see it. */

/** Small enough to be passed at once, large enough for an id of 1 MB. */
const MAX_BODY_BYTES = 2 * 2 ** 20

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

function readCases(model: string): Cases {
  const file = `${testModel(model)}/cases.json`
  return existsSync(file) ? (parseJson(readFileSync(file, 'utf8')) as Cases) : { cases: [] }
}

/** As points want values: INT64 and UINT64 are bigints, and what is not finite a number. */
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

/** A case whose outputs JSON cannot say. */
const isUnsayable = ({ outputs }: Case) =>
  outputs?.some(({ datatype, data }) => datatype === 'BYTES' && data === undefined) === true

export async function startTarget(model: string): Promise<{ server: Server; target: Target }> {
  const { cases, fails = [], refused = [] } = readCases(model)
  const folder = model === 'iris' ? {} : { MODEL_DIR: testModel(model) }
  const server = await startServer({ MAX_BODY_BYTES: String(MAX_BODY_BYTES), ...folder })
  const example = cases.find(({ name }) => name.startsWith('one ')) ?? cases[0]
  const failing = [...fails, ...cases.filter(isUnsayable)].map(readInputs)
  const mismatched = refused.filter(({ inputs }) => inputs.length > 1).map(readInputs)
  const target = await readTarget({
    send: connect(server.url),
    model: server.service.model.name,
    version: server.service.model.version,
    example: example && readInputs(example),
    ...(model === 'iris' && { limits: { maxBodyBytes: MAX_BODY_BYTES } }),
    ...(failing.length > 0 && { failing }),
    ...(mismatched.length > 0 && { mismatched }),
  })
  return { server, target }
}
