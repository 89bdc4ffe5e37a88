import type { Point } from './point.ts'
import { points as binary } from './points/binary.ts'
import { points as compression } from './points/compression.ts'
import { points as data } from './points/data.ts'
import { points as datatypes } from './points/datatypes.ts'
import { points as errors } from './points/errors.ts'
import { points as extensions } from './points/extensions.ts'
import { points as health } from './points/health.ts'
import { points as outputs } from './points/outputs.ts'
import { points as request } from './points/request.ts'
import { points as routing } from './points/routing.ts'
import { points as shapes } from './points/shapes.ts'

/** Everything the Open Inference Protocol over HTTP, and extensions of it, ask of a server. */
export const groups = {
  health,
  routing,
  request,
  outputs,
  shapes,
  data,
  datatypes,
  binary,
  compression,
  errors,
  extensions,
} satisfies Record<string, readonly Point[]>

export type Group = keyof typeof groups

export const points: readonly Point[] = Object.values(groups).flat()
