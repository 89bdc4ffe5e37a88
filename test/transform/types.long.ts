import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { openSession } from '../../function/inference/session.ts'
import type { Signature, TensorMetadata } from '../../function/protocol/tensor.ts'
import { modelTypes, modelTypesFile } from '../../function/transform/model-types.ts'
import { testModel } from '../server.ts'

/* One run of TypeScript's compiler checks all files of types/ and the types of every test model. */

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const TYPES = fileURLToPath(new URL('types', import.meta.url))
const MODELS = readdirSync(testModel('')).filter(
  name =>
    existsSync(join(testModel(name), 'cases.json')) &&
    existsSync(join(testModel(name), 'model.onnx')),
)

const tensor = (name: string, dimensions: readonly (string | number)[]): TensorMetadata => ({
  name,
  datatype: 'FP32',
  shape: dimensions.map(dimension => (typeof dimension === 'number' ? dimension : -1)),
  dimensionNames: dimensions.map(dimension => (typeof dimension === 'number' ? '' : dimension)),
  anyRank: false,
})

const ODD: Signature = {
  inputs: [
    ["it's", ['N', 'N']],
    ['say "x"', ['function', 'class']],
    ['a\\', ['batch size', 4]],
    ['a/b:0', []],
    ['*/ // `', [0]],
    ['line\nend\u2028end', ['']],
    ['__proto__', ['N', 224, '?']],
    ['constructor', [1]],
    ['1st', [16, 17]],
    ['日本', ['日本']],
    ['', ['$_1']],
  ].map(([name, dimensions]) => tensor(name as string, dimensions as (string | number)[])),
  outputs: [],
}

let errors: readonly string[]

before(async () => {
  const folder = mkdtempSync(join(tmpdir(), 'types-'))
  after(() => rmSync(folder, { recursive: true }))
  write(folder, 'odd', ODD)
  for (const model of MODELS) write(folder, model, await signatureOf(model))
  writeDocumented(folder)
  const config = {
    extends: join(TYPES, 'tsconfig.json'),
    compilerOptions: { typeRoots: [join(ROOT, 'node_modules/@types')] },
    include: [folder, TYPES],
  }
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}')
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(config))
  const tsc = join(ROOT, 'node_modules/typescript/bin/tsc')
  const { stdout } = spawnSync(process.execPath, [tsc, '-p', folder, '--pretty', 'false'], {
    encoding: 'utf8',
  })
  errors = stdout
    .trim()
    .split(/\n(?! )/)
    .filter(error => error !== '')
})

async function signatureOf(model: string): Promise<Signature> {
  const session = await openSession(join(testModel(model), 'model.onnx'), 1)
  await session.close()
  return session.signature
}

function write(folder: string, model: string, signature: Signature): void {
  const { inputs, outputs } = signature
  const names = (tensors: readonly TensorMetadata[]) => JSON.stringify(tensors.map(t => t.name))
  writeFileSync(
    join(folder, modelTypesFile(`${model}.onnx`)),
    modelTypes(signature, `${model}.onnx`),
  )
  writeFileSync(
    join(folder, `${model}.ts`),
    `import type { Transform } from '${join(ROOT, 'function/transform/contract.ts')}'
import type { Model } from './${model}.onnx'
export const inputs: readonly (keyof Model['inputs'])[] = ${names(inputs)}
export const outputs: readonly (keyof Model['outputs'])[] = ${names(outputs)}
export const transform: Transform<Model> = {}
`,
  )
}

function writeDocumented(folder: string): void {
  const page = readFileSync(join(ROOT, 'docs/transform.md'), 'utf8')
  const [example = '', , types = ''] = Array.from(
    page.matchAll(/```ts\n([\s\S]*?)```/g),
    ([, code]) => code,
  )
  assert.match(types, /^export interface Model/)
  writeFileSync(join(folder, 'documented.d.onnx.ts'), types)
  writeFileSync(join(folder, 'documented.ts'), example.replace('./model.onnx', './documented.onnx'))
}

test('correct transforms compile, and schemas and models have the expected types', () => {
  assert.ok(MODELS.length > 20)
  assert.deepEqual(
    errors.filter(error => !error.includes('wrong.ts')),
    [],
  )
})

test('the compiler reports every mistake on its line, and no other errors', () => {
  const lines = readFileSync(join(TYPES, 'wrong.ts'), 'utf8').split('\n')
  const mistakes = lines.flatMap((line, i) => {
    const [, words] = /\/\/ wrong: (.*)/.exec(line) ?? []
    // The mistake is on the line after the comment, and line numbers begin at 1.
    return words === undefined ? [] : [{ line: i + 2, words }]
  })
  assert.ok(mistakes.length > 15)
  const found = errors.filter(error => error.includes('wrong.ts'))
  assert.deepEqual(
    found.map(error => Number(/wrong\.ts\((\d+),/.exec(error)?.[1])),
    mistakes.map(({ line }) => line),
  )
  for (const [i, { line, words }] of mistakes.entries())
    assert.ok(found[i]?.includes(words), `line ${line}: ${words}\n${found[i]}`)
})

test('onnx-function types reads a text model on a system without the locale en_US.UTF-8', () => {
  const command = ['function/main.ts', 'types', '--check', 'examples/spam/model']
  const { status, stderr } = spawnSync(process.execPath, command, { cwd: ROOT, encoding: 'utf8' })
  assert.deepEqual([status, stderr], [0, ''])
})
