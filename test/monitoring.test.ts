import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DEAD_LETTER_METRICS, type Declaration, METRICS } from '../function/telemetry/metrics.ts'
import { readMetrics } from './http/client.ts'
import { startServer } from './server.ts'

test('the function exposes exactly the declared metrics, with their types, labels and label values', async t => {
  const server = await startServer()
  t.after(server.stop)
  const text = await server.service.metrics.text()
  const types = new Map(
    [...text.matchAll(/^# TYPE ((?!process_|nodejs_)\S+) (\S+)$/gm)].map(([, name, type]) => [
      name,
      type,
    ]),
  )
  const declared = new Map(Object.entries<Declaration>(METRICS))
  assert.deepEqual(
    [...types],
    [...declared].map(([name, { type }]) => [name, type]),
  )
  for (const series of readMetrics(text).keys()) {
    const [, name = '', labels = ''] = /^([^{]+)(?:\{(.*)\})?$/.exec(series) ?? []
    const declaration = declared.get(name) ?? declared.get(name.replace(/_(bucket|sum|count)$/, ''))
    if (declaration === undefined) continue
    const own = [...labels.matchAll(/(\w+)="([^"]*)"/g)].filter(([, label]) => label !== 'le')
    assert.deepEqual(
      own.map(([, label]) => label).sort(),
      Object.keys(declaration.labels).sort(),
      series,
    )
    for (const [, label = '', value = ''] of own) {
      const known = declaration.labels[label]
      assert.ok(typeof known === 'string' || known?.includes(value), series)
    }
  }
})

test('no metric is declared twice', () => {
  assert.deepEqual(
    Object.keys(METRICS).filter(name => name in DEAD_LETTER_METRICS),
    [],
  )
})
