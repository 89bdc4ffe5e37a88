import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { CloudEvent, type CloudEventV1, HTTP } from 'cloudevents'
import { type Browser, chromium } from 'playwright-core'
import { install } from '../../bench/peers/install.ts'
import { readConfig } from '../../function/config/config.ts'
import { checkModel } from '../../scripts/check-model/check.ts'
import { PROGRAMS, projectFolder, type ServerProcess, startProcess, testModel } from '../server.ts'
import { inferenceClients } from './clients/inference.ts'
import { need, runGo, runPython, type Seen, shell } from './clients/run.ts'

/* Unmodified third-party clients, with the results that docs/clients.md documents. */

const ROW = '{"inputs":[{"name":"input","shape":[1,4],"datatype":"FP32","data":[5.1,3.5,1.4,0.2]}]}'
const INFER = '/v2/models/iris-classifier/infer'

let iris: ServerProcess
/** The servers of iris, identity-int64, identity-fp16 and identity-bytes. */
let servers: ServerProcess[] = []
let predictors: ServerProcess[] = []
let temporary: string

/** The first run also installs the environments. */
const LONGEST_MS = 15 * 60_000

before(async () => {
  const start = (program: string) =>
    Promise.all(
      [
        {},
        ...['identity-int64', 'identity-fp16', 'identity-bytes'].map(name => ({
          MODEL_DIR: testModel(name),
        })),
      ].map(env => startProcess(env, [], LONGEST_MS, program)),
    )
  servers = await start(PROGRAMS.function)
  predictors = await start(PROGRAMS.predictor)
  iris = servers[0] as ServerProcess
  temporary = mkdtempSync(join(tmpdir(), 'clients-'))
  writeFileSync(join(temporary, 'row.json'), ROW)
})
after(() => {
  for (const { process } of [...servers, ...predictors]) process.kill()
  rmSync(temporary, { recursive: true })
})

const urlsOf = (started: readonly ServerProcess[]) => started.map(({ url }) => url)

describe('clients of npm start', () => inferenceClients(() => urlsOf(servers)))

describe('clients of npm run start:predictor, which also supports V1', () =>
  inferenceClients(() => urlsOf(predictors), {
    'v1: predict': {
      predictions: [
        {
          probabilities: [0.97868073, 0.021318482, 8.2612326e-7],
          predicted_class: 'setosa',
        },
      ],
    },
    'v1: explain': {
      error: `HTTPStatusError: model "iris-classifier:explain" is unknown; this server has "iris-classifier", '404 Not Found'`,
    },
    'v1: is_server_live': true,
    'v1: is_model_ready': true,
  }))

/** The reply without its id, which the event tests check. */
const REPLY = {
  causationid: '12',
  datacontenttype: 'application/json',
  replyid: 'naïve 日本',
  source: '/onnx-function/iris-classifier',
  specversion: '1.0',
  subject: '12',
  traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
  type: 'com.example.iris.classify.response',
}

interface SeenReply {
  readonly attributes: Record<string, string>
  readonly data: { readonly outputs: readonly { readonly data: readonly unknown[] }[] }
}

function isReply(seen: unknown, expected: Record<string, string> = REPLY): void {
  const { attributes, data } = seen as SeenReply
  const { id, ...rest } = attributes
  assert.match(id ?? '', /^[0-9a-f]{32}$/)
  assert.deepEqual(rest, expected)
  assert.deepEqual(data.outputs[1]?.data, ['setosa'])
}

