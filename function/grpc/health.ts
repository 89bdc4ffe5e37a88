import { Refused } from '../answer.ts'
import { freeOwn } from '../inference/transfer.ts'
import { show } from '../protocol/json.ts'
import { decodeMessage } from '../protocol/protobuf-decode.ts'
import { encodeMessage } from '../protocol/protobuf-encode.ts'
import type { MessageType, Method } from '../protocol/protobuf-schema.ts'
import type { Service } from '../service.ts'
import type { Call } from './call.ts'
import { type Handler, unary } from './method.ts'
import { FILES } from './protos.ts'

/**
 * grpc.health.v1, for Kubernetes probes: the health of the server (''), of each service, and of the
 * model.
 */
export const HEALTH_METHODS: Readonly<Record<string, Handler>> = {
  Check: unary(({ service: asked }, _call, service) => {
    if (!isKnown(asked, service))
      throw new Refused('NOT_FOUND', `service ${show(asked)} is unknown`)
    return { status: healthOf(service) }
  }, 'health'),
  Watch: { kind: 'health', answer: watch },
}

type Health = 'SERVING' | 'NOT_SERVING' | 'SERVICE_UNKNOWN'

const isKnown = (asked: string, { model }: Service): boolean =>
  asked === '' ||
  asked === model.name ||
  FILES.some(({ services }) => services.some(({ fullName }) => fullName === asked))

const healthOf = ({ dataPlane }: Service): Health =>
  dataPlane.ready().ready ? 'SERVING' : 'NOT_SERVING'

async function watch(call: Call, { input, output }: Method, service: Service): Promise<void> {
  const watchesKnown = await asksForKnown(call, input, service)
  let told: Health | undefined
  const tell = async () => {
    const status = watchesKnown ? healthOf(service) : 'SERVICE_UNKNOWN'
    if (status === told) return
    told = status
    await call.send(encodeMessage(output, { status }).parts)
  }
  await tell()
  call.onTick = () => void tell().catch(() => {})
  await call.over
}

/**
 * Whether a watch names a known service. Frees the message's memory, because a watch may last
 * forever and needs no authentication.
 */
async function asksForKnown(call: Call, input: MessageType, service: Service): Promise<boolean> {
  const { message, reservation } = await call.readOnly()
  const known = isKnown(decodeMessage(input, message).service, service)
  freeOwn(message)
  reservation.release()
  return known
}
