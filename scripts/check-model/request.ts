import { binaryExample } from '../../function/http/pages/examples.ts'
import { curlCommand, inferUrl, quoted, requestJson } from '../../function/inference/metadata.ts'
import type { ModelFolder } from '../../function/inference/model-folder.ts'
import type { Session } from '../../function/inference/session.ts'
import { hasJson } from '../../function/protocol/datatypes.ts'
import { decodeRequest } from '../../function/protocol/decode.ts'
import { encodeResponse } from '../../function/protocol/encode.ts'
import type { Tensor } from '../../function/protocol/tensor.ts'

/** The address of `npm start`. */
const URL_OF_START = 'http://localhost:8080'

/** Longer texts are shortened or omitted. */
const LONGEST = 2_000

export interface ReadyRequest {
  /** Calls the server of `npm start`; undefined if the command would be too long. */
  readonly curl: string | undefined
  /** JSON, shortened if it is long, and the size of the binary tensor data after it. */
  readonly answer: { readonly json: string; readonly cut: boolean; readonly binaryBytes: number }
}

/**
 * A request as a caller would send it, and its response.
 * @param wanted names of the outputs that can be returned
 * @throws {Error} if the server would refuse the request, or the model fails
 */
export async function tryRequest(
  session: Session,
  { name, version }: ModelFolder,
  example: readonly Tensor[],
  wanted: readonly string[],
): Promise<ReadyRequest> {
  const { signature } = session
  const json = requestJson(example, signature, wanted)
  const some = wanted.length < signature.outputs.length ? wanted : undefined
  const { body, jsonLength } =
    json === undefined
      ? binaryExample({ example }, some)
      : { body: Buffer.from(json), jsonLength: undefined }
  const request = decodeRequest(body, jsonLength, signature)
  const names = request.outputs.map(output => output.name)
  const outputs = await session.run(structuredClone(request.inputs), names)
  const answer = encodeResponse(
    { modelName: name, modelVersion: version, id: request.id, outputs },
    request.outputs,
  )
  return {
    curl:
      json === undefined
        ? binaryCurl(inferUrl(URL_OF_START, name), body, jsonLength as number)
        : (curlCommand(URL_OF_START, name, { example, signature }, wanted) ??
          zerosCurl(
            inferUrl(URL_OF_START, name),
            example,
            wanted.filter(isInJson(signature.outputs)),
          )),
    answer: {
      json: answer.json.slice(0, LONGEST),
      cut: answer.json.length > LONGEST,
      binaryBytes: answer.binary?.parts.reduce((sum, part) => sum + part.byteLength, 0) ?? 0,
    },
  }
}

const isInJson = (outputs: Session['signature']['outputs']) => (name: string) =>
  outputs.some(output => output.name === name && hasJson(output.datatype))

const BINARY = "-H 'Content-Type: application/octet-stream' --data-binary @-"

/** Sends binary tensor data, as base64 or as a number of zero bytes. */
function binaryCurl(url: string, body: Buffer, jsonLength: number): string | undefined {
  const headers = `-H 'Inference-Header-Content-Length: ${jsonLength}' ${BINARY} --output answer.bin`
  const base64 = body.toString('base64')
  if (base64.length <= LONGEST) return `echo ${base64} | base64 -d | curl ${quoted(url)} ${headers}`
  return zeros(url, body, jsonLength, ' --output answer.bin')
}

/**
 * The command for zeros that are too long for a command line. It sends binary inputs and requests a
 * JSON response.
 */
function zerosCurl(
  url: string,
  example: readonly Tensor[],
  wanted: readonly string[],
): string | undefined {
  const { body, jsonLength } = binaryExample({ example })
  const { inputs } = JSON.parse(body.subarray(0, jsonLength).toString())
  const json = Buffer.from(
    JSON.stringify({ id: 'req-001', inputs, outputs: wanted.map(name => ({ name })) }),
  )
  return zeros(url, Buffer.concat([json, body.subarray(jsonLength)]), json.byteLength, '')
}

function zeros(url: string, body: Buffer, jsonLength: number, output: string): string | undefined {
  const data = body.subarray(jsonLength)
  const json = body.subarray(0, jsonLength).toString()
  if (json.length > LONGEST || data.some(byte => byte !== 0)) return undefined
  const headers = `-H 'Inference-Header-Content-Length: ${jsonLength}' ${BINARY}${output}`
  return `{ printf %s ${quoted(json)}; head -c ${data.byteLength} /dev/zero; } | curl ${quoted(url)} ${headers}`
}
