// The tensors of model.onnx, written by `onnx-function types`. Write them again when the model changes.

export interface Model {
  inputs: {
    text: { datatype: 'BYTES'; shape: [batch: number, 1] }
  }
  outputs: {
    label: { datatype: 'BYTES'; shape: [batch: number] }
    probabilities: { datatype: 'FP32'; shape: [batch: number, 2] }
  }
}
