/*
 * The exports that `import … from 'onnx-function'` gives the author's own code within the server,
 * in every thread (load.ts). They exclude the server and its tools, which a thread cannot use.
 */
export { defineTransform } from './define.ts'
export { BadRequest, Refused, Unavailable } from './errors.ts'
