/*
 * What `import … from 'onnx-function'` gives the author's own code within the server, in every
 * thread (load.ts). The server and its tools are no part of it, because a thread has no use for them.
 */
export { defineTransform } from './define.ts'
export { BadRequest, Refused, Unavailable } from './errors.ts'
