import assert from 'node:assert/strict'
import { assertFailed, saysWhy, show } from './answer.ts'
import type { Reply } from './connection.ts'
import type { Applicable, Point, Target } from './point.ts'
import { oip, rfc } from './sources.ts'

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
 * A point for each mistake, that it is refused with an error status; and two for all of them: that what is refused says why in the
 * protocol's form, and that the status is the one meant for it. The specification says "typically 400": the number is a stricter reading.
 */
export function refusals(
  subject: string,
  mistakes: readonly Mistake[],
  statuses: readonly number[] = [400],
): Point[] {
  const applying = (target: Target) =>
    mistakes.filter(({ notApplicable }) => notApplicable?.(target) === undefined)
  const meant = statuses.join(' or ')

  /** Fails where one of the refusals is not as it should be; whether all are refused is asked by the other points. */
  const everyRefusal = async (target: Target, isRight: (reply: Reply) => boolean) => {
    const wrong: string[] = []
    for (const { mistake, send } of applying(target)) {
      const reply = await send(target)
      if (reply.status >= 400 && !isRight(reply)) wrong.push(`${mistake}: ${show(reply)}`)
    }
    assert.ok(
      wrong.length === 0,
      `${wrong.length} of ${applying(target).length} are not: ${wrong.join('; ')}`,
    )
  }

  const notApplicable = (target: Target) =>
    applying(target).length === 0 ? 'none of the mistakes can be made with this model' : undefined
  return [
    ...mistakes.map(
      ({ mistake, send, ...rest }): Point => ({
        ...rest,
        name: `${mistake} is refused`,
        expected: 'an error status',
        check: async target => assertFailed(await send(target)),
      }),
    ),
    {
      name: `every refusal of ${subject} says why in {"error"}`,
      source: oip('Inference Response JSON Error Object', '"must contain"'),
      level: 'required',
      expected: '{"error":"…"} in each',
      notApplicable,
      check: target => everyRefusal(target, saysWhy),
    },
    {
      name: `every refusal of ${subject} has the status ${meant}`,
      source: statuses.includes(415)
        ? rfc(9110, '15.5.16')
        : oip('Inference Response JSON Error Object', '"typically 400"'),
      level: 'stricter',
      expected: `${meant} for each`,
      notApplicable,
      check: target => everyRefusal(target, ({ status }) => statuses.includes(status)),
    },
  ]
}