describe('the CloudEvents Go SDK', () => {
  let seen: Seen
  before(async () => {
    seen = await runGo(iris.url)
  })

  test('binary mode: the SDK reads the reply, but does not percent-decode headers', t => {
    t.diagnostic(JSON.stringify(seen.versions))
    isReply(seen.binary, { ...REPLY, replyid: 'na%C3%AFve%20%E6%97%A5%E6%9C%AC' })
  })
  test('structured mode: the SDK reads the reply', () => isReply(seen.structured))
  test('an event gets the same reply in both modes', () => {
    assert.equal(
      (seen.binary as SeenReply).attributes.id,
      (seen.structured as SeenReply).attributes.id,
    )
  })
  test('an event without a valid request is not acknowledged, and gets 400 with the reason', () => {
    assert.deepEqual(seen.malformed, {
      acknowledged: false,
      undelivered: false,
      status: 400,
      error: '400: {"error":"input \\"input\\" is missing; the model accepts \\"input\\""}',
    })
  })
  test('batched mode: the SDK reads a reply to each event', () => {
    assert.deepEqual(seen.batched, [
      { type: 'com.example.iris.classify.response', subject: '12', valid: true },
      { type: 'com.example.iris.classify.error', subject: '13', valid: true },
    ])
  })
})

describe('the CloudEvents Python SDK', () => {
  let seen: Seen
  before(async () => {
    seen = await runPython('cloudevents', 'cloudevents_client.py', iris.url)
  })

  for (const [mode, sent] of [
    ['binary', 'binary'],
    ['structured', 'structured'],
    ['structured', 'structured, data as bytes'],
  ] as const) {
    test(`${sent}: the reply has the mode of the event, and the SDK reads the reply`, t => {
      t.diagnostic(JSON.stringify(seen.versions))
      assert.equal((seen[sent] as { mode: string }).mode, mode)
      isReply(seen[sent])
    })
  }
  test('an event without a valid request gets 400 with the reason', () => {
    assert.deepEqual(seen.malformed, {
      status: 400,
      body: { error: 'input "input" is missing; the model accepts "input"' },
    })
  })
})

describe('the CloudEvents JavaScript SDK', () => {
  const send = (mode: 'binary' | 'structured', subject: string) => {
    const event = {
      source: '/x',
      type: 'com.example.iris.classify.request',
      subject,
      data: JSON.parse(ROW),
    }
    const { headers, body } = HTTP[mode](new CloudEvent(event))
    return fetch(iris.url, { method: 'POST', headers: headers as HeadersInit, body: `${body}` })
  }

  for (const mode of ['binary', 'structured'] as const) {
    test(`${mode} mode: the SDK reads the reply`, async () => {
      const answer = await send(mode, '12')
      const message = { headers: Object.fromEntries(answer.headers), body: await answer.text() }
      const reply = HTTP.toEvent<{ outputs: { data: unknown[] }[] }>(message) as CloudEventV1<{
        outputs: { data: unknown[] }[]
      }>
      assert.equal(reply.type, 'com.example.iris.classify.response')
      assert.deepEqual(reply.data?.outputs[1]?.data, ['setosa'])
    })
  }

  test('binary mode: the SDK sends headers in Latin-1, which the server rejects', async () => {
    const answer = await send('binary', 'naïve')
    assert.equal(answer.status, 400)
    assert.deepEqual(await answer.json(), {
      error: 'the event: the header ce-subject is not percent-encoded UTF-8',
    })
  })

  test('binary mode: the SDK cannot send characters outside Latin-1', () =>
    assert.rejects(async () => send('binary', '日本語'), TypeError))

  test('structured mode: the SDK can send any text', async () => {
    assert.equal((await send('structured', 'naïve 日本語')).status, 200)
  })
})

describe('MLServer’s infer', () => {
  before(async () => {
    const failure = await install('mlserver')
    assert.equal(failure, undefined)
  })

  for (const options of ['', ' --binary-data', ' --batch-size 2'] as const) {
    test(`gets a response to each request in a file${options && `, with${options}`}`, async () => {
      const program = join(projectFolder, 'bench/peers/.venv/mlserver/bin/mlserver')
      const input = join(temporary, 'requests.txt')
      const output = join(temporary, 'responses.txt')
      writeFileSync(input, `${ROW}\n${ROW.replace('5.1,3.5,1.4,0.2', '6.3,3.3,6,2.5')}\n`)
      const where = `--url ${new URL(iris.url).host} --model-name iris-classifier`
      await shell(
        `${program} infer ${where} --input-data-path ${input} --output-data-path ${output}${options}`,
      )
      const lines = readFileSync(output, 'utf8').trim().split('\n')
      const classes = lines.map(line => JSON.parse(line).outputs[1].data[0])
      assert.deepEqual(classes.toSorted(), ['setosa', 'virginica'])
    })
  }
})

