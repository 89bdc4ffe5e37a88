import { Refused } from '../answer.ts'
import { meaningOf } from '../errors.ts'
import { freeOwn } from '../inference/transfer.ts'
import type { EncodedMessage } from '../protocol/encode.ts'
import { MessageCodec, type RequestHead, readHead } from '../protocol/message.ts'
import type { Message } from '../protocol/protobuf-decode.ts'
import { encodeMessage, Parts } from '../protocol/protobuf-encode.ts'
import type { Method } from '../protocol/protobuf-schema.ts'
import { checkServed } from '../served.ts'
import type { Service } from '../service.ts'
import { Steps } from '../steps.ts'
import type { Call } from './call.ts'
import type { Received } from './frames.ts'
import { type Handler, unary } from './method.ts'
import { statusOf } from './status.ts'
import { Turn } from './turn.ts'

/* inference.GRPCInferenceService, on the same data plane as HTTP. */

export const INFERENCE_METHODS: Readonly<Record<string, Handler>> = {
  ServerLive: unary((_request, _call, { dataPlane }) => dataPlane.live(), 'health'),
  ServerReady: unary((_request, _call, { dataPlane }) => ({ ...dataPlane.ready() }), 'health'),
  ModelReady: unary((request, _call, service) => {
    checkModel(request, service)
    return { ...service.dataPlane.modelReady() }
  }, 'readiness'),
  ServerMetadata: unary((_request, _call, { dataPlane }) => dataPlane.server),
  ModelMetadata: unary((request, { caller }, service) => {
    checkModel(request, service)
    return service.dataPlane.modelMetadata(caller)
  }),
  ModelConfig: unary(async (request, { caller }, service) => {
    checkModel(request, service)
    return { config: await service.dataPlane.configuration(caller) }
  }),
  ModelStatistics: unary((request, _call, service) => {
    // As in Triton, a request without a name returns the statistics of all models.
    if (request.name !== '') checkModel(request, service)
    return { ...service.dataPlane.statistics() }
  }),
  RepositoryIndex: unary((request, _call, service) => repositoryIndex(request, service)),
  ModelInfer: { refuse: refuseIfFull, answer: inferOnce },
  ModelStreamInfer: { answer: inferStream },
}

/** @throws {Refused} NOT_FOUND if the request names another model or version */
function checkModel({ name, version }: Message, { model }: Service): void {
  checkServed({ model: name, ...(version !== '' && { version }) }, model)
}

function repositoryIndex({ repository_name, ready }: Message, service: Service): Message {
  if (repository_name !== '')
    throw new Refused('NOT_FOUND', 'repository_name is not supported; this server has one model')
  return { models: service.dataPlane.repositoryIndex(ready === true) }
}

/** Refuses a call before its message is read. @returns whether the call was refused */
function refuseIfFull(call: Call, service: Service): boolean {
  const refusal = service.dataPlane.noRoom(call.caller)
  if (refusal === undefined) return false
  const turn = new Turn(call, service, call.caller.arrived)
  service.dataPlane.refused(refusal, 'grpc', turn)
  const status = statusOf(refusal)
  turn.end(status)
  call.end(status)
  return true
}

async function inferOnce(call: Call, _method: Method, service: Service): Promise<void> {
  const received = await call.readOnly()
  const turn = new Turn(call, service, call.caller.arrived)
  let response: EncodedMessage
  try {
    const head = await headOf(received, turn, service)
    response = await infer(received, { head, turn, isFinal: false }, service)
  } catch (error) {
    // The data plane has already counted this error.
    const status = statusOf(error)
    turn.end(status)
    if (meaningOf(error) === undefined) throw error
    call.end(status)
    return
  } finally {
    freeOwn(received.message)
  }
  await call.send(response, received.reservation)
  turn.end()
}

/** The maximum number of requests in progress in one call. */
const MOST_PENDING = 128

/** The bytes of a stream that are decoded in one turn of the event loop. */
const BYTES_AT_A_TIME = 64 * 1024

/** Answers a stream of requests. Requests run as they arrive; responses keep their order. */
async function inferStream(call: Call, { output }: Method, service: Service): Promise<void> {
  call.onTick = () => {}
  let sent = Promise.resolve()
  let failure: unknown
  const steps = new Steps(BYTES_AT_A_TIME)
  for (;;) {
    const received = await call.read()
    if (received === undefined) break
    const pause = steps.done(received.message.byteLength)
    const answer = answerInStream(received, call, service)
    call.pending++
    sent = sent
      .then(async () => call.send(encodeMessage(output, await answer).parts, received.reservation))
      .catch(error => {
        failure ??= error
      })
      .finally(() => {
        call.pending--
      })
    if (call.pending >= MOST_PENDING) await sent
    else if (pause !== undefined) await pause
    if (failure !== undefined) throw failure
  }
  await sent
  if (failure !== undefined) throw failure
}

/** Answers a failed request with its error; the stream continues. */
async function answerInStream(received: Received, call: Call, service: Service): Promise<Message> {
  const turn = new Turn(call, service, performance.now())
  let id = ''
  try {
    const head = await headOf(received, turn, service)
    id = head.id
    const parts = await infer(received, { head, turn, isFinal: head.wantsFinal }, service)
    turn.end()
    return { infer_response: new Parts(parts) }
  } catch (error) {
    const status = statusOf(error)
    if (meaningOf(error) === undefined)
      service.log.error({ err: error, ...turn.logFields() }, 'request failed unexpectedly')
    turn.end(status)
    return { error_message: status.message, infer_response: { id } }
  } finally {
    freeOwn(received.message)
  }
}

/** Reads the head. Counts a failure as the data plane does. @throws {BadRequest} */
async function headOf({ message }: Received, turn: Turn, { dataPlane }: Service) {
  try {
    return readHead(message)
  } catch (error) {
    return dataPlane.infer<never>(
      () => {
        throw error
      },
      'grpc',
      turn,
    )
  }
}

interface Asked {
  readonly head: RequestHead
  readonly turn: Turn
  readonly isFinal: boolean
}

/**
 * @throws {Refused} NOT_FOUND
 * @throws {BadRequest|TooLarge|Overloaded|NotReady|DeadlinePassed|ModelError}
 */
async function infer(
  { message, reservation }: Received,
  { head: { modelName, modelVersion }, turn, isFinal }: Asked,
  { model, dataPlane, metrics }: Service,
): Promise<EncodedMessage> {
  checkServed({ model: modelName, ...(modelVersion !== '' && { version: modelVersion }) }, model)
  turn.memory = reservation
  const codec = new MessageCodec({ kind: 'message', body: message, isFinal })
  const response = await dataPlane.infer(() => codec, 'grpc', turn)
  try {
    reservation.becomeAnswer(response.reduce((sum, { byteLength }) => sum + byteLength, 0))
  } catch (error) {
    // The data plane has counted the request as answered, because there was a response.
    metrics.rejected('overloaded')
    throw error
  }
  return response
}
