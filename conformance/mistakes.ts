import assert from 'node:assert/strict'
import { assertFailed, saysWhy, show } from './answer.ts'
import type { Reply } from './connection.ts'
import type { Applicable, Point, Target } from './point.ts'
import { oip, rfc } from './sources.ts'

/** A request with one mistake. */
export interface Mistake {
  /** The mistake, as the beginning of "… is refused". */
  readonly mistake: string
  readonly source: string
  /** `required`: no right answer exists. `stricter`: a server may guess the meaning. */
  readonly level: Point['level']
  readonly notApplicable?: Applicable
  readonly send: (target: Target) => Promise<Reply>
}

/**
 * One point per mistake: the server refuses it with an error status. Two more for all of them:
 * refusals give the reason in the protocol's form, and have the intended status. The specification
 * says "typically 400", so the number is a stricter reading.
 */
export function refusals(
  subject: string,
  mistakes: readonly Mistake[],
  statuses: readonly number[] = [400],
): Point[] {
  const applying = (target: Target) =>
    mistakes.filter(({ notApplicable }) => notApplicable?.(target) === undefined)
  const meant = statuses.join(' or ')

  /**
   * Fails when one of the refusals has the wrong form; the other points check that all are refused.
   */
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
