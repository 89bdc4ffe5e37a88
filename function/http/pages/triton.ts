import { object } from './parts.ts'
import type { Schema } from './schemas.ts'

const TEXT: Schema = { type: 'string' }
const COUNT: Schema = { type: 'integer', minimum: 0 }

const list = (items: Schema): Schema => ({ type: 'array', items })

const TENSORS = list(
  object({
    name: TEXT,
    data_type: { type: 'string', pattern: '^TYPE_' },
    dims: {
      ...list({ type: 'integer', minimum: -1 }),
      description: 'The dimensions without the row dimension.',
    },
  }),
)

const DURATION = object({
  count: COUNT,
  ns: { ...COUNT, description: 'The total time in nanoseconds.' },
})

const COMPUTED = { compute_input: DURATION, compute_infer: DURATION, compute_output: DURATION }

export const TRITON_SCHEMAS: Readonly<Record<string, Schema>> = {
  ModelConfiguration: object({
    name: TEXT,
    platform: TEXT,
    backend: TEXT,
    max_batch_size: {
      ...COUNT,
      description:
        'The maximum number of rows in a run; 0 if the first dimension does not count rows.',
    },
    input: TENSORS,
    output: TENSORS,
  }),
  ModelStatistics: object({
    model_stats: list(
      object({
        name: TEXT,
        version: TEXT,
        last_inference: {
          ...COUNT,
          description: 'The time of the last inference, in milliseconds since 1970.',
        },
        inference_count: { ...COUNT, description: 'The number of rows.' },
        execution_count: { ...COUNT, description: 'The number of runs.' },
        inference_stats: object({
          success: DURATION,
          fail: DURATION,
          queue: DURATION,
          ...COMPUTED,
          cache_hit: DURATION,
          cache_miss: DURATION,
        }),
        batch_stats: list(object({ batch_size: COUNT, ...COMPUTED })),
        memory_usage: list({}),
      }),
    ),
  }),
}
