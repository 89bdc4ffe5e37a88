// The tensors of model.onnx, written by `onnx-function types`. Write them again when the model changes.

export interface Model {
  inputs: {
    input: { datatype: 'FP32'; shape: [batch: number, 4] }
  }
  outputs: {
    probabilities: { datatype: 'FP32'; shape: [batch: number, 3] }
    predicted_class: { datatype: 'BYTES'; shape: [batch: number] }
  }
}
