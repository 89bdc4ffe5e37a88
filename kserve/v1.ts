import { type Answer, type Caller, knownError, type Request } from '../function/answer.ts'
import { modeOf } from '../function/events/cloudevent.ts'
import { type CodecOf, receiveEvents } from '../function/events/receive.ts'
import { checkMediaType } from '../function/http/infer.ts'
import { PredictCodec } from '../function/protocol/predict.ts'
import type { Service } from '../function/service.ts'

/**
 * Handles `POST /v1/models/{model}:predict`. If the request is an event, as in KServe's samples, so
 * is the response.
 */
export async function predict(request: Request, caller: Caller, service: Service): Promise<Answer> {
  const mode = modeOf(request.headers)
  if (service.dataPlane.transforms) return predictByTransform(request, mode, caller, service)
  if (mode !== undefined) return receiveEvents(request, mode, caller, { ...service, codecOf })
  try {
    const read = () => {
      checkMediaType(request)
      return new PredictCodec(request.body)
    }
    const { json } = await service.dataPlane.infer(read, 'http', caller)
    return { status: 200, headers: { 'content-type': 'application/json' }, body: json }
  } catch (error) {
    return knownError(error, 'http')
  }
}

async function predictByTransform(
  request: Request,
  mode: ReturnType<typeof modeOf>,
  caller: Caller,
  service: Service,
): Promise<Answer> {
  const { answerByPredictions, predictBare } = await import('./v1-transform.ts')
  if (mode === undefined) return predictBare(request, caller, service)
  return receiveEvents(request, mode, caller, { ...service, answer: answerByPredictions(request) })
}

const codecOf: CodecOf = data => new PredictCodec('json' in data ? data.json : data.bytes)
