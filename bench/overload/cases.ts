import { fileURLToPath } from 'node:url'
import { encode, frame } from '../../test/grpc/client.ts'
import { rawRequest } from '../../test/grpc/messages.ts'
import { writeFasterModel } from '../models/copies.ts'
import type { CallBytes } from './streams.ts'

/**
 * How long callers wait for a response, and the deadline of their requests. The load that finds the
 * peak waits longer.
 */
export const PATIENCE_MS = 1_000
export const LONG_MS = 30_000

const project = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url))

export interface OverloadedModel {
  readonly title: string
  readonly name: string
  readonly env: Readonly<Record<string, string>>
  /** Requests in flight in the load that finds the peak. */
  readonly underWay: number
  readonly input: { readonly name: string; readonly shape: number[]; readonly data: number[] }
}

/** Joins only a few rows per run, so that one process can send ten times the peak rate. */
const slow = (ms: number, folder: string, rows = 16): OverloadedModel => ({
  title: `${ms} ms or more per run`,
  name: 'slow',
  env: { MODEL_DIR: folder, MAX_BATCH_ROWS: String(rows) },
  underWay: 48,
  input: { name: 'x', shape: [1, 2], data: [1, 2] },
})

export const MODELS: readonly OverloadedModel[] = [
  {
    title: 'iris',
    name: 'iris-classifier',
    env: {},
    underWay: 64,
    input: { name: 'input', shape: [1, 4], data: [5.1, 3.5, 1.4, 0.2] },
  },
  slow(5, writeFasterModel(), 4),
  slow(50, project('test/models/slow')),
]

export function requestOf({ name, input }: OverloadedModel, patienceMs = PATIENCE_MS): Buffer {
  const body = JSON.stringify({
    inputs: [{ ...input, datatype: 'FP32' }],
    parameters: { timeout: patienceMs * 1_000 },
  })
  return Buffer.from(
    `POST /v2/models/${name}/infer HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  )
}

export const callOf = ({ name, input }: OverloadedModel, patienceMs = PATIENCE_MS): CallBytes => ({
  path: '/inference.GRPCInferenceService/ModelInfer',
  timeout: `${patienceMs}m`,
  message: frame(encode('ModelInfer', rawRequest(name, [{ ...input, datatype: 'FP32' }]))),
})
