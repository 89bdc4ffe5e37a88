import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { promisify } from 'node:util'
import type { Browser, BrowserContextOptions, Page } from 'playwright-core'
import { type ServerProcess, startProcess } from '../server.ts'
import {
  accessibility,
  answered,
  DESKTOP,
  launch,
  overflow,
  PHONE,
  picture,
  text,
} from './browser.ts'

const PNG =
  'iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAAAAABX3VL4AAAADElEQVR42mNg+A+EAAYAAf+tLDclAAAAAElFTkSuQmCC'

const TRANSFORMS = {
  fields: `
    input: {
      type: 'object',
      description: 'A flower.',
      required: ['sepalLength', 'sepalWidth', 'petal'],
      additionalProperties: false,
      properties: {
        sepalLength: { type: 'number', title: 'Sepal length', description: 'In cm', exclusiveMinimum: 0 },
        sepalWidth: { type: 'number', maximum: 100 },
        petal: { type: 'array', items: { type: 'number' }, minItems: 2 },
        isWild: { type: 'boolean' },
        colour: { enum: ['blue', 'white'] },
        note: { type: 'string' },
        count: { type: 'integer' },
      },
      examples: [{ sepalLength: 5.1, sepalWidth: 3.5, petal: [1.4, 0.2] }],
    },
    output: { type: 'object', properties: { species: { type: 'string', description: 'What it is' } } },
    preprocess: ({ sepalLength, sepalWidth, petal }) => ({ input: [[sepalLength, sepalWidth, ...petal]] }),
    postprocess: ({ predicted_class, probabilities }, data) => ({
      species: predicted_class.data[0],
      probabilities: probabilities.data,
      got: data,
    }),`,
  picture: `
    input: { contentMediaType: 'image/png', contentEncoding: 'base64', examples: ['${PNG}'] },
    preprocess: data => ({ input: [[data.length, 1, 1, 1]] }),
    postprocess: (outputs, data, { contentType }) =>
      data.length < 100 ? { bytes: data.length, contentType } : { body: data, contentType: 'image/png' },`,
  message: `
    input: { type: 'string', examples: ['hello'] },
    preprocess: data => ({ input: [[data.length, 1, 1, 1]] }),
    postprocess: (outputs, data) => data === 'nothing' ? undefined : data.toUpperCase(),`,
  anything: `
    preprocess: () => ({ input: [[5.1, 3.5, 1.4, 0.2]] }),
    postprocess: (outputs, data, { contentType }) => ({ contentType, kind: data.constructor.name }),`,
  before: `
    input: { type: 'array', items: { type: 'number' }, examples: [[5.1, 3.5, 1.4, 0.2]] },
    preprocess: data => ({ input: [data] }),`,
  after: `
    postprocess: ({ predicted_class }) => ({ species: predicted_class.data[0] }),`,
}

let folder: string
let browser: Browser
const servers = {} as Record<keyof typeof TRANSFORMS, ServerProcess>

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'transforms-'))
  browser = await launch()
  const started = Object.entries(TRANSFORMS).map(async ([name, code]) => {
    const file = join(folder, `${name}.js`)
    writeFileSync(file, `export default {${code}\n}\n`)
    servers[name as keyof typeof TRANSFORMS] = await startProcess({ TRANSFORM: file }, [], 600_000)
  })
  await Promise.all(started)
})
after(async () => {
  await browser?.close()
  for (const server of Object.values(servers)) server.process.kill()
  rmSync(folder, { recursive: true })
})

const shell = (command: string) => promisify(execFile)('bash', ['-c', command], { cwd: folder })

/** Afterwards, the page must have no errors. */
async function withPage(
  server: ServerProcess,
  options: BrowserContextOptions,
  use: (page: Page) => Promise<void>,
): Promise<void> {
  const page = await (await browser.newContext(options)).newPage()
  const complaints: string[] = []
  page.on('pageerror', error => complaints.push(String(error)))
  page.on('console', message => {
    if (message.type() !== 'log' && !/status of 4\d\d/.test(message.text()))
      complaints.push(message.text())
  })
  try {
    await page.goto(server.url)
    await use(page)
    assert.deepEqual(complaints, [], 'the browser logged errors or warnings')
    assert.deepEqual(await accessibility(page), [])
    assert.equal(await overflow(page), 0, 'the page is wider than the screen')
  } finally {
    await page.context().close()
  }
}

async function run(page: Page): Promise<void> {
  await page.getByRole('button', { name: 'Run', exact: true }).click()
  await answered(page)
}

