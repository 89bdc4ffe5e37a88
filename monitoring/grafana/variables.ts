import type { Variable } from './panels.ts'

export const SERVICE: Variable = {
  name: 'service',
  label: 'Service',
  description:
    'Service of Knative (K_SERVICE) or KServe. Without one, as with compose.yaml, choose All.',
  query: 'label_values(function_info, service)',
}

export const REVISION: Variable = {
  name: 'revision',
  label: 'Revision',
  description: 'Revision of Knative (K_REVISION).',
  query: 'label_values(function_info{service=~"$service"}, revision)',
}

export const MODEL: Variable = {
  name: 'model',
  label: 'Model',
  description:
    'Selects requests, errors and times, which are counted by model. Service selects the rest: a process serves one model.',
  query: 'label_values(inference_requests_total, model)',
}
