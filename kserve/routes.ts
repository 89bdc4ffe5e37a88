import { json } from '../function/answer.ts'
import type { Config } from '../function/config/config.ts'
import { isEvent, rowsFor, type TableHandler, type TableRoute } from '../function/http/routes.ts'
import { predict } from './v1.ts'

/** Everything that the function answers, and KServe's V1. */
export function predictorRows(config: Config): TableRoute[] {
  const rows = rowsFor(config)
  return [...rows.map(row => (row.path === '/' ? { ...row, GET: alive } : row)), ...v1Rows(rows)]
}

/** KServe's own clients take it for V1's liveness. */
const alive: TableHandler = ({ service }) =>
  json({ status: 'alive', ...service.dataPlane.server }, 200, { vary: 'accept' })

/** @param rows of V2, whose readiness V1 shares */
function v1Rows(rows: readonly TableRoute[]): TableRoute[] {
  const ready = rows.find(({ kind }) => kind === 'readiness')
  return [
    {
      path: '/v1/models',
      GET: ({ service }) => json({ models: [service.model.name] }),
      operations: async () => (await operations()).MODELS,
    },
    // Before the next one, whose model would take the verb for a part of its name.
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

/** With the first /openapi.json. */
const operations = () => import('./operations.ts')
