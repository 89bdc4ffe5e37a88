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

/*
 * check-model calls the author's code once, with the example of its schema, in a separate process.
 */

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

test('check-model shows the parts of a transform, a request and its response', async () => {
  const report = await check(`export default { ${INPUT}, ${PREPROCESS}, ${POSTPROCESS} }`)
  assert.deepEqual(report.problems, [])
  const text = showText(report)
  assert.match(
    text,
    /Transform\n {2}file .*transform\.mjs\n {2}parts {7}input, preprocess, postprocess\n/,
  )
  assert.match(text, /request {5}curl http:\/\/localhost:8080\/ .* -d '\{"a":5\.1\}'\n/)
  assert.match(text, /response {4}\{"species":"setosa"\}\n/)
  assert.match(text, /runs {8}in worker threads, with the transform/)
  const { transform } = JSON.parse(showJson(report))
  assert.deepEqual([transform.request, transform.answer], ['{"a":5.1}', '{"species":"setosa"}'])
})

test('check-model calls a transform without preprocess with an inference request', async () => {
  const { transform, problems } = await check(`export default { ${POSTPROCESS} }`)
  assert.deepEqual([transform?.answer, problems], ['{"species":"setosa"}', []])
})

const both = (...parts: string[]) => `export default { ${[INPUT, ...parts].join(', ')} }`

const WRONG: readonly (readonly [what: string, code: string, problem: RegExp])[] = [
  [
    'throws',
    both(`preprocess: () => { throw new TypeError('no words') }`),
    /^error: transform: failed on the example: no words$/,
  ],
  [
    'returns a wrong shape',
    both('preprocess: () => ({ input: [[1]] })'),
    /^error: .*input "input": it has the shape \[1,1\]; the model accepts FP32/,
  ],
  [
    'returns a value that JSON cannot represent',
    both(PREPROCESS, 'postprocess: () => NaN'),
    /^error: transform: failed on the example: /,
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
    'has an invalid output schema',
    both(PREPROCESS, `output: { type: 'text' }`),
    /^error: transform: the schema "output": /,
  ],
  [
    'has an example that violates its schema',
    `export default { input: { type: 'number', minimum: 1, examples: [0] }, ${PREPROCESS} }`,
    /^warning: transform: refused the example: the data must be >= 1 \(minimum\); got 0\. Write "examples"/,
  ],
  [
    'returns a response that violates its schema',
    both(PREPROCESS, POSTPROCESS, `output: { type: 'array' }`),
    /^warning: transform: the response does not match the schema "output": the data must be array/,
  ],
  [
    'returns a body although its schema declares JSON',
    both(
      PREPROCESS,
      `output: { type: 'string' }`,
      `postprocess: () => ({ body: 'a', contentType: 'text/csv' })`,
    ),
    /^warning: transform: the response is text\/csv, but the schema "output" declares JSON$/,
  ],
  [
    'reports that it is unavailable',
    both(
      `preprocess: () => { throw Object.assign(new Error('store down'), { code: 'TRANSFORM_UNAVAILABLE', retryAfter: 1 }) }`,
    ),
    /^warning: transform: reported that it is unavailable: store down$/,
  ],
  [
    'has no example',
    `export default { ${PREPROCESS} }`,
    /^hint: transform: not tested, because it has no schema "input"/,
  ],
  [
    'accepts images',
    `export default { input: { contentMediaType: 'image/png' }, ${PREPROCESS} }`,
    /^hint: transform: not tested, because it accepts image\/png/,
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
  test(`check-model reports a transform that ${what}`, async () => {
    const folder = readModelFolder(readConfig({ MODEL_DIR: folderWith(code) }))
    const { problems } = await tryTransform({ ...folder, transform: folder.transform ?? '' })
    const [first] = problems.map(({ level, text }) => `${level}: ${text}`)
    assert.match(first ?? 'nothing', problem)
  })

test('check-model reports a transform that ends the process', async () => {
  const { problems } = await check(both('preprocess: () => process.exit(3)'))
  assert.match(problems[0]?.text ?? '', /^the transform .* terminated the process \(exit code 3\)$/)
})

test('check-model stops a transform that does not return', async () => {
  const { problems } = await check(both('preprocess: () => { for (;;); }'), {
    RUN_TIMEOUT_MS: '4000',
  })
  assert.match(problems[0]?.text ?? '', /^the transform .* did not return within 4000 ms$/)
})

test('check-model ignores a transform that TRANSFORM=off turns off', async () => {
  const { transform, problems } = await check(both(PREPROCESS), { TRANSFORM: 'off' })
  assert.deepEqual([transform, problems], [undefined, []])
})
