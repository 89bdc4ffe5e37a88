import { defineTransform } from 'onnx-function'

/* A transform for iris without preprocess: callers send inference requests. */

interface Model {
  inputs: { input: { datatype: 'FP32'; shape: [rows: number, 4] } }
  outputs: { predicted_class: { datatype: 'BYTES'; shape: [rows: number] } }
}

export default defineTransform<Model>()({
  postprocess: ({ predicted_class }) => predicted_class.data,
})
