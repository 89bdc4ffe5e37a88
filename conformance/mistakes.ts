import assert from 'node:assert/strict'
import { assertFailed, saysWhy, show } from './answer.ts'
import type { Reply } from './connection.ts'
import type { Applicable, Point, Target } from './point.ts'
import { oip, rfc } from './sources.ts'

export interface Mistake {
  /** A noun phrase: the point's name is "<mistake> is rejected". */
  readonly mistake: string
  readonly source: string
  /** `required`: no valid response exists. `stricter`: a server may guess the meaning. */
  readonly level: Point['level']
  readonly notApplicable?: Applicable
  readonly send: (target: Target) => Promise<Reply>
}

/**
 * Returns one point per mistake: the server rejects it with an error status. Two more points check
 * every error response's message and exact status. The point about the status is `stricter`,
 * because the specification says "typically 400".
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
   * Fails if an error response has the wrong form. Other points check that each mistake is
   * rejected.
   */
  const everyRefusal = async (target: Target, isRight: (reply: Reply) => boolean) => {
    const wrong: string[] = []
    for (const { mistake, send } of applying(target)) {
      const reply = await send(target)
      if (reply.status >= 400 && !isRight(reply)) wrong.push(`${mistake}: ${show(reply)}`)
    }
    assert.ok(
      wrong.length === 0,
      `${wrong.length} of ${applying(target).length} requests got a different response: ${wrong.join('; ')}`,
    )
  }

  const notApplicable = (target: Target) =>
    applying(target).length === 0
      ? 'no request to this model can contain these mistakes'
      : undefined
  return [
    ...mistakes.map(
      ({ mistake, send, ...rest }): Point => ({
        ...rest,
        name: `${mistake} is rejected`,
        expected: 'an error status',
        check: async target => assertFailed(await send(target)),
      }),
    ),
    {
      name: `every error response to ${subject} has a message in {"error"}`,
      source: oip('Inference Response JSON Error Object', '"must contain"'),
      level: 'required',
      expected: '{"error":"…"} in each response',
      notApplicable,
      check: target => everyRefusal(target, saysWhy),
    },
    {
      name: `every error response to ${subject} has status ${meant}`,
      source: statuses.includes(415)
        ? rfc(9110, '15.5.16')
        : oip('Inference Response JSON Error Object', '"typically 400"'),
      level: 'stricter',
      expected: `${meant} for each mistake`,
      notApplicable,
      check: target => everyRefusal(target, ({ status }) => statuses.includes(status)),
    },
  ]
}
