import { overGrpc } from './grpc/over-grpc.ts'
import { Inapplicable, type Point } from './point.ts'
import { points as binary } from './points/binary.ts'
import { points as compression } from './points/compression.ts'
import { points as data } from './points/data.ts'
import { points as datatypes } from './points/datatypes.ts'
import { points as errors } from './points/errors.ts'
import { points as extensions } from './points/extensions.ts'
import { points as grpc } from './points/grpc.ts'
import { points as health } from './points/health.ts'
import { points as outputs } from './points/outputs.ts'
import { points as request } from './points/request.ts'
import { points as routing } from './points/routing.ts'
import { points as shapes } from './points/shapes.ts'

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

export type Groups = Readonly<Record<string, readonly Point[]>>

const alsoOverGrpc = (point: Point): Point => ({
  ...point,
  name: `over gRPC: ${point.name}`,
  async check(target) {
    if (target.call === undefined) throw new Inapplicable('the option --grpc is not set')
    await point.check({ ...target, send: overGrpc(target.call) })
  },
})

/** The gRPC points, and the HTTP points that gRPC may be able to express. */
export const grpcGroups: Groups = {
  grpc,
  ...Object.fromEntries(
    Object.entries(groups)
      .filter(([group]) => group !== 'extensions' && group !== 'compression')
      .map(([group, points]) => [`grpc-${group}`, points.map(alsoOverGrpc)]),
  ),
}
