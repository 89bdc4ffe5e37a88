import type { Rules, Version } from '../rule.ts'
import { Stop } from '../value.ts'
import { ATTENTION } from './attention.ts'
import { CONSTANTS } from './constants.ts'
import { ELEMENTWISE } from './elementwise.ts'
import { MICROSOFT } from './microsoft.ts'
import { ML, TEXT } from './ml.ts'
import { PRODUCTS } from './products.ts'
import { QUANTIZATION } from './quantization.ts'
import { RECURRENT } from './recurrent.ts'
import { REDUCTIONS } from './reductions.ts'
import { SHAPES } from './shapes.ts'
import { WINDOWS } from './windows.ts'

interface Domain {
  /**
   * The newest opset that the rules cover. In a later opset, an operator may have another meaning.
   */
  readonly newest: number
  readonly rules: Rules
}

/** Checked against the operator schemas of onnx 1.23.2, whose newest opsets are given here. */
export const DOMAINS: Readonly<Record<string, Domain>> = {
  'ai.onnx': {
    newest: 28,
    rules: {
      ...ATTENTION,
      ...CONSTANTS,
      ...ELEMENTWISE,
      ...SHAPES,
      ...REDUCTIONS,
      ...PRODUCTS,
      ...WINDOWS,
      ...QUANTIZATION,
      ...RECURRENT,
      ...TEXT,
    },
  },
  'ai.onnx.ml': { newest: 5, rules: ML },
  'com.microsoft': { newest: 1, rules: MICROSOFT },
}

/** @throws {Stop} if there is no rule for the operator in this opset */
export function ruleOf(domain: string, operator: string, opset: number): Version {
  const rules = Object.hasOwn(DOMAINS, domain) ? DOMAINS[domain]?.rules : undefined
  const versions = rules && Object.hasOwn(rules, operator) ? rules[operator] : undefined
  if (versions === undefined) throw new Stop('there is no rule for this operator')
  checkOpset(domain, opset)
  const version = versions.findLast(({ since }) => since <= opset)
  if (version === undefined)
    throw new Stop(
      `opset ${opset} is older than ${versions[0]?.since}, the oldest opset with a rule for this operator`,
    )
  return version
}

/** @throws {Stop} if the domain's operators may have changed since the rules were written */
export function checkOpset(domain: string, opset: number): void {
  const newest = DOMAINS[domain]?.newest ?? 0
  if (opset > newest)
    throw new Stop(`opset ${opset} is newer than ${newest}, the newest opset that the rules cover`)
}
