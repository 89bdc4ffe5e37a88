import { json } from '../function/answer.ts'
import type { Config } from '../function/config/config.ts'
import { isEvent, rowsFor, type TableHandler, type TableRoute } from '../function/http/routes.ts'
import { predict } from './v1.ts'

export function predictorRows(config: Config): TableRoute[] {
  const rows = rowsFor(config)
  return [...rows.map(row => (row.path === '/' ? { ...row, GET: alive } : row)), ...v1Rows(rows)]
}

/** KServe's clients use `GET /` as the liveness check of V1. */
const alive: TableHandler = ({ service }) =>
  json({ status: 'alive', ...service.dataPlane.server }, 200, { vary: 'accept' })

/** @param rows V1 uses the readiness handler of V2 */
function v1Rows(rows: readonly TableRoute[]): TableRoute[] {
  const ready = rows.find(({ kind }) => kind === 'readiness')
  return [
    {
      path: '/v1/models',
      GET: ({ service }) => json({ models: [service.model.name] }),
      operations: async () => (await operations()).MODELS,
    },
    // Must precede the next route, which would treat `:predict` as a part of the model's name.
    {
      path: '/v1/models/{model}:predict',
      POST: ({ service }, request, caller) => predict(request, caller, service),
      isEvent,
      operations: async () => (await operations()).PREDICT,
    },
    {
      ...ready,
      path: '/v1/models/{model}',
      operations: async () => (await operations()).READY,
    },
  ]
}

/** Loaded at the first request for /openapi.json. */
const operations = () => import('./operations.ts')
