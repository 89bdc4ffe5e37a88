import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'
import { readConfig } from '../../function/config/config.ts'
import { field, message, numberField } from '../../function/inference/protobuf.ts'
import { checkModel } from '../../scripts/check-model/check.ts'
import type { Report } from '../../scripts/check-model/report.ts'
import { projectFolder, startServer, testModel } from '../server.ts'

/* Each model is loaded in a separate process, as for users. */

const temporary = mkdtempSync(join(tmpdir(), 'check-model-'))
after(() => rmSync(temporary, { recursive: true }))

const check = (path: string): Promise<Report> => checkModel(readConfig({ MODEL_DIR: path }))
const texts = ({ problems }: Report, ...levels: string[]) =>
  problems
    .filter(({ level }) => levels.includes(level))
    .map(({ level, text }) => `${level}: ${text}`)
const wrong = (report: Report) => texts(report, 'error', 'warning')

const command = (...args: string[]) =>
  spawnSync(process.execPath, ['scripts/check-model/run.ts', ...args], {
    cwd: projectFolder,
    encoding: 'utf8',
  })

function folderOf(
  name: string,
  model: Buffer | string,
  files: Record<string, string> = {},
): string {
  const folder = join(temporary, name)
  mkdirSync(folder)
  for (const [file, content] of Object.entries({ 'model.onnx': model, ...files }))
    writeFileSync(join(folder, file), content)
  return folder
}

/* The functions below encode ONNX files, with the field numbers of onnx.proto. */

const node = (
  name: string,
  domain: string,
  inputs: string[],
  outputs: string[],
  ...attributes: Buffer[]
) =>
  message(1, [
    ...inputs.map(input => field(1, input)),
    ...outputs.map(output => field(2, output)),
    field(4, name),
    field(7, domain),
    ...attributes,
  ])

const FLOAT = 1
const BFLOAT16 = 16

/** In the shape, a string is a dimension's name, and a number its size. */
const tensorType = (element: number, shape: readonly (number | string)[]) =>
  message(1, [
    numberField(1, element),
    message(
      2,
      shape.map(dimension =>
        message(1, [
          typeof dimension === 'number' ? numberField(1, dimension) : field(2, dimension),
        ]),
      ),
    ),
  ])
const value = (number: 11 | 12, name: string, type: Buffer) =>
  message(number, [field(1, name), message(2, [type])])

const graphOf = (...parts: Buffer[]) => Buffer.concat([field(2, 'graph'), ...parts])
const file = (graph: Buffer, opsets: Record<string, number> = { '': 21 }, irVersion = 10) =>
  Buffer.concat([
    numberField(1, irVersion),
    ...Object.entries(opsets).map(([domain, version]) =>
      message(8, [field(1, domain), numberField(2, version)]),
    ),
    field(7, graph),
  ])

const x = value(11, 'x', tensorType(FLOAT, ['n', 2]))
const y = value(12, 'y', tensorType(FLOAT, ['n', 2]))

