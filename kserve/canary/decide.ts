import type { Check } from './compare.ts'
import { type Canary, FIELD_MANAGER } from './rollout/state.ts'

export interface Plan {
  /** Percents at which the new revision is judged; after the last it gets everything. */
  readonly steps: readonly number[]
  /** How long a step lasts at least, and how often it is looked at, in seconds. */
  readonly hold: number
  readonly every: number
  /** Whether a canary that stands at 0 is to begin. */
  readonly start: boolean
}

export interface Decision {
  readonly action: 'start' | 'promote' | 'roll back' | 'wait' | 'rolled back' | 'stand' | 'idle'
  /** The percent to set, where one is. */
  readonly to?: number
  readonly reason: string
}

/** One look: since the step began, at moments that were planned when it did. */
export interface Look {
  /** From 1 on; 0 before the first. */
  readonly number: number
  readonly at: Date
  readonly seconds: number
}

/**
 * The last planned look that has come. It depends on the step's beginning alone, so that whoever asks twice, or after a stop, is told the
 * same, and has looked no more often.
 */
export function lookAt({ since }: Canary, { every }: Plan, now: Date): Look {
  const number = Math.max(0, Math.floor((now.getTime() - since.getTime()) / 1000 / every))
  return { number, at: new Date(since.getTime() + 1000 * number * every), seconds: number * every }
}

/**
 * What is left of alpha for one check at one look. Each step and each check gets the same part; within it the k-th look gets 1/(k(k+1)),
 * which sums to 1 however many there are. By Bonferroni's inequality a version that is no different is then rolled back with probability
 * alpha at most, over the whole rollout.
 */
export const spend = (alpha: number, { steps }: Plan, checks: number, look: number) =>
  alpha / steps.length / checks / (look * (look + 1))

/** Whether there is anything to compare yet. */
export function beforeLooking(canary: Canary, plan: Plan, look: Look): Decision | undefined {
  const { percent, setBy, untouched, notReady, old, new: fresh } = canary
  // Not even --start begins it again: whoever restarts the command that did it would.
  if (percent === 0 && setBy === FIELD_MANAGER && untouched) {
    return {
      action: 'rolled back',
      reason: `${fresh.name} was rolled back; ${old.name} has all traffic`,
    }
  }
  // A person may have gone back by hand.
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

/** What the checks say is to be done. */
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
  // Nobody is served worse for it yet; more traffic would make it so.
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
