import type { Point } from './point.ts'
import { points as binary } from './points/binary.ts'
import { points as compression } from './points/compression.ts'
import { points as data } from './points/data.ts'
import { points as datatypes } from './points/datatypes.ts'
import { points as errors } from './points/errors.ts'
import { points as health } from './points/health.ts'
import { points as outputs } from './points/outputs.ts'
import { points as request } from './points/request.ts'
import { points as routing } from './points/routing.ts'
import { points as shapes } from './points/shapes.ts'

/** What does not depend on the model's tensors. */
export const aboutRequests: readonly Point[] = [...health, ...routing, ...request, ...compression, ...errors]

/** What is worth asking of each model that differs in a datatype, a shape or the number of tensors. */
export const aboutTensors: readonly Point[] = [...shapes, ...data, ...datatypes, ...binary, ...outputs]

/** Everything the Open Inference Protocol over HTTP, and the binary tensor data extension, ask of a server. */
export const points: readonly Point[] = [...aboutRequests, ...aboutTensors]
