import type { Check } from './compare.ts'
import { type Canary, FIELD_MANAGER } from './rollout/state.ts'

export interface Plan {
  /** Percents of traffic at which the new revision is judged; after the last it gets 100. */
  readonly steps: readonly number[]
  /** A step's least duration, and the time between two looks, in seconds. */
  readonly hold: number
  readonly every: number
  /** Whether a new revision at 0 % starts. */
  readonly start: boolean
}

export interface Decision {
  readonly action: 'start' | 'promote' | 'roll back' | 'wait' | 'rolled back' | 'stand' | 'idle'
  /** The percent to set; undefined where nothing changes. */
  readonly to?: number
  readonly reason: string
}

/** One interim analysis of a step, at a moment that was fixed when the step began. */
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

/** The decision that needs no comparison; undefined where the revisions are to be compared. */
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
  if (notReady !== undefined) return { action: 'wait', reason: notReady }
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
  if (are('no data').includes('errors'))
    return {
      action: 'wait',
      reason: 'Prometheus has nothing of either revision since the step began',
    }
  if (unknown.length > 0)
    return { action: 'wait', reason: `too little is known of ${unknown.join(', ')}` }
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

const nextStep = (percent: number, { steps }: Plan) => steps.find(step => step > percent) ?? 100