const raw = async (page: Page) => JSON.parse(await text(page.locator('#raw pre')))

for (const [screen, options] of Object.entries({ desktop: DESKTOP, phone: PHONE }))
  describe(`with a transform, on a ${screen}`, () => {
    test('the page runs the schema’s example and shows the members of the response', () =>
      withPage(servers.fields, options, async page => {
        const asked = page.waitForRequest(request => request.method() === 'POST')
        await page.reload()
        assert.equal(new URL((await asked).url()).pathname, '/')
        await answered(page)
        assert.equal(await text(page.locator('.said').first()), 'setosa')
        assert.match(await text(page.locator('.output h3').first()), /^species\s*What it is$/)
        assert.match(await text(page.locator('.bars .largest')), /0\.9787$/)
        await picture(page, `transform-fields-${screen}`)
      }))

    test('an error appears next to the field that it names', () =>
      withPage(servers.fields, options, async page => {
        await answered(page)
        const field = page.getByLabel('Sepal length', { exact: true })
        await field.fill('long')
        await field.press('Enter')
        await page.locator('.field .problem').waitFor()
        assert.match(await text(page.locator('.field .problem')), /^\/sepalLength must be number/)
        assert.equal(await field.getAttribute('aria-invalid'), 'true')
        assert.equal(await field.getAttribute('aria-describedby'), 'field-0-problem field-0-hint')
        assert.ok(await field.evaluate(element => element === document.activeElement))
        await picture(page, `transform-refused-${screen}`)
      }))

    test('the page sends a selected picture, and shows a returned picture', () =>
      withPage(servers.picture, options, async page => {
        await answered(page)
        assert.deepEqual(await raw(page), { bytes: 69, contentType: 'image/png' })
        const [name, mimeType] = ['it\u2019s.png', 'image/png']
        const buffer = Buffer.concat([Buffer.from(PNG, 'base64'), Buffer.alloc(100)])
        await page.locator('input[type=file]').setInputFiles({ name, mimeType, buffer })
        await page.getByText(`${name}: 169 bytes of image/png`).waitFor()
        await page.getByText('The form has changed since this response.').waitFor()
        await run(page)
        await page.getByRole('img', { name: 'The response' }).waitFor()
        await picture(page, `transform-picture-${screen}`)
      }))
  })

