import { createNativeSession } from '../../function/inference/onnxruntime.ts'
import { field, message, numberField } from '../../function/inference/protobuf.ts'
import type { Operator } from './graph.ts'

/**
 * Finds operators that this ONNX Runtime has no definition of. Each is tried alone, in a model of
 * one node: with the whole model, ONNX Runtime names only the first, and a list kept here would
 * belong to another version.
 * @returns them with a message each
 */
export const missingOperators = (
  operators: readonly Operator[],
): { operator: Operator; reason: string }[] =>
  operators.flatMap(operator => {
    const reason = whyMissing(operator)
    return reason === undefined ? [] : [{ operator, reason }]
  })

/** The newest files that this ONNX Runtime reads, from its refusal of a newer one. */
export function newestVersions(): Newest {
  const said = (model: Buffer) => whyRefused(model) ?? ''
  const ir = /max supported IR version: (\d+)/.exec(said(oneNodeModel('', 'Identity', 1, FUTURE)))
  const opset = /till opset (\d+)/.exec(said(oneNodeModel('', 'Identity', FUTURE)))
  return { irVersion: Number(ir?.[1]), opset: Number(opset?.[1]) }
}

export interface Newest {
  readonly irVersion: number
  /** Of ONNX's own domain. */
  readonly opset: number
}

const FUTURE = 1_000

/** The node lacks its inputs, which does not matter: ONNX Runtime looks up the operator first. */
function whyMissing({ domain, name, opset }: Operator): string | undefined {
  if (opset === undefined) return `the file imports no operator set of the domain "${domain}"`
  const said = whyRefused(oneNodeModel(domain === 'ai.onnx' ? '' : domain, name, opset)) ?? ''
  if (/is not a registered function\/op|No Op registered for/.test(said))
    return `it is not in its operator set ${domain} ${opset}`
  return /is deprecated in domain_version/.test(said)
    ? `it is no longer in the operator set ${domain} ${opset}`
    : undefined
}

/** @returns ONNX Runtime's message, or undefined when it accepts the model */
function whyRefused(model: Buffer): string | undefined {
  try {
    const session = createNativeSession()
    session.loadModel(model.buffer, model.byteOffset, model.byteLength, { logSeverityLevel: 4 })
    session.dispose()
    return undefined
  } catch (error) {
    return (error as Error).message
  }
}

/** IR version 8 is from 2021, so that only the operator is refused. Field numbers: onnx.proto. */
function oneNodeModel(domain: string, name: string, opset: number, irVersion = 8): Buffer {
  const imported = message(8, [field(1, domain), numberField(2, opset)])
  const node = message(1, [field(2, 'y'), field(4, name), field(7, domain)])
  const graph = message(7, [node, field(2, 'one'), message(12, [field(1, 'y')])])
  return Buffer.concat([numberField(1, irVersion), imported, graph])
}