suite('npm run check-model', { concurrency: 2 }, () => {
  test('prints the report that docs/models.md shows', () => {
    const { status, stdout, stderr } = command('models/iris/v1.0.0')
    assert.deepEqual([status, stderr], [0, ''])
    const page = readFileSync(join(projectFolder, 'docs/models.md'), 'utf8')
    const shown = /```\n(iris-classifier v1\.0\.0: [\s\S]*?)```/.exec(page)?.[1] ?? ''
    const withoutMeasured = (text: string) => text.replace(/On this machine[\s\S]*?\n\n/, '')
    // The page shortens the request and the response.
    const shortened = withoutMeasured(stdout)
      .replace(/^( {2}curl '[^']+').*$/m, '$1 …')
      .replace(/^( {2}\{"model_name":"iris-classifier",).*$/m, '$1 …}')
    assert.equal(shortened, withoutMeasured(shown))
    assert.match(
      stdout,
      /"shape":\[1,4\],"datatype":"FP32","data":\[5\.1,3\.5,1\.4,0\.2\]\}\]\}'$/m,
    )
    assert.match(
      stdout,
      /"data":\[0\.97868073,0\.021318482,8\.2612326e-7\]\},.*\["setosa"\]\}\]\}$/m,
    )
    assert.match(
      stdout,
      /^ {2}one row {5}[\d.]+ (µs|ms) per run\n {2}32 rows {5}[\d.]+ (µs|ms) per run, [\d.]+ (µs|ms) per row$/m,
    )
    assert.match(
      stdout,
      /^ {2}memory {6}about [\d.]+ MiB for each copy of the model, \d+ MiB with Node and ONNX Runtime$/m,
    )
  })

  test('prints the same report as JSON', () => {
    const { status, stdout } = command('models/iris/v1.0.0', '--json')
    assert.equal(status, 0)
    const { measured, file, request, answer, ...rest } = JSON.parse(stdout)
    assert.equal(file, join(projectFolder, 'models/iris/v1.0.0/model.onnx'))
    assert.match(request, /^curl 'http:\/\/localhost:8080\/v2\/models\/iris-classifier\/infer' /)
    assert.deepEqual(JSON.parse(answer).outputs[1].data, ['setosa'])
    assert.deepEqual(rest, {
      ok: true,
      name: 'iris-classifier',
      version: 'v1.0.0',
      file_bytes: 688,
      folder_bytes: 1247,
      ir_version: 8,
      producer: 'skl2onnx 1.20.0',
      opsets: { 'ai.onnx': 17, 'ai.onnx.ml': 1 },
      onnxruntime: '1.30.0',
      operators: ['Scaler', 'LinearClassifier', 'Normalizer'].map(name => ({
        domain: 'ai.onnx.ml',
        name,
        opset: 1,
        count: 1,
      })),
      missing_operators: [],
      inputs: [
        {
          name: 'input',
          datatype: 'FP32',
          shape: [-1, 4],
          features: [
            'sepal length (cm)',
            'sepal width (cm)',
            'petal length (cm)',
            'petal width (cm)',
          ],
        },
      ],
      outputs: [
        { name: 'probabilities', datatype: 'FP32', shape: [-1, 3] },
        { name: 'predicted_class', datatype: 'BYTES', shape: [-1] },
      ],
      outputs_left_out: [],
      requests_are_joined: true,
      joined_reason: 'proven',
      answer_binary_bytes: 0,
      problems: [],
    })
    for (const name of [
      'load_ms',
      'warm_up_ms',
      'one_row_ms',
      'rows_32_ms',
      'model_bytes',
      'process_bytes',
    ]) {
      assert.ok(measured[name] >= 0 && Number.isFinite(measured[name]), name)
    }
    assert.deepEqual([measured.threads, measured.runs_on], [1, 'main thread'])
  })

  for (const [mistake, args, says] of [
    ['no model', [], 'FOLDER_OR_FILE is missing'],
    ['two models', ['a', 'b'], 'unexpected argument: b'],
    ['an unknown option', ['--yaml', 'models/iris/v1.0.0'], "Unknown option '--yaml'"],
    ['a path that does not exist', ['/nowhere'], 'not found: /nowhere'],
  ] as const) {
    test(`rejects ${mistake} with exit code 2 and one line`, () => {
      const { status, stdout, stderr } = command(...args)
      assert.deepEqual([status, stdout], [2, ''])
      assert.ok(stderr.startsWith(says), stderr)
      assert.match(stderr, /^[^\n]+\n$/)
    })
  }

  test('--help lists the exit codes', () => {
    const { status, stdout } = command('--help')
    assert.equal(status, 0)
    assert.match(stdout, /The exit code is 0 if there are no errors/)
  })

  test('reports a broken file with exit code 1 and one line, as text and as JSON', () => {
    const { status, stdout, stderr } = command(testModel('broken'))
    assert.deepEqual([status, stderr], [1, ''])
    assert.match(
      stdout,
      /\n {2}error {7}the file is not an ONNX model: the file is truncated\. Copy or download it again, and compare its size\n$/,
    )
    const json = command(testModel('broken'), '--json')
    assert.deepEqual([json.status, JSON.parse(json.stdout).ok], [1, false])
  })
})

