// The tensors of model.onnx, written by `onnx-function types`. Write them again when the model changes.

export interface Model {
  inputs: {
    pixels: { datatype: 'FP32'; shape: [batch: number, 8, 8] }
  }
  outputs: {
    digit: { datatype: 'INT64'; shape: [batch: number] }
    probabilities: { datatype: 'FP32'; shape: [batch: number, 10] }
  }
}
