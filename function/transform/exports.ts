/*
 * The exports of `import … from 'onnx-function'` for the author's own code within the server, in
 * every thread (load.ts). The server and its tools are not exported, because a thread cannot use
 * them.
 */
export { defineTransform } from './define.ts'
export { BadRequest, Refused, Unavailable } from './errors.ts'
