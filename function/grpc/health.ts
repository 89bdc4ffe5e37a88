import { Refused } from '../answer.ts'
import { show } from '../protocol/json.ts'
import { decodeMessage } from '../protocol/protobuf-decode.ts'
import { encodeMessage } from '../protocol/protobuf-encode.ts'
import type { Method } from '../protocol/protobuf-schema.ts'
import type { Service } from '../service.ts'
import type { Call } from './call.ts'
import { type Handler, unary } from './method.ts'
import { FILES } from './protos.ts'

/** grpc.health.v1, which Kubernetes' probes ask: the server as '', each service, and the model. */
export const HEALTH_METHODS: Readonly<Record<string, Handler>> = {
  Check: unary(({ service: asked }, _call, service) => {
    const status = healthOf(asked, service)
    if (status === 'SERVICE_UNKNOWN')
      throw new Refused('NOT_FOUND', `service ${show(asked)} is unknown`)
    return { status }
  }, 'health'),
  Watch: { kind: 'health', answer: watch },
}

type Health = 'SERVING' | 'NOT_SERVING' | 'SERVICE_UNKNOWN'

function healthOf(asked: string, { dataPlane, model }: Service): Health {
  const isKnown =
    asked === '' ||
    asked === model.name ||
    FILES.some(({ services }) => services.some(({ fullName }) => fullName === asked))
  if (!isKnown) return 'SERVICE_UNKNOWN'
  return dataPlane.ready().ready ? 'SERVING' : 'NOT_SERVING'
}

/** Tells the status now, and each time that it changes, until the client has enough. */
async function watch(call: Call, { input, output }: Method, service: Service): Promise<void> {
  const { message } = await call.readOnly()
  const { service: asked } = decodeMessage(input, message)
  let told: Health | undefined
  const tell = async () => {
    const status = healthOf(asked, service)
    if (status === told) return
    told = status
    await call.send(encodeMessage(output, { status }).parts)
  }
  await tell()
  call.onTick = () => void tell().catch(() => {})
  await call.over
}