describe('curl', () => {
  before(() => need('curl', 'apt-get install curl'))

  const post = (options: string) =>
    shell(`curl -sS -w '\\n%{http_code}' ${options} '${iris.url}${INFER}'`)
  for (const [what, options] of [
    ['-d with its header', `-H 'Content-Type: application/json' -d '${ROW}'`],
    ['--json', `--json '${ROW}'`],
    ['HTTP/1.0', `-0 --json '${ROW}'`],
    ['--compressed', `--compressed --json '${ROW}'`],
    ['Expect: 100-continue', `-H 'Expect: 100-continue' --json '${ROW}'`],
    [
      'a chunked upload',
      `-X POST -H 'Content-Type: application/json' -H 'Transfer-Encoding: chunked' -d '${ROW}'`,
    ],
    ['an Upgrade to HTTP/2', `--http2 --json '${ROW}'`],
  ] as const) {
    test(`${what} gets a response`, async () => {
      const [body = '', status] = (await post(options)).split('\n')
      assert.equal(status, '200')
      assert.deepEqual(JSON.parse(body).outputs[1].data, ['setosa'])
    })
  }

  test('-T reads the body from a file and sends it in chunks', async () => {
    assert.match(
      await shell(
        `curl -sS -X POST -H 'Content-Type: application/json' -T - '${iris.url}${INFER}' < ${temporary}/row.json`,
      ),
      /"setosa"/,
    )
  })

  test('the server accepts a compressed body', async () => {
    const sent = `gzip -c ${temporary}/row.json | curl -sS -H 'Content-Type: application/json' -H 'Content-Encoding: gzip' --data-binary @-`
    assert.match(await shell(`${sent} '${iris.url}${INFER}'`), /"setosa"/)
  })

  test('-d alone sends form data, and the error message names the missing header', async () => {
    const [body = '', status] = (await post(`-d '${ROW}'`)).split('\n')
    assert.equal(status, '415')
    assert.match(JSON.parse(body).error, /-H 'Content-Type: application\/json'/)
  })

  test('--fail exits with 22 if the server rejects the request', async () => {
    assert.equal(await shell(`curl -s --fail --json '{}' '${iris.url}${INFER}' || echo $?`), '22\n')
  })

  test('-I and -X OPTIONS get responses', async () => {
    assert.match(await shell(`curl -sS -I '${iris.url}/v2/health/ready'`), /^HTTP\/1\.1 200 OK/)
    assert.match(
      await shell(`curl -sS -i -X OPTIONS '${iris.url}${INFER}'`),
      /^HTTP\/1\.1 204 [\s\S]*allow: [^\r]*POST/i,
    )
  })

  for (const [name, says] of [
    ['iris', /"data":\["setosa"\]/],
    ['fp16-out', /"outputs":\[\{"name":"y"/],
    ['identity-fp16', /"binary_data_size":2\}\}\]\}\0\0$/],
  ] as const) {
    test(`the command from npm run check-model for ${name} works unchanged`, async () => {
      const folder = name === 'iris' ? join(projectFolder, 'models/iris/v1.0.0') : testModel(name)
      const server = await startProcess({ MODEL_DIR: folder })
      const { found } = await checkModel(readConfig({ MODEL_DIR: folder }))
      const command =
        found?.served?.request?.curl?.replace('http://localhost:8080', server.url) ?? 'false'
      const printed = await shell(
        `cd ${temporary} && ${command.replace(' | curl ', ' | curl -sS ')}`,
      )
      server.process.kill()
      assert.match(
        name === 'identity-fp16' ? readFileSync(join(temporary, 'answer.bin'), 'latin1') : printed,
        says,
      )
    })
  }
})

