import assert from 'node:assert/strict'
import { assertError, assertRefused } from './answer.ts'
import type { Reply } from './connection.ts'
import type { Applicable, Point, Target } from './point.ts'
import { oip } from './sources.ts'

/** A request that is wrong in one thing. */
export interface Mistake {
  /** What is wrong, as the beginning of "… is refused". */
  readonly mistake: string
  readonly source: string
  /** `required`: no right answer is possible. `stricter`: the specification lets a server guess what was meant, or says nothing. */
  readonly level: Point['level']
  readonly notApplicable?: Applicable
  readonly send: (target: Target) => Promise<Reply>
}

/**
 * A point for each mistake, that it is refused; and one for all, that the status is 400.
 * The specification asks for an error status, "typically 400", so the number itself is a stricter reading.
 */
export function refusals(subject: string, mistakes: readonly Mistake[]): Point[] {
  const required = mistakes.filter(({ level }) => level === 'required')
  const applying = (target: Target) => required.filter(({ notApplicable }) => notApplicable?.(target) === undefined)
  const points: Point[] = mistakes.map(({ mistake, send, ...rest }) => ({
    ...rest,
    name: `${mistake} is refused`,
    expected: rest.level === 'required' ? 'an error status with {"error"}' : '400 with {"error"}',
    check: async target => (rest.level === 'required' ? assertError(await send(target)) : assertRefused(await send(target), 400)),
  }))
  if (required.length === 0) return points
  return [
    ...points,
    {
      name: `every such mistake with ${subject} is answered 400`,
      source: oip('Inference Response JSON Error Object', '"typically 400"'),
      level: 'stricter',
      expected: '400 for each of the required refusals',
      notApplicable: target => (applying(target).length === 0 ? 'none of the mistakes can be made with this model' : undefined),
      check: async target => {
        const others: string[] = []
        for (const { mistake, send } of applying(target)) {
          const { status } = await send(target)
          if (status !== 400) others.push(`${mistake}: ${status}`)
        }
        assert.equal(others.length, 0, `other answers to ${others.length} of them: ${others.join('; ')}`)
      },
    },
  ]
}
