import type { Rules, Version } from '../rule.ts'
import { Stop } from '../value.ts'
import { CONSTANTS } from './constants.ts'
import { ELEMENTWISE } from './elementwise.ts'
import { MICROSOFT, ML, TEXT } from './ml.ts'
import { PRODUCTS } from './products.ts'
import { QUANTIZATION } from './quantization.ts'
import { RECURRENT } from './recurrent.ts'
import { REDUCTIONS } from './reductions.ts'
import { SHAPES } from './shapes.ts'

interface Domain {
  /** The newest opset whose changes were read; in a newer one an operator may mean something else. */
  readonly newest: number
  readonly rules: Rules
}

/** Read in onnx 1.23.2's operator schemas, of which these are the newest. */
const DOMAINS: Readonly<Record<string, Domain>> = {
  'ai.onnx': {
    newest: 28,
    rules: {
      ...CONSTANTS,
      ...ELEMENTWISE,
      ...SHAPES,
      ...REDUCTIONS,
      ...PRODUCTS,
      ...QUANTIZATION,
      ...RECURRENT,
      ...TEXT,
    },
  },
  'ai.onnx.ml': { newest: 5, rules: ML },
  'com.microsoft': { newest: 1, rules: MICROSOFT },
}

/** The rule of an operator in that opset. @throws {Stop} where there is none */
export function ruleOf(domain: string, operator: string, opset: number): Version {
  const known = Object.hasOwn(DOMAINS, domain) ? DOMAINS[domain] : undefined
  const versions =
    known !== undefined && Object.hasOwn(known.rules, operator) ? known.rules[operator] : undefined
  if (known === undefined || versions === undefined)
    throw new Stop('there is no rule for this operator')
  if (opset > known.newest)
    throw new Stop(
      `its opset ${opset} is newer than ${known.newest}, the newest that the rules know`,
    )
  const version = versions.findLast(({ since }) => since <= opset)
  if (version === undefined)
    throw new Stop(`its opset ${opset} is older than ${versions[0]?.since}, the oldest with a rule`)
  return version
}
