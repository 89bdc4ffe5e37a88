import type { Check } from './compare.ts'
import { type Canary, FIELD_MANAGER } from './rollout/state.ts'

export interface Plan {
  /** Percents of traffic at which the new revision is judged; after the last it gets 100. */
  readonly steps: readonly number[]
  /** A step's least duration, and the time between two looks, in seconds. */
  readonly hold: number
  readonly every: number
  /** After this many seconds, too little data is an error. */
  readonly patience: number
  /** Whether a new revision at 0 % starts. */
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
  /** The percent to set; undefined when nothing changes. */
  readonly to?: number
  readonly reason: string
}

/** One interim analysis of a step, at a time fixed when the step began. */
export interface Look {
  /** Counted from 1; 0 before the first look. */
  readonly number: number
  readonly at: Date
  readonly seconds: number
}

/**
 * The latest planned look. It depends on the step's beginning alone: a second run, or a run after a
 * restart, gets the same look and spends no more alpha.
 */
export function lookAt({ since }: Canary, { every }: Plan, now: Date): Look {
  const number = Math.max(0, Math.floor((now.getTime() - since.getTime()) / 1000 / every))
  return { number, at: new Date(since.getTime() + 1000 * number * every), seconds: number * every }
}

/**
 * The part of alpha that one check spends at one look. Each step and each check gets the same part;
 * of it, the k-th look gets 1/(k(k+1)), which sums to 1 over any number of looks. By Bonferroni's
 * inequality, the whole rollout rolls back an equal version with probability alpha at most.
 */
export const spend = (alpha: number, { steps }: Plan, checks: number, look: number) =>
  alpha / steps.length / checks / (look * (look + 1))

/** By then, controllers and Gateways have carried out a change, or are blocked. */
const SETTLED_S = 120

/** Waits until --patience is over. */
function patiently(reason: string, { patience }: Plan, { seconds }: Look): Decision {
  if (seconds < patience) return { action: 'wait', reason }
  return { action: 'stalled', reason: `${reason}, ${seconds} s after the last change` }
}

/** The decision that needs no comparison; undefined when the revisions must be compared. */
export function beforeLooking(canary: Canary, plan: Plan, look: Look): Decision | undefined {
  const { percent, setBy, untouched, notReady, old, new: fresh } = canary
  // --start does not restart it: a restarted command would repeat the rollout that just failed.
  if (percent === 0 && setBy === FIELD_MANAGER && untouched) {
    return {
      action: 'rolled back',
      reason: `${fresh.name} was rolled back; ${old.name} has all traffic`,
    }
  }
  // A person may have set 0 by hand.
  if (percent === 0 && !plan.start)
    return {
      action: 'stand',
      reason: `${fresh.name} stands at 0 %, set by ${setBy}; --start begins`,
    }
  // The Gateway answers the new revision's share of requests with errors, which no pod counts.
  if (percent > 0 && canary.isDown && look.seconds >= SETTLED_S)
    return { action: 'roll back', to: 0, reason: `${notReady}, and it has traffic` }
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

/** The decision that follows from the checks. */
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
    const reason = 'Prometheus has nothing of either revision since the step began'
    return explained(patiently(reason, plan, look), NO_DATA)
  }
  if (unknown.length > 0)
    return explained(patiently(`too little is known of ${unknown.join(', ')}`, plan, look), TOO_FEW)
  // Callers get no worse answers yet; more traffic could change that.
  if (are('worse').length > 0)
    return {
      action: 'wait',
      reason: `${fresh.name} is saturated, which more traffic would make worse`,
    }
  if (look.seconds < plan.hold)
    return { action: 'wait', reason: `nothing is worse; the step lasts ${plan.hold} s` }
  return {
    action: 'promote',
    to: nextStep(percent, plan),
    reason: `nothing is worse at ${percent} %`,
  }
}

const NO_DATA =
  'likely nobody asks, callers reach the pods past the route, or Prometheus scrapes neither revision under these labels (docs/metrics.md)'
const TOO_FEW =
  'likely there is too little traffic for --requests and --patience, or callers reach the pods past the route'

/** Adds likely reasons when waiting has become an error. */
const explained = (decision: Decision, reasons: string): Decision =>
  decision.action === 'stalled'
    ? { ...decision, reason: `${decision.reason}: ${reasons}` }
    : decision

/**
 * Whether a revision got less than a tenth of its percentage of all requests, when there are enough
 * to judge by. Chance does this with a probability below 1e-15, or 1e-100 for 500 requests.
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
      reason: `${name} got ${counted} of ${all} requests, not ${share} %: likely the route does not carry the percent, callers reach the pods past it, or Prometheus does not scrape ${name} under these labels (docs/metrics.md)`,
    }
  }
  return undefined
}

const nextStep = (percent: number, { steps }: Plan) => steps.find(step => step > percent) ?? 100
