import assert from 'node:assert/strict'
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { readConfig } from '../../function/config/config.ts'
import { readModelFolder } from '../../function/inference/model-folder.ts'
import { checkModel } from '../../scripts/check-model/check.ts'
import { showJson, showText } from '../../scripts/check-model/show.ts'
import { tryTransform } from '../../scripts/check-model/try-transform.ts'
import { projectFolder } from '../server.ts'

/* The author's own code is asked once, by the example of its schema, in a process of its own. */

const folders: string[] = []
after(() => folders.map(folder => rmSync(folder, { recursive: true })))

function folderWith(transform: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'check-transform-'))
  folders.push(folder)
  for (const file of ['model.onnx', 'model.json'])
    copyFileSync(join(projectFolder, 'models/iris/v2.0.0', file), join(folder, file))
  writeFileSync(join(folder, 'transform.mjs'), transform)
  return folder
}

const check = (transform: string, env: Record<string, string> = {}) =>
  checkModel(readConfig({ MODEL_DIR: folderWith(transform), ...env }))

const INPUT = `input: { type: 'object', required: ['a'], properties: { a: { type: 'number', examples: [5.1] } } }`
const PREPROCESS = `preprocess: ({ a }) => ({ input: [[a, 3.5, 1.4, 0.2]] })`
const POSTPROCESS = `postprocess: ({ predicted_class }) => ({ species: predicted_class.data[0] })`

test('check-model shows what a transform has, a request, and what that is answered with', async () => {
  const report = await check(`export default { ${INPUT}, ${PREPROCESS}, ${POSTPROCESS} }`)
  assert.deepEqual(report.problems, [])
  const text = showText(report)
  assert.match(
    text,
    /Transform\n {2}file .*transform\.mjs\n {2}parts {7}input, preprocess, postprocess\n/,
  )
  assert.match(text, /request {5}curl http:\/\/localhost:8080\/ .* -d '\{"a":5\.1\}'\n/)
  assert.match(text, /answer {6}\{"species":"setosa"\}\n/)
  assert.match(text, /runs {8}in worker threads, with the transform/)
  const { transform } = JSON.parse(showJson(report))
  assert.deepEqual([transform.request, transform.answer], ['{"a":5.1}', '{"species":"setosa"}'])
})

test('a transform without preprocess is asked by an inference request', async () => {
  const { transform, problems } = await check(`export default { ${POSTPROCESS} }`)
  assert.deepEqual([transform?.answer, problems], ['{"species":"setosa"}', []])
})

const both = (...parts: string[]) => `export default { ${[INPUT, ...parts].join(', ')} }`

const WRONG: readonly (readonly [what: string, code: string, problem: RegExp])[] = [
  [
    'throws',
    both(`preprocess: () => { throw new TypeError('no words') }`),
    /^error: transform: it fails on the example: no words$/,
  ],
  [
    'makes a wrong shape',
    both('preprocess: () => ({ input: [[1]] })'),
    /^error: .*input "input": it has the shape \[1,1\]; the model accepts FP32/,
  ],
  [
    'gives what is no JSON',
    both(PREPROCESS, 'postprocess: () => NaN'),
    /^error: transform: it fails on the example: /,
  ],
  [
    'has an invalid schema',
    `export default { input: { tpye: 'object' }, ${PREPROCESS} }`,
    /^error: .*unknown keyword: "tpye"$/,
  ],
  [
    'has a schema with a wrong value',
    `export default { input: { type: 'string', minLength: -1 }, ${PREPROCESS} }`,
    /^error: transform: the schema "input": \/minLength must be >= 0/,
  ],
  [
    'has an output that is no schema',
    both(PREPROCESS, `output: { type: 'text' }`),
    /^error: transform: the schema "output": /,
  ],
  [
    'has an example that its schema refuses',
    `export default { input: { type: 'number', minimum: 1, examples: [0] }, ${PREPROCESS} }`,
    /^warning: transform: it refuses the example: the data must be >= 1 \(minimum\); got 0\. Write "examples"/,
  ],
  [
    'answers what its schema does not say',
    both(PREPROCESS, POSTPROCESS, `output: { type: 'array' }`),
    /^warning: transform: the answer does not fit "output": the data must be array/,
  ],
  [
    'answers a body where its schema says JSON',
    both(
      PREPROCESS,
      `output: { type: 'string' }`,
      `postprocess: () => ({ body: 'a', contentType: 'text/csv' })`,
    ),
    /^warning: transform: the answer is text\/csv, and "output" says JSON$/,
  ],
  [
    'says that it is unavailable',
    both(
      `preprocess: () => { throw Object.assign(new Error('store down'), { code: 'TRANSFORM_UNAVAILABLE', retryAfter: 1 }) }`,
    ),
    /^warning: transform: it says that it is unavailable: store down$/,
  ],
  [
    'has no example',
    `export default { ${PREPROCESS} }`,
    /^hint: transform: it was not tried: without "input"/,
  ],
  [
    'takes pictures',
    `export default { input: { contentMediaType: 'image/png' }, ${PREPROCESS} }`,
    /^hint: transform: it was not tried: it takes image\/png/,
  ],
  [
    'cannot be loaded',
    'export default {',
    /^error: the transform .*transform\.mjs cannot be loaded: /,
  ],
  [
    'fails in setup',
    both(PREPROCESS, `setup: () => { throw new Error('no token') }`),
    /^error: setup\(\) of the transform .* failed: no token$/,
  ],
]

for (const [what, code, problem] of WRONG)
  test(`check-model tells of a transform that ${what}`, async () => {
    const folder = readModelFolder(readConfig({ MODEL_DIR: folderWith(code) }))
    const { problems } = await tryTransform({ ...folder, transform: folder.transform ?? '' })
    const [first] = problems.map(({ level, text }) => `${level}: ${text}`)
    assert.match(first ?? 'nothing', problem)
  })

test('check-model tells of a transform that ends the process', async () => {
  const { problems } = await check(both('preprocess: () => process.exit(3)'))
  assert.match(problems[0]?.text ?? '', /^the transform .* ended the process \(exit code 3\)$/)
})

test('check-model ends a transform that does not end', async () => {
  const { problems } = await check(both('preprocess: () => { for (;;); }'), {
    RUN_TIMEOUT_MS: '4000',
  })
  assert.match(problems[0]?.text ?? '', /^the transform .* did not answer within 4000 ms$/)
})

test('check-model leaves out a transform that TRANSFORM=off turns off', async () => {
  const { transform, problems } = await check(both(PREPROCESS), { TRANSFORM: 'off' })
  assert.deepEqual([transform, problems], [undefined, []])
})
