import { defineTransform } from 'onnx-function'
import type { Model } from './model.onnx'

export default defineTransform<Model>()({
  // The complete body of a text/plain request is the string.
  input: {
    type: 'string',
    minLength: 1,
    maxLength: 10_000,
    description: 'An English message',
    examples: ['You have won a free holiday. Click here to claim your prize.'],
  },
  output: {
    type: 'object',
    required: ['label', 'score'],
    properties: {
      label: { enum: ['ham', 'spam'] },
      score: { type: 'number', description: 'Probability that the message is spam' },
    },
  },
  preprocess: message => ({ text: [[message]] }),
  postprocess: ({ label, probabilities }) => ({
    label: label.data[0],
    score: probabilities.data[1],
  }),
})