suite('check-model with each test model', { concurrency: 2 }, () => {
  const ERRORS: Record<string, string[]> = {
    broken: [
      'error: the file is not an ONNX model: the file is truncated. Copy or download it again, and compare its size',
    ],
    'not-utf8': [
      'error: output "text" is not always UTF-8, as ONNX strings must be: such requests fail with status 500. Return numbers, or strings in UTF-8',
    ],
    'fp16-out': [
      'warning: output "half" is FP16, which JSON cannot represent: request it as binary tensor data, or cast it to FP32 in the graph',
    ],
    'identity-fp16': [
      'warning: output "y" is FP16, which JSON cannot represent: request it as binary tensor data, or cast it to FP32 in the graph',
      'warning: input "x" is FP16, which JSON cannot represent: send it as binary tensor data, or cast it to FP32 in the graph',
    ],
    'zeros-fail': [
      "warning: the model fails on the generated inputs, which are zeros, so there is no warm-up and no example: the model failed on this request: Non-zero status code returned while running Gather node. Name:'' Status Message: indices element out of data bounds, idx=-4 must be within the inclusive range [-3,2]. Add a sample to model.json",
    ],
  }
  const ROWLESS = ['no-batch', 'fixed', 'middle', 'scalar', 'unknown-rank']
  const NOT_JOINED: Record<string, RegExp> = {
    'rows-dependent':
      /^node "mean" \(ReduceMean, ai\.onnx 21\): the node works along dimension 0, which is the batch$/,
    ...Object.fromEntries(
      ROWLESS.map(name => [name, /^input "[xi]" has (the fixed|no) first dimension/]),
    ),
    'vector-sum':
      /^node "sum" \(ReduceSum, ai\.onnx 21\): the node works along dimension 0, which is the batch$/,
  }

  // Models with a special property; of the models for one datatype, only those whose values JSON
  // cannot represent as numbers.
  const ODD = [
    ...Object.keys(ERRORS),
    ...Object.keys(NOT_JOINED),
    ...[
      'external-data',
      'zipmap',
      'only-zipmap',
      'big-int-out',
      'identity-bytes',
      'other-file-name',
      'specials',
      'slow',
      'two-in-two-out',
    ],
  ]
  for (const name of new Set(ODD)) {
    test(`${name}: reports the problems, the batching, and a request to which a server sends the shown response`, async () => {
      const report = await check(testModel(name))
      assert.deepEqual(wrong(report), ERRORS[name] ?? [])
      for (const { text } of report.problems) assert.doesNotMatch(text, /\n/)
      const served = report.found?.served
      if (served === undefined) return
      assert.equal(served.place, name === 'slow' ? 'worker threads' : 'main thread')
      const reason = NOT_JOINED[name]
      assert.equal(served.batching.joins, reason === undefined)
      if (reason !== undefined) assert.match(served.batching.detail ?? '', reason)

      const server = await startServer({ MODEL_DIR: testModel(name) })
      try {
        const metadata = await (
          await fetch(`${server.url}/v2/models/${server.service.model.name}`)
        ).json()
        const seen = ({
          name,
          datatype,
          shape,
        }: {
          name: string
          datatype: string
          shape: readonly number[]
        }) => ({
          name,
          datatype,
          shape,
        })
        assert.deepEqual(
          {
            inputs: served.signature.inputs.map(seen),
            outputs: served.signature.outputs.map(seen),
          },
          {
            inputs: (metadata as Report['onnx'])?.inputs,
            outputs: (metadata as Report['onnx'])?.outputs,
          },
        )
        if (served.exampleFails !== undefined) return
        assert.ok((served.oneRowMs ?? 0) > 0)
        assert.equal((served.rows32Ms ?? 0) > 0, !ROWLESS.includes(name))
        assert.deepEqual(
          await send(served.request?.curl ?? '', server.url),
          served.request?.answer.json,
        )
      } finally {
        await server.stop()
      }
    })
  }
})

