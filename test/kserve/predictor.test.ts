import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'
import supertest from 'supertest'
import { createApp } from '../../kserve/app.ts'
import manifest from '../../package.json' with { type: 'json' }

process.env.ON_PREDICTOR = 'yes'
const { spawnFunction, startProcess, testModel } = await import('../server.ts')
const { connectGrpc } = await import('../grpc/client.ts')
const { startReceiver } = await import('../telemetry/receiver.ts')

/** The predictor as a process, started as KServe starts it. */

const temporary = mkdtempSync(join(tmpdir(), 'predictor-'))
after(() => rmSync(temporary, { recursive: true }))

async function end(server: Awaited<ReturnType<typeof startProcess>>) {
  server.process.kill('SIGTERM')
  assert.deepEqual(await server.exited, [0, null])
}

suite('the predictor', { concurrency: 2 }, () => {
  test('starts with a single node command', () => {
    assert.match(manifest.scripts['start:predictor'], /^node [\w./ =-]+$/)
  })

  test('serves the model that its arguments name, by V1 and V2, and exits with 0', async () => {
    const server = await startProcess({ PROTOCOL: 'v2', INFERENCE_SERVICE_NAME: 'other' }, [
      '--model_name=flowers',
      '--model_dir',
      'models/iris/v2.0.0',
      '--http_port=0',
    ])
    const ready = await supertest(server.url).get('/v2/models/flowers/versions/v2.0.0/ready')
    assert.deepEqual([ready.status, ready.body], [200, { name: 'flowers', ready: true }])
    const v1 = await supertest(server.url)
      .post('/v1/models/flowers:predict')
      .send({ instances: [[5.1, 3.5, 1.4, 0.2]] })
    assert.equal(v1.body.predictions[0].predicted_class, 'setosa')
    const v2 = await supertest(server.url)
      .post('/v2/models/flowers/infer')
      .send({
        inputs: [{ name: 'input', shape: [1, 4], datatype: 'FP32', data: [5.1, 3.5, 1.4, 0.2] }],
      })
    assert.deepEqual([v2.body.model_version, v2.body.outputs[1].data], ['v2.0.0', ['setosa']])
    await end(server)
  })

  test('uses the InferenceService’s name for a model without a name, in V1, V2 and ce-source', async () => {
    const server = await startProcess({
      MODEL_DIR: testModel('identity-fp32'),
      INFERENCE_SERVICE_NAME: 'churn',
    })
    assert.deepEqual((await supertest(server.url).get('/v1/models')).body, { models: ['churn'] })
    assert.equal((await supertest(server.url).get('/v2/models/churn/ready')).status, 200)
    const { headers } = await supertest(server.url)
      .post('/')
      .set({
        'ce-specversion': '1.0',
        'ce-id': '1',
        'ce-source': '/t',
        'ce-type': 't',
        'content-type': 'application/json',
      })
      .send({ inputs: [{ name: 'x', shape: [1], datatype: 'FP32', data: [1] }] })
    assert.equal(headers['ce-source'], '/onnx-function/churn/churn')
    await end(server)
  })

  test('sends the same spans for V1 and V2 requests', async () => {
    const receiver = await startReceiver()
    const server = await startProcess({
      OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
      INFERENCE_SERVICE_NAME: 'flowers',
    })
    await supertest(server.url)
      .post('/v1/models/iris-classifier:predict')
      .send({ instances: [[5.1, 3.5, 1.4, 0.2]] })
    await supertest(server.url)
      .post('/v2/models/iris-classifier/versions/v1.0.0/infer')
      .send({
        inputs: [{ name: 'input', shape: [1, 4], datatype: 'FP32', data: [5.1, 3.5, 1.4, 0.2] }],
      })
    await end(server)
    await receiver.close()
    const parts = ['decode', 'queue', 'run', 'encode']
    assert.deepEqual(
      receiver.spans.map(({ name }) => name),
      [
        'POST /v1/models/{model}:predict',
        ...parts,
        'POST /v2/models/{model}/versions/{version}/infer',
        ...parts,
      ],
    )
    assert.equal(receiver.spans[0]?.resource['service.name'], 'flowers')
  })

  test('waits for a model that another container links after the predictor has started', async () => {
    const folder = join(temporary, 'late')
    const starting = startProcess({ MODEL_INIT_MODE: 'async', MODEL_DIR: folder })
    symlinkSync(testModel('scalar'), folder)
    const server = await starting
    assert.deepEqual((await supertest(server.url).get('/v1/models')).body, { models: ['scalar'] })
    await end(server)
  })

  test('logs that arguments of KServe’s own server have no effect', async () => {
    const server = await startProcess({}, ['--workers=4', '--enable_grpc', 'false'])
    const told = server.log
      .map(line => JSON.parse(line).msg)
      .filter(message => /has no effect/.test(message))
    assert.deepEqual(
      told.map(message => message.split(' ')[0]),
      ['--workers', '--enable_grpc'],
    )
    await end(server)
  })

  test('serves gRPC, as the log states for arguments about gRPC', async () => {
    const server = await startProcess({}, ['--grpc_port=8081'])
    assert.match(server.log.join(), /--grpc_port has no effect: gRPC is always served/)
    const client = connectGrpc(Number(new URL(server.url).port))
    assert.equal((await client.call('ServerMetadata', {})).messages[0]?.name, 'onnx-function')
    await client.close()
    await end(server)
  })

  test('passes targets for which Express would call url.parse to the listener, and not to Express', () => {
    for (const url of ['/v2#part', '/#', '/v2?a#b', '/a\u00a0', '*', 'a', '//a/#']) {
      const response = {}
      const called: string[] = []
      createApp()({ url } as never, response as never, async () => void called.push(url))
      assert.deepEqual([called, response], [[url], {}])
    }
  })

  for (const [args, says] of [
    [['--http_port=http'], /^--http_port is "http"; it must be an integer from 0 to 65535$/],
    [
      ['--model-name=iris'],
      /^argument --model-name is unknown; the allowed arguments are --model_name/,
    ],
    [['--model_dir=/nowhere'], /^no model: MODEL_DIR \/nowhere cannot be read/],
  ] as const) {
    test(`${args[0]} stops startup with a one-line error and exit code 1`, async () => {
      const child = spawnFunction({}, args)
      const [stdout, stderr] = [child.stdout, child.stderr].map(stream =>
        stream?.setEncoding('utf8').toArray(),
      )
      assert.deepEqual(await once(child, 'exit'), [1, null])
      const lines = ((await stdout) ?? []).join('').trimEnd().split('\n')
      assert.equal(lines.length, 1)
      assert.match(JSON.parse(lines[0] as string).msg, says)
      assert.deepEqual(await stderr, [])
    })
  }
})
