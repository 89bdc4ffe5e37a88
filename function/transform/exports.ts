/*
 * The exports of 'onnx-function' for a transform in the server, in every thread (load.ts). Omits
 * the server and its tools, which a thread cannot use.
 */
export { defineTransform } from './define.ts'
export { BadRequest, Refused, Unavailable } from './errors.ts'
