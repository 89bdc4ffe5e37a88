import { writeModel } from './batchability/onnx-writer.ts'

/** The conversion to lower case needs the locale en_US.UTF-8. */
export const TEXT_MODEL: Buffer = writeModel({
  opset: 21,
  nodes: [
    {
      operator: 'StringNormalizer',
      inputs: ['text'],
      outputs: ['small'],
      attributes: { case_change_action: 'LOWER' },
    },
  ],
  inputs: { text: { type: 'BYTES', dims: ['n'] } },
  outputs: { small: { type: 'BYTES', dims: ['n'] } },
})
