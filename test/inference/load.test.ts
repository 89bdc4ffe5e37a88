import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readConfig } from '../../function/config/config.ts'
import { tellProgress } from '../../function/inference/model.ts'
import { createService } from '../../function/service.ts'
import { createLog } from '../../function/telemetry/log.ts'
import { testModel } from '../server.ts'

test('slow loading is logged after 10 s and then every minute until the model is loaded', t => {
  t.mock.timers.enable({ apis: ['setTimeout', 'setInterval'] })
  const log = createLog('silent')
  const info = t.mock.method(log, 'info', () => {})
  const told = () =>
    info.mock.calls.map(({ arguments: [fields] }) => (fields as { seconds: number }).seconds)
  const progress = tellProgress(log)
  t.mock.timers.tick(9_999)
  assert.deepEqual(told(), [])
  t.mock.timers.tick(1)
  assert.deepEqual(told(), [10])
  t.mock.timers.tick(119_999)
  assert.deepEqual(told(), [10, 70])
  progress.stop()
  t.mock.timers.tick(600_000)
  assert.deepEqual(told(), [10, 70])
})

test('the model is ready before it is decided whether requests share runs', async () => {
  const { model } = createService(
    readConfig({ MODEL_DIR: testModel('identity-fp32'), LOG_LEVEL: 'silent' }),
  )
  await model.load()
  assert.equal(model.notReady, undefined)
  assert.equal(model.batching.reason, 'undecided')
  await model.whenDecided
  assert.equal(model.batching.reason, 'proven')
  await model.close()
})
