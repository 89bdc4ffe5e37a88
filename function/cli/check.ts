import { check as checkModel } from '../../scripts/check-model/command.ts'

export const check = (args: readonly string[]): Promise<void> =>
  checkModel(args, { command: 'onnx-function check', from: '.' })
