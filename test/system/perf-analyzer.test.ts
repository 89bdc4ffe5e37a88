import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { type ServerProcess, startProcess } from '../server.ts'
import { type PerfAnalyzer, perfAnalyzer } from './clients/perf-analyzer.ts'

/** Short windows, always accepted as stable, because this test does not check speed. */
const SHORT = '-p 300 -r 4 -s 1000000'

const RUNS: readonly (readonly [what: string, options: string, measurements?: number])[] = [
  ['JSON', '--input-tensor-format json --output-tensor-format json'],
  ['binary tensor data', '--input-tensor-format binary --output-tensor-format binary'],
  ['asynchronous requests', '-a --concurrency-range 16'],
  ['requests of 8 rows', '-b 8'],
  ['rates of requests', '--request-rate-range 50:150:50', 3],
  ['metrics', '--collect-metrics --metrics-url METRICS'],
  ['gRPC', '-i grpc'],
  ['gRPC, asynchronous calls', '-i grpc -a --concurrency-range 16'],
  ['gRPC, a stream', '-i grpc --streaming --concurrency-range 16'],
  ['gRPC, calls of 8 rows in gzip', '-i grpc -b 8 --grpc-compression-algorithm gzip'],
  ['gRPC, rates of calls', '-i grpc --request-rate-range 50:150:50', 3],
]

describe('perf_analyzer', () => {
  let server: ServerProcess
  let analyze: PerfAnalyzer
  before(async () => {
    server = await startProcess({}, [], 15 * 60_000)
    analyze = await perfAnalyzer()
  })
  after(() => server.process.kill())

  for (const [what, options, measurements = 1] of RUNS) {
    test(`measures ${what}`, async t => {
      const { host } = new URL(server.url)
      const all = `-m iris-classifier -u ${host} ${SHORT} ${options}`
      const printed = await analyze(...all.replace('METRICS', `${host}/metrics`).split(' '))
      t.diagnostic(printed)
      const counts = (name: string) =>
        [...printed.matchAll(RegExp(`^ +${name}: ([0-9.]+)`, 'gm'))].map(([, count]) =>
          Number(count),
        )
      for (const name of ['Throughput', 'Inference count', 'Successful request count']) {
        const found = counts(name)
        assert.equal(found.length, measurements, name)
        assert.ok(
          found.every(count => count > 0),
          `${name}: ${found}`,
        )
      }
    })
  }
})
