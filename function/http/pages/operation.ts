import type { DescribedTransform } from '../../transform/described.ts'
import type { RequestExamples } from './examples.ts'
import type { OpenApi } from './parts.ts'
import type { Schema } from './schemas.ts'

export const TAGS = {
  Inference: 'The Open Inference Protocol, with its binary tensor data extension',
  Events: 'CloudEvents 1.0',
  Model: 'Inputs and outputs of the model',
  Health: 'Probes of the process and the model',
  Server: 'About this server',
}

export interface Operation extends OpenApi {
  readonly tags: readonly (keyof typeof TAGS)[]
  readonly operationId: string
  readonly summary: string
  readonly responses: OpenApi
}

export interface Described {
  readonly name: string
  /** Undefined if JSON cannot express a request. */
  readonly request: Schema | undefined
  readonly examples: RequestExamples | undefined
  readonly playground: boolean
  readonly transform: DescribedTransform | undefined
}

export type OperationOf = (described: Described) => Operation

export type Operations = Readonly<Partial<Record<'GET' | 'POST', OperationOf>>>
