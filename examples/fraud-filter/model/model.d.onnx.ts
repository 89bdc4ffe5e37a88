// The tensors of model.onnx, written by `onnx-function types`. Write them again when the model changes.

export interface Model {
  inputs: {
    features: { datatype: 'FP32'; shape: [batch: number, 6] }
  }
  outputs: {
    probabilities: { datatype: 'FP32'; shape: [batch: number, 2] }
  }
}
