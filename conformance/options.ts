import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { readExample } from './example.ts'
import type { Tensor } from './point.ts'
import { groups } from './points.ts'

export const HELP = `Tests whether a server conforms to the Open Inference Protocol (KServe "V2") over HTTP, and reports each point.

  onnx-function conformance --url URL --model NAME [options]   where onnx-function is installed
  npm run conformance -- --url URL --model NAME [options]      from a clone of onnx-function
  node run.ts --url URL --model NAME [options]                 in this folder; Node 22.18 or later

  --url URL          the server's address, such as http://localhost:8080; its path is a prefix of the protocol's paths
  --model NAME       the model to test
  --version V        the model version to test; by default the only version, or the one that the server chooses
  --request FILE     a valid inference request (JSON), for a model that rejects values generated from its metadata
  --header 'K: V'    a header for every request, such as 'Authorization: Bearer …' or 'Host: …'; may be repeated
  --only GLOB        tests only points whose name or group matches; * matches any text; may be repeated
                     groups: ${Object.keys(groups).join(', ')}
  --grpc HOST:PORT   also tests gRPC: the points about gRPC, and each HTTP point that gRPC can express
  --json FILE        writes the results as JSON
  --junit FILE       writes the results as JUnit XML
  --strict           fails for stricter readings, too
  --help             prints this help

Exit code: 0 when every required point passes (with --strict: every point), 1 when a point fails,
2 when the options are invalid or the server cannot be tested.

The suite sends thousands of requests, many of them invalid, and PUT, PATCH and DELETE to the protocol's
own routes: do not run it against a server in use.
`

export interface Options {
  readonly url: string
  readonly model: string
  readonly version: string | undefined
  readonly example: readonly Tensor[] | undefined
  readonly headers: Readonly<Record<string, string>>
  readonly only: readonly string[]
  readonly grpc: string | undefined
  readonly json: string | undefined
  readonly junit: string | undefined
  readonly strict: boolean
}

export class Usage extends Error {}

/**
 * @returns undefined for --help
 * @throws {Usage} if an option is unknown, missing or invalid
 */
export function readOptions(args: readonly string[]): Options | undefined {
  const {
    help,
    url,
    model,
    version,
    request,
    header = [],
    only = [],
    grpc,
    json,
    junit,
    strict = false,
  } = parse(args)
  if (help) return undefined
  if (url === undefined || model === undefined)
    throw new Usage(`--${url === undefined ? 'url URL' : 'model NAME'} is missing`)
  if (!/^https?:$/.test(URL.parse(url)?.protocol ?? ''))
    throw new Usage(`--url ${url} is not an HTTP address such as http://localhost:8080`)
  return {
    url,
    model,
    version,
    example: request === undefined ? undefined : readRequest(request),
    headers: readHeaders(header),
    only,
    grpc,
    json,
    junit,
    strict,
  }
}

function parse(args: readonly string[]) {
  const text = { type: 'string' } as const
  const list = { type: 'string', multiple: true } as const
  const flag = { type: 'boolean' } as const
  try {
    return parseArgs({
      args: [...args],
      options: {
        help: flag,
        url: text,
        model: text,
        version: text,
        request: text,
        header: list,
        only: list,
        grpc: text,
        json: text,
        junit: text,
        strict: flag,
      },
    }).values
  } catch (error) {
    throw new Usage((error as Error).message.split('. ')[0])
  }
}

function readRequest(file: string): readonly Tensor[] {
  try {
    return readExample(readFileSync(file, 'utf8'))
  } catch (error) {
    throw new Usage(`--request ${file}: ${(error as Error).message}`)
  }
}

const readHeaders = (headers: readonly string[]) =>
  Object.fromEntries(
    headers.map(header => {
      const [, name, value] = /^([!#$%&'*+.^_`|~\w-]+):\s*(.*)$/.exec(header) ?? []
      if (name === undefined || value === undefined)
        throw new Usage(`--header '${header}' is not of the form 'Name: value'`)
      return [name, value]
    }),
  )
