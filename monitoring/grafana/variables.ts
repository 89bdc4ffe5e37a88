import type { Variable } from './panels.ts'

export const SERVICE: Variable = {
  name: 'service',
  label: 'Service',
  description:
    'Of Knative (K_SERVICE) or KServe. Where there is none, as beside compose.yaml, All shows what there is.',
  query: 'label_values(function_info, service)',
}

export const REVISION: Variable = {
  name: 'revision',
  label: 'Revision',
  description: 'Of Knative (K_REVISION).',
  query: 'label_values(function_info{service=~"$service"}, revision)',
}

export const MODEL: Variable = {
  name: 'model',
  label: 'Model',
  description:
    'Chooses what is counted by model: requests, errors and times. A process serves one model; the rest is chosen by service.',
  query: 'label_values(inference_requests_total, model)',
}
