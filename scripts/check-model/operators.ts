import { createNativeSession } from '../../function/inference/onnxruntime.ts'
import { field, message, numberField } from '../../function/inference/protobuf.ts'
import type { Operator } from './graph.ts'

/**
 * Finds operators that this version of ONNX Runtime does not define. Tests each in a model with one
 * node, because ONNX Runtime reports only a model's first missing operator.
 * @returns the missing operators, each with a reason
 */
export const missingOperators = (
  operators: readonly Operator[],
): { operator: Operator; reason: string }[] =>
  operators.flatMap(operator => {
    const reason = whyMissing(operator)
    return reason === undefined ? [] : [{ operator, reason }]
  })

/** The newest file versions that ONNX Runtime supports, from its error for newer ones. */
export function newestVersions(): Newest {
  const said = (model: Buffer) => whyRefused(model) ?? ''
  const ir = /max supported IR version: (\d+)/.exec(said(oneNodeModel('', 'Identity', 1, FUTURE)))
  const opset = /till opset (\d+)/.exec(said(oneNodeModel('', 'Identity', FUTURE)))
  return { irVersion: Number(ir?.[1]), opset: Number(opset?.[1]) }
}

export interface Newest {
  readonly irVersion: number
  readonly opset: number
}

const FUTURE = 1_000

/** The node has no inputs: ONNX Runtime looks up the operator before it checks inputs. */
function whyMissing({ domain, name, opset }: Operator): string | undefined {
  if (opset === undefined) return `the file imports no operator set of the domain "${domain}"`
  const said = whyRefused(oneNodeModel(domain === 'ai.onnx' ? '' : domain, name, opset)) ?? ''
  if (/is not a registered function\/op|No Op registered for/.test(said))
    return `the operator set ${domain} ${opset} does not contain it`
  return /is deprecated in domain_version/.test(said)
    ? `the operator set ${domain} ${opset} no longer contains it`
    : undefined
}

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

/**
 * A model with one node, with the field numbers from onnx.proto. IR version 8 dates from 2021, so
 * ONNX Runtime can refuse only the operator.
 */
function oneNodeModel(domain: string, name: string, opset: number, irVersion = 8): Buffer {
  const imported = message(8, [field(1, domain), numberField(2, opset)])
  const node = message(1, [field(2, 'y'), field(4, name), field(7, domain)])
  const graph = message(7, [node, field(2, 'one'), message(12, [field(1, 'y')])])
  return Buffer.concat([numberField(1, irVersion), imported, graph])
}