async function send(curl: string, url: string): Promise<string> {
  const address =
    /'(http:\/\/localhost:8080[^']+)'/.exec(curl)?.[1]?.replace('http://localhost:8080', url) ?? ''
  const jsonLength = /Inference-Header-Content-Length: (\d+)/.exec(curl)?.[1]
  const body =
    jsonLength === undefined
      ? Buffer.from((/ -d '([\s\S]*)'$/.exec(curl)?.[1] ?? '').replaceAll("'\\''", "'"))
      : Buffer.from(/^echo (\S+)/.exec(curl)?.[1] ?? '', 'base64')
  const headers = { 'content-type': /Content-Type: ([^']+)/.exec(curl)?.[1] ?? '' }
  const response = await fetch(address, {
    method: 'POST',
    headers:
      jsonLength === undefined
        ? headers
        : { ...headers, 'inference-header-content-length': jsonLength },
    body,
  })
  assert.equal(response.status, 200)
  const answer = Buffer.from(await response.arrayBuffer())
  return answer
    .subarray(0, Number(response.headers.get('inference-header-content-length') ?? answer.length))
    .toString()
}

suite('check-model with a model that cannot be served', { concurrency: 2 }, () => {
  const CASES: [string, Buffer | string, Record<string, string>, string[]][] = [
    [
      'an empty file',
      '',
      {},
      ['error: the file is empty. Copy or download it again, and compare its size'],
    ],
    [
      'a text file',
      'not a model, although its name ends in .onnx',
      {},
      [
        'error: the file is not an ONNX model: a field has the unknown wire type 6. Specify the file that the exporter wrote',
      ],
    ],
    [
      'a Git LFS pointer',
      'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 132735\n',
      {},
      ['error: the file is a Git LFS pointer, not the model. Run git lfs pull'],
    ],
    [
      'undefined operators, including one in a nested graph and one of a training domain',
      file(
        graphOf(
          node('Foo', 'com.example', ['x'], ['a']),
          node(
            'If',
            '',
            ['c'],
            ['b'],
            message(5, [
              field(1, 'then_branch'),
              field(6, graphOf(node('Quux', '', ['x'], ['d']))),
              numberField(20, 5),
            ]),
          ),
          node('Adam', 'ai.onnx.preview.training', ['b'], ['y']),
          node('Bar', 'com.unknown', ['b'], ['z']),
          x,
          y,
        ),
        { '': 21, 'com.example': 3, 'ai.onnx.preview.training': 1 },
      ),
      {},
      [
        'error: ONNX Runtime for Node lacks the operator com.example.Foo (1 in the graph): the operator set com.example 3 does not contain it. ONNX Runtime for Node cannot load libraries of custom operators: replace it with standard ONNX operators',
        'error: ONNX Runtime for Node lacks the operator ai.onnx.Quux (1 in the graph): the operator set ai.onnx 21 does not contain it. Export with another opset version, or with an operator of this opset',
        'error: ONNX Runtime for Node lacks the operator ai.onnx.preview.training.Adam (1 in the graph): the operator set ai.onnx.preview.training 1 does not contain it. Export the model for inference, not for training',
        'error: ONNX Runtime for Node lacks the operator com.unknown.Bar (1 in the graph): the file imports no operator set of the domain "com.unknown". ONNX Runtime for Node cannot load libraries of custom operators: replace it with standard ONNX operators',
      ],
    ],
    [
      'an operator that its opset does not have yet',
      file(graphOf(node('Gelu', '', ['x'], ['y']), x, y), { '': 17 }),
      {},
      [
        'error: ONNX Runtime for Node lacks the operator ai.onnx.Gelu (1 in the graph): the operator set ai.onnx 17 does not contain it. Export with another opset version, or with an operator of this opset',
      ],
    ],
    [
      'an output of a datatype that the protocol lacks',
      file(
        graphOf(
          node(
            'Cast',
            '',
            ['x'],
            ['y'],
            message(5, [field(1, 'to'), numberField(3, BFLOAT16), numberField(20, 2)]),
          ),
          x,
          value(12, 'y', tensorType(BFLOAT16, ['n', 2])),
        ),
      ),
      {},
      [
        'error: output "y" has the type tensor(bfloat16), which the Open Inference Protocol or ONNX Runtime for Node does not support: in the graph, cast it to float, or to an integer of 8 bits or more',
      ],
    ],
    [
      'a sample that does not fit',
      file(graphOf(node('Neg', '', ['x'], ['y']), x, y)),
      { 'model.json': '{"sample": {"x": [[1, 2, 3]]}}' },
      [
        'error: model.json: the sample does not match the model: input "x": shape [1,3] does not fit; the model accepts [-1,2]. Give model.json a sample that the model accepts',
      ],
    ],
    [
      'features that do not match the model',
      file(graphOf(node('Neg', '', ['x'], ['y']), x, y)),
      { 'model.json': '{"features": ["a", "b", "c"]}' },
      [
        'error: model.json: the features do not match the model: input "x": there are 3 names, but the last dimension of [-1,2] has 2 elements. Name each element of the last dimension once, in order',
      ],
    ],
    [
      'a missing file that has a digest',
      file(graphOf(node('Neg', '', ['x'], ['y']), x, y)),
      { 'model.json': JSON.stringify({ sha256: { 'weights.bin': '0'.repeat(64) } }) },
      ['error: the model does not match sha256 in model.json: "weights.bin" is missing'],
    ],
    [
      'a model.json that is not JSON',
      file(graphOf(node('Neg', '', ['x'], ['y']), x, y)),
      { 'model.json': '{' },
      [
        "error: FOLDER/model.json is not valid JSON: Expected property name or '}' in JSON at position 1 (line 1 column 2)",
      ],
    ],
  ]
  CASES.forEach(([what, model, files, expected], i) => {
    test(`reports ${what}, with a fix`, async () => {
      const folder = folderOf(`case-${i}`, model, files)
      assert.deepEqual(
        wrong(await check(folder)).map(text => text.replaceAll(folder, 'FOLDER')),
        expected,
      )
    })
  })

  for (const [what, opset, irVersion, convert] of [
    ['IR version', 21, 99, ''],
    ['opset', 99, 10, 'model = onnx\\.version_converter\\.convert_version\\(model, \\d+\\); '],
    [
      'IR version and opset',
      99,
      99,
      'model = onnx\\.version_converter\\.convert_version\\(model, \\d+\\); ',
    ],
  ] as const)
    test(`reports a newer ${what}, with a fix`, async () => {
      const model = file(graphOf(node('Neg', '', ['x'], ['y']), x, y), { '': opset }, irVersion)
      assert.match(
        wrong(await check(folderOf(`later-${what}`, model))).join('\n'),
        new RegExp(
          `^error: the file has IR version ${irVersion} and opset ${opset}; ONNX Runtime [\\d.]+ supports IR versions up to \\d+ and opsets up to \\d+\\. Convert the file in Python: .*model = onnx\\.load\\("model\\.onnx"\\); ${convert}model\\.ir_version = \\d+; onnx\\.save\\(model, "model\\.onnx"\\)$`,
        ),
      )
    })

  test('gives a hint for an input with a value in the file, and a warning for an empty input', async () => {
    const w = message(5, [
      numberField(1, 2),
      numberField(2, FLOAT),
      field(8, 'w'),
      field(9, Buffer.alloc(8)),
    ])
    const graph = graphOf(
      node('Add', '', ['x', 'w'], ['y']),
      x,
      value(11, 'w', tensorType(FLOAT, [2])),
      y,
      w,
    )
    assert.ok(
      texts(await check(folderOf('overridable', file(graph))), 'hint')[0]?.startsWith(
        'hint: input "w" has a value in the file, which callers cannot replace',
      ),
    )
    const none = value(11, 'x', tensorType(FLOAT, [0, 2]))
    const empty = file(
      graphOf(node('Neg', '', ['x'], ['y']), none, value(12, 'y', tensorType(FLOAT, [0, 2]))),
    )
    assert.match(
      texts(await check(folderOf('empty-input', empty)), 'warning').join('\n'),
      /^warning: input "x" has a dimension of 0 \(\[0,2\]\), so every request must be empty/,
    )
  })

  test('warns of a file that only its owner can read', async () => {
    const folder = folderOf('mode', '')
    cpSync(testModel('external-data'), folder, { recursive: true })
    chmodSync(join(folder, 'weights.bin'), 0o600)
    assert.match(
      texts(await check(folder), 'warning').join('\n'),
      /^warning: the permissions of weights\.bin \(mode 600\) do not allow other users to read it, and the image runs as uid 10001: chmod a\+r weights\.bin, or COPY --chmod=755/,
    )
  })

  test('reports weights that are missing, cut off, a Git LFS pointer, or outside the folder', async () => {
    const folder = folderOf('external', '')
    copyFileSync(`${testModel('external-data')}/model.onnx`, join(folder, 'model.onnx'))
    assert.deepEqual(wrong(await check(folder)), [
      'error: external data "weights.bin" is missing; it contains the weights of 1 tensor. Put it beside model.onnx, under this name',
    ])
    writeFileSync(join(folder, 'weights.bin'), 'short')
    assert.deepEqual(wrong(await check(folder)), [
      'error: external data "weights.bin" has 5 bytes, but the model needs 32. Copy the file again; it is truncated or belongs to a different export',
    ])
    writeFileSync(join(folder, 'weights.bin'), 'version https://git-lfs.github.com/spec/v1\n')
    assert.deepEqual(wrong(await check(folder)), [
      'error: external data "weights.bin" is a Git LFS pointer, not the weights. Run git lfs pull',
    ])
    const away = readFileSync(join(folder, 'model.onnx'))
      .toString('latin1')
      .replace('weights.bin', '../bins.bin')
    writeFileSync(join(folder, 'model.onnx'), Buffer.from(away, 'latin1'))
    assert.deepEqual(wrong(await check(folder)), [
      'error: external data "../bins.bin" is outside the model\'s folder, which ONNX Runtime does not allow. Save the model again with its weights in the same folder',
    ])
  })

  test('reports one line per problem for a corrupted or truncated iris model', async () => {
    const iris = readFileSync(join(projectFolder, 'models/iris/v1.0.0/model.onnx'))
    for (const at of [0, 3, 20, 100, 300, 500, 687]) {
      const changed = Buffer.from(iris)
      changed[at] = (changed[at] as number) ^ 0xff
      for (const [kind, bytes] of [
        ['changed', changed],
        ['cut', iris.subarray(0, at)],
      ] as const) {
        for (const { text } of (await check(folderOf(`${kind}-${at}`, bytes))).problems)
          assert.match(text, /^[^\n]+$/)
      }
    }
  })
})

suite('check-model with a model that can be improved', { concurrency: 2 }, () => {
  const NO_SAMPLE =
    'hint: model.json has no sample, so the example and the warm-up use zeros: add a realistic input as the sample'

  test('gives a hint for a first dimension that is fixed to 1', async () => {
    const [one, two] = [
      value(11, 'x', tensorType(FLOAT, [1, 2])),
      value(12, 'y', tensorType(FLOAT, [1, 2])),
    ]
    const report = await check(
      folderOf('one', file(graphOf(node('Neg', '', ['x'], ['y']), one, two))),
    )
    assert.deepEqual(texts(report, 'error', 'warning', 'hint'), [
      'hint: input "x" is fixed to 1 row ([1,2]): export it with a variable first dimension, so that requests can be joined',
      NO_SAMPLE,
    ])
  })

  test('warns of a graph that declares a variable number of rows and accepts only one row', async () => {
    const shape = message(5, [
      field(1, 'value_ints'),
      numberField(8, 1),
      numberField(8, 2),
      numberField(20, 7),
    ])
    const graph = graphOf(
      node('Constant', '', [], ['shape'], shape),
      node('Reshape', '', ['x', 'shape'], ['a']),
      node('Add', '', ['x', 'a'], ['y']),
      x,
      y,
    )
    const [problem = ''] = wrong(await check(folderOf('reshape', file(graph))))
    assert.match(
      problem,
      /^warning: the graph declares a variable number of rows, but a run of 32 rows fails: .*Export the model with a batch dimension that every node preserves$/,
    )
  })

  test('for a large request, prints a command that generates zeros, and a hint to send binary tensor data', async () => {
    const images = [
      value(11, 'x', tensorType(FLOAT, ['n', 3, 224, 224])),
      value(12, 'y', tensorType(FLOAT, ['n', 3, 224, 224])),
    ]
    const report = await check(
      folderOf('images', file(graphOf(node('Neg', '', ['x'], ['y']), ...images))),
    )
    assert.deepEqual(texts(report, 'error', 'warning', 'hint'), [
      'hint: a request has at least 0.6 MiB, and several times as much in JSON: send binary tensor data',
      NO_SAMPLE,
    ])
    const { curl, answer } = report.found?.served?.request ?? {}
    assert.match(curl ?? '', /^\{ printf %s '.*'; head -c 602112 \/dev\/zero; \} \| curl /)
    assert.deepEqual([answer?.cut, answer?.json.length], [true, 2_000])
  })

  test('checks a single .onnx file as a server would serve it', async () => {
    const model = file(graphOf(node('Neg', '', ['x'], ['y']), x, y))
    const folder = folderOf('several', model, {
      'model.json': '{"name":"named","sample":{"x":[[1,2]]}}',
    })
    writeFileSync(join(folder, 'other.onnx'), model)
    for (const name of ['model.onnx', 'other.onnx']) {
      const { folder: checked, problems } = await check(join(folder, name))
      assert.deepEqual([checked?.file, checked?.name], [join(folder, name), 'named'])
      assert.deepEqual(problems, [])
    }
  })
})
