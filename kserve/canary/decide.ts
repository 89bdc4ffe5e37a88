import type { Check } from './compare.ts'
import { type Canary, FIELD_MANAGER } from './rollout/state.ts'

export interface Plan {
  /** Percentages of traffic at which the new revision is judged. After the last, it gets 100. */
  readonly steps: readonly number[]
  /** The minimum duration of a step, in seconds. */
  readonly hold: number
  /** Seconds between two looks. */
  readonly every: number
  /** Seconds after which too little data is an error. */
  readonly patience: number
  /** Whether to start a new revision that is at 0 %. */
  readonly start: boolean
}

export interface Decision {
  readonly action:
    | 'start'
    | 'promote'
    | 'roll back'
    | 'wait'
    | 'rolled back'
    | 'stand'
    | 'idle'
    | 'unrouted'
    | 'stalled'
  readonly to?: number
  readonly reason: string
}

/** One comparison within a step. Its time was fixed when the step began. */
export interface Look {
  /** Counted from 1; 0 before the first look. */
  readonly number: number
  readonly at: Date
  readonly seconds: number
}

/**
 * Returns the latest planned look. It depends only on when the step began, so a second or restarted
 * run gets the same look and spends no more alpha.
 */
export function lookAt({ since }: Canary, { every }: Plan, now: Date): Look {
  const number = Math.max(0, Math.floor((now.getTime() - since.getTime()) / 1000 / every))
  return { number, at: new Date(since.getTime() + 1000 * number * every), seconds: number * every }
}

/**
 * The part of alpha that one check spends at one look. Each step and each check gets an equal part,
 * of which the k-th look spends 1/(k(k+1)); these sum to 1 over all looks. By Bonferroni's
 * inequality, a rollout rolls back an equal version with a probability of at most alpha.
 */
export const spend = (alpha: number, { steps }: Plan, checks: number, look: number) =>
  alpha / steps.length / checks / (look * (look + 1))

/** Controllers and Gateways apply a change within this time, unless something prevents them. */
const SETTLED_S = 120

/** Returns "wait" until --patience has passed, and then "stalled". */
function patiently(reason: string, { patience }: Plan, { seconds }: Look): Decision {
  if (seconds < patience) return { action: 'wait', reason }
  return { action: 'stalled', reason: `${reason}, ${seconds} s after the last change` }
}

/** Returns a decision that needs no comparison; undefined if the revisions must be compared. */
export function beforeLooking(canary: Canary, plan: Plan, look: Look): Decision | undefined {
  const { percent, setBy, untouched, notReady, old, new: fresh } = canary
  // A failed rollout is not repeated, even with --start.
  if (percent === 0 && setBy === FIELD_MANAGER && untouched) {
    return {
      action: 'rolled back',
      reason: `${fresh.name} was rolled back; ${old.name} has all traffic`,
    }
  }
  // A person may have set 0, so only --start begins the rollout.
  if (percent === 0 && !plan.start)
    return {
      action: 'stand',
      reason: `${fresh.name} is at 0 %, set by ${setBy}; use --start to begin the rollout`,
    }
  // The Gateway answers the new revision's requests with errors that no pod counts.
  if (percent > 0 && canary.isDown && look.seconds >= SETTLED_S)
    return { action: 'roll back', to: 0, reason: `${notReady}, but it has traffic` }
  if (notReady !== undefined) return patiently(notReady, plan, look)
  if (percent > 0 && canary.unrouted !== undefined) {
    const { unrouted: reason } = canary
    return { action: look.seconds < SETTLED_S ? 'wait' : 'unrouted', reason }
  }
  if (percent === 0)
    return { action: 'start', to: nextStep(0, plan), reason: `${fresh.name} is ready` }
  if (look.number === 0)
    return { action: 'wait', reason: `the first look is ${plan.every} s after the last change` }
  return undefined
}

export function decide(
  { percent, new: fresh }: Canary,
  checks: readonly Check[],
  plan: Plan,
  look: Look,
): Decision {
  const are = (...verdicts: Check['verdict'][]) =>
    checks.filter(({ verdict }) => verdicts.includes(verdict)).map(({ check }) => check)
  const judged = are('worse').filter(check => check !== 'saturation')
  if (judged.length > 0)
    return {
      action: 'roll back',
      to: 0,
      reason: `${fresh.name} is worse in ${judged.join(' and ')}`,
    }
  const unknown = are('too few', 'no data')
  if (are('no data').includes('errors')) {
    const reason = 'Prometheus has no requests of either revision since the step began'
    return explained(patiently(reason, plan, look), NO_DATA)
  }
  if (unknown.length > 0)
    return explained(
      patiently(`too few requests to judge ${unknown.join(', ')}`, plan, look),
      TOO_FEW,
    )
  // Responses are not worse yet, but more traffic could make them worse.
  if (are('worse').length > 0)
    return {
      action: 'wait',
      reason: `${fresh.name} is saturated, and more traffic would make it worse`,
    }
  if (look.seconds < plan.hold)
    return { action: 'wait', reason: `no check is worse; the step lasts ${plan.hold} s` }
  return {
    action: 'promote',
    to: nextStep(percent, plan),
    reason: `no check is worse at ${percent} %`,
  }
}

const NO_DATA =
  'likely there are no requests, callers bypass the route, or Prometheus does not scrape the revisions with these labels (docs/metrics.md)'
const TOO_FEW =
  'likely the traffic is too low for --requests and --patience, or callers bypass the route'

const explained = (decision: Decision, reasons: string): Decision =>
  decision.action === 'stalled'
    ? { ...decision, reason: `${decision.reason}: ${reasons}` }
    : decision

/**
 * Detects a revision that got less than a tenth of its share, if the full share would have been
 * enough to judge it. Chance causes this with a probability below 1e-15, or below 1e-100 for 500
 * requests.
 * @returns undefined if each revision got its requests
 */
export function misrouted(
  { percent, old, new: fresh }: Canary,
  requests: { readonly old: number; readonly new: number },
  enough: number,
): Decision | undefined {
  const all = requests.old + requests.new
  for (const [{ name }, counted, share] of [
    [fresh, requests.new, percent],
    [old, requests.old, 100 - percent],
  ] as const) {
    const expected = (all * share) / 100
    if (expected < enough || counted >= enough || counted >= expected / 10) continue
    return {
      action: 'unrouted',
      reason: `${name} got ${counted} of ${all} requests, not ${share} %: likely the route does not apply the percentage, callers bypass the route, or Prometheus does not scrape ${name} with these labels (docs/metrics.md)`,
    }
  }
  return undefined
}

const nextStep = (percent: number, { steps }: Plan) => steps.find(step => step > percent) ?? 100
