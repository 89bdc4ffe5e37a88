import { type Answer, type Caller, knownError, type Request } from '../function/answer.ts'
import type { DataPlane } from '../function/dataplane.ts'
import { checkMediaType } from '../function/http/infer.ts'
import { PredictCodec } from '../function/protocol/predict.ts'

/** Answers `POST /v1/models/{model}:predict`, whatever becomes of it. */
export async function predict(
  request: Request,
  caller: Caller,
  dataPlane: DataPlane,
): Promise<Answer> {
  try {
    const { json } = await dataPlane.infer(() => codecOf(request), 'http', caller)
    return { status: 200, headers: { 'content-type': 'application/json' }, body: json }
  } catch (error) {
    return knownError(error, 'http')
  }
}

function codecOf(request: Request): PredictCodec {
  checkMediaType(request)
  return new PredictCodec(request.body)
}
