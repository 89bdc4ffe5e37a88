import { BadRequest, defineTransform } from 'onnx-function'
import type { Model } from './model.onnx'

/** Payments with a lower score get no reply, so the Broker sends no further event. */
const THRESHOLD = Number(process.env.FRAUD_THRESHOLD ?? 0.9)

const country = { type: 'string', pattern: '^[A-Z]{2}$' } as const

export default defineTransform<Model>()({
  input: {
    type: 'object',
    required: [
      'id',
      'amount',
      'cardCountry',
      'merchantCountry',
      'time',
      'newDevice',
      'attemptsLastHour',
      'accountAgeDays',
    ],
    properties: {
      id: { type: 'string', minLength: 1 },
      amount: { type: 'number', exclusiveMinimum: 0, description: 'In EUR' },
      cardCountry: country,
      merchantCountry: country,
      time: { type: 'string', description: 'ISO 8601 in UTC' },
      newDevice: { type: 'boolean' },
      attemptsLastHour: { type: 'integer', minimum: 0 },
      accountAgeDays: { type: 'integer', minimum: 0 },
    },
    examples: [
      {
        id: 'p-1',
        amount: 840.26,
        cardCountry: 'CH',
        merchantCountry: 'US',
        time: '2026-03-14T04:25:00Z',
        newDevice: false,
        attemptsLastHour: 0,
        accountAgeDays: 1102,
      },
    ],
  },
  output: {
    type: 'object',
    required: ['paymentId', 'score'],
    properties: {
      paymentId: { type: 'string' },
      score: { type: 'number', description: 'Probability of fraud' },
    },
  },
  preprocess: payment => {
    const hour = new Date(payment.time).getUTCHours()
    if (Number.isNaN(hour))
      throw new BadRequest(`time is ${JSON.stringify(payment.time)}; it must be ISO 8601`)
    return {
      features: [
        [
          payment.amount,
          Number(payment.cardCountry !== payment.merchantCountry),
          hour,
          Number(payment.newDevice),
          payment.attemptsLastHour,
          payment.accountAgeDays,
        ],
      ],
    }
  },
  postprocess: ({ probabilities }, { id }, { reply }) => {
    const score = probabilities.data[1] ?? 0
    if (score < THRESHOLD) return undefined
    if (reply !== undefined) {
      reply.type = 'com.example.payment.suspicious'
      reply.attributes.severity = score < 0.97 ? 'medium' : 'high'
    }
    return { paymentId: id, score }
  },
})
