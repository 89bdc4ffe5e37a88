import type { Variable } from './panels.ts'

export const SERVICE: Variable = {
  name: 'service',
  label: 'Service',
  description:
    'The Service of Knative (K_SERVICE) or KServe. Select All if the function runs without either, as with compose.yaml.',
  query: 'label_values(function_info, service)',
}

export const REVISION: Variable = {
  name: 'revision',
  label: 'Revision',
  description: 'The Knative revision (K_REVISION).',
  query: 'label_values(function_info{service=~"$service"}, revision)',
}

export const MODEL: Variable = {
  name: 'model',
  label: 'Model',
  description:
    'Filters requests, errors and response times, which are counted by model. All other panels are filtered by Service, because each process serves one model.',
  query: 'label_values(inference_requests_total, model)',
}