describe('the form for a transform', () => {
  test('sends every kind of field, and omits empty optional fields', () =>
    withPage(servers.fields, DESKTOP, async page => {
      await answered(page)
      const example = { sepalLength: 5.1, sepalWidth: 3.5, petal: [1.4, 0.2] }
      assert.deepEqual((await raw(page)).got, { ...example, isWild: false })
      await page.getByLabel('isWild').check()
      await page.getByLabel('colour').selectOption('white')
      await page.getByLabel('note').fill(`it's "$HOME"`)
      await page.getByLabel('count').fill('7')
      await page.getByLabel('petal').fill('[6.0, 2.5]')
      await run(page)
      const filled = {
        petal: [6, 2.5],
        isWild: true,
        colour: 'white',
        note: `it's "$HOME"`,
        count: 7,
      }
      assert.deepEqual((await raw(page)).got, { ...example, ...filled })
      await page.getByRole('button', { name: 'Reset' }).click()
      await run(page)
      assert.deepEqual((await raw(page)).got, { ...example, isWild: false })
    }))

  test('can be edited as JSON, and then as fields again', () =>
    withPage(servers.fields, DESKTOP, async page => {
      await answered(page)
      await page.getByLabel('Sepal length', { exact: true }).fill('6.5')
      await page.getByLabel('Input as').selectOption('JSON')
      const area = page.getByLabel('JSON', { exact: true })
      assert.equal(JSON.parse(await area.inputValue()).sepalLength, 6.5)
      await area.fill('{"sepalLength": 4.5,')
      await page.getByRole('button', { name: 'Run', exact: true }).click()
      await page.getByText('this is not valid JSON').first().waitFor()
      assert.equal(await area.getAttribute('aria-invalid'), 'true')
      await area.fill('{"sepalLength": 4.5, "sepalWidth": "wide", "petal": [1, 1]}')
      await page.getByRole('button', { name: 'Run', exact: true }).click()
      await page.locator('.problem', { hasText: '/sepalWidth must be number' }).waitFor()
      await page.getByLabel('Input as').selectOption('fields')
      assert.equal(await page.getByLabel('Sepal length', { exact: true }).inputValue(), '4.5')
      await page.getByLabel('sepalWidth', { exact: true }).fill('3')
      await run(page)
      assert.equal((await raw(page)).got.sepalWidth, 3)
    }))

  test('reports which field is not valid JSON, and sends no request', () =>
    withPage(servers.fields, DESKTOP, async page => {
      await answered(page)
      await page.getByLabel('petal').fill('[1,')
      await page.getByText('The form cannot be sent yet: petal is not valid JSON').first().waitFor()
      await page.getByRole('button', { name: 'Run', exact: true }).click()
      await page.locator('.field .problem', { hasText: 'petal is not valid JSON' }).waitFor()
      assert.match(await text(page.locator('#status')), /^Not sent/)
    }))

  test('accepts a file that is dropped on the page', () =>
    withPage(servers.picture, DESKTOP, async page => {
      await answered(page)
      await page.evaluate(() => {
        const dataTransfer = new DataTransfer()
        dataTransfer.items.add(new File(['abc'], 'small.png', { type: 'image/png' }))
        for (const type of ['dragover', 'drop'])
          document.body.dispatchEvent(new DragEvent(type, { dataTransfer, bubbles: true }))
      })
      await page.getByText('small.png: 3 bytes of image/png').waitFor()
      await run(page)
      assert.deepEqual(await raw(page), { bytes: 3, contentType: 'image/png' })
    }))

  test('sends text if the schema is a string, and shows an empty response', () =>
    withPage(servers.message, DESKTOP, async page => {
      await answered(page)
      assert.equal(await text(page.locator('.said')), 'HELLO')
      await page.getByLabel('Text', { exact: true }).fill('nothing')
      await run(page)
      await page.getByText('The response has no content.').waitFor()
      assert.equal(await page.locator('#raw').isVisible(), false)
    }))

  test('accepts JSON, text or a file if there is no schema, and sends no request by itself', () =>
    withPage(servers.anything, DESKTOP, async page => {
      await page.getByText('Fill in the form and press Run.').waitFor()
      await page.getByLabel('JSON', { exact: true }).fill('[1]')
      await run(page)
      assert.deepEqual(await raw(page), { contentType: 'application/json', kind: 'Array' })
      await page.getByLabel('Input as').selectOption('text')
      await page.getByLabel('Text', { exact: true }).fill('hello')
      await run(page)
      assert.deepEqual(await raw(page), { contentType: 'text/plain', kind: 'String' })
      await page.getByLabel('Input as').selectOption('a file')
      const file = { name: 'a.avro', mimeType: 'application/avro', buffer: Buffer.from('abc') }
      await page.locator('input[type=file]').setInputFiles(file)
      await run(page)
      const { contentType, kind } = await raw(page)
      assert.deepEqual([contentType, /Array|Buffer/.test(kind)], ['application/avro', true])
    }))

  test('shows the response of the model if there is no postprocess', () =>
    withPage(servers.before, DESKTOP, async page => {
      await answered(page)
      assert.match(await text(page.locator('.bars .largest')), /^setosa0\.9787$/)
    }))

  test('has tensor fields and sends them to POST / if there is no preprocess', () =>
    withPage(servers.after, DESKTOP, async page => {
      const asked = page.waitForRequest(request => request.method() === 'POST')
      await page.reload()
      assert.equal(new URL((await asked).url()).pathname, '/')
      await answered(page)
      assert.deepEqual(await raw(page), { species: 'setosa' })
      await page.getByLabel('input, row 1, petal length (cm)', { exact: true }).waitFor()
    }))
})

for (const [name, modes] of [
  ['fields', ['binary', 'structured']],
  ['message', ['binary', 'structured']],
  ['picture', ['binary', 'structured']],
] as const)
  test(`the commands for a transform send the same request as the form: ${name}`, () =>
    withPage(servers[name], DESKTOP, async page => {
      await answered(page)
      const shown = await raw(page)
      const { stdout } = await shell(
        (await page.locator('#curl').innerText()).replace('curl', 'curl -sS'),
      )
      assert.deepEqual(JSON.parse(stdout), shown)
      for (const mode of modes) {
        await page.getByLabel('Mode').selectOption(mode)
        const command = (await page.locator('#event').innerText()).replace('curl', 'curl -sS')
        const answer = JSON.parse((await shell(command)).stdout)
        assert.deepEqual(mode === 'binary' ? answer : answer.data, shown, mode)
      }
    }))
