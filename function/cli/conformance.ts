/** `onnx-function conformance`. */
export { conformance } from '../../conformance/command.ts'