describe('load generators', () => {
  test('ab gets a response to every request, with and without keep-alive', async t => {
    await need('ab', 'apt-get install apache2-utils')
    for (const keepAlive of ['', '-k']) {
      const report = await shell(
        `ab -q ${keepAlive} -n 2000 -c 16 -p ${temporary}/row.json -T application/json '${iris.url}${INFER}'`,
      )
      t.diagnostic(`${/Requests per second:.*/.exec(report)?.[0]} ${keepAlive}`)
      assert.match(report, /Complete requests: +2000\nFailed requests: +0\n/)
      assert.doesNotMatch(report, /Non-2xx/)
      if (keepAlive !== '') assert.match(report, /Keep-Alive requests: +2000\n/)
    }
  })

  test('wrk gets a response to every request', async t => {
    await need('wrk', 'apt-get install wrk')
    writeFileSync(
      join(temporary, 'post.lua'),
      `wrk.method = 'POST'\nwrk.body = '${ROW}'\nwrk.headers['Content-Type'] = 'application/json'\n`,
    )
    const report = await shell(
      `wrk -t 1 -c 16 -d 2s -s ${temporary}/post.lua '${iris.url}${INFER}'`,
    )
    t.diagnostic(/Requests\/sec:.*/.exec(report)?.[0] ?? '')
    assert.ok(Number(/(\d+) requests in/.exec(report)?.[1]) > 0, report)
    assert.doesNotMatch(report, /Non-2xx|Socket errors/)
  })
})

describe("a browser's fetch", () => {
  const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium'
  let browser: Browser
  before(async () => {
    assert.ok(
      existsSync(CHROMIUM),
      `Chromium is missing at ${CHROMIUM}: apt-get install chromium, or set CHROMIUM`,
    )
    browser = await chromium.launch({
      executablePath: CHROMIUM,
      args: ['--no-sandbox', '--disable-gpu', '--no-first-run'],
    })
  })
  after(() => browser?.close())

  test('reads metadata, JSON and binary tensor data on a page of the same origin', async t => {
    t.diagnostic(`Chromium ${browser.version()}`)
    const page = await browser.newPage()
    await page.goto(iris.url)
    const seen = await page.evaluate(
      async ([infer, row]) => {
        const url = `${infer}`
        const metadata = await (await fetch(url.replace('/infer', ''))).json()
        const json = await (
          await fetch(url, {
            method: 'POST',
            headers: { 'content-type': 'application/json' },
            body: row as string,
          })
        ).json()
        const asked = JSON.stringify({
          parameters: { binary_data_output: true },
          inputs: [
            {
              name: 'input',
              shape: [1, 4],
              datatype: 'FP32',
              parameters: { binary_data_size: 16 },
            },
          ],
        })
        const response = await fetch(url, {
          method: 'POST',
          headers: { 'inference-header-content-length': String(asked.length) },
          body: new Blob([asked, new Float32Array([5.1, 3.5, 1.4, 0.2])]),
        })
        const bytes = await response.arrayBuffer()
        const jsonLength = Number(response.headers.get('inference-header-content-length'))
        const probabilities = new Float32Array(bytes.slice(jsonLength, jsonLength + 12))
        return { name: metadata.name, json: json.outputs[1].data, probability: probabilities[0] }
      },
      [INFER, ROW],
    )
    assert.deepEqual(seen, {
      name: 'iris-classifier',
      json: ['setosa'],
      probability: 0.9786807298660278,
    })
  })

  test('is blocked on a page of another origin, because the server sends no CORS headers', async () => {
    const page = await browser.newPage()
    await page.goto(servers[1]?.url ?? '')
    const seen = await page.evaluate(
      ([url, row]) =>
        fetch(url as string, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: row as string,
        }).then(String, String),
      [iris.url + INFER, ROW],
    )
    assert.equal(seen, 'TypeError: Failed to fetch')
  })
})
