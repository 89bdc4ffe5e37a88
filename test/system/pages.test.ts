import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { after, afterEach, before, beforeEach, describe, test } from 'node:test'
import { promisify } from 'node:util'
import { type Browser, type BrowserContextOptions, chromium, type Locator, type Page } from 'playwright-core'
import { type ServerProcess, startProcess, testModel } from '../server.ts'

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium'
/** Where pictures of the pages go, for somebody to look at; none are made where it is not set. */
const { SCREENSHOTS } = process.env

const DESKTOP: BrowserContextOptions = { viewport: { width: 1280, height: 900 }, colorScheme: 'light' }
const PHONE: BrowserContextOptions = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, colorScheme: 'dark', hasTouch: true }

let browser: Browser
let iris: ServerProcess
let binary: ServerProcess

before(async () => {
  assert.ok(existsSync(CHROMIUM), `these tests drive Chromium, and there is none at ${CHROMIUM}: apt-get install chromium, or set CHROMIUM`)
  browser = await chromium.launch({
    executablePath: CHROMIUM,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  })
  iris = await startProcess()
  binary = await startProcess({ MODEL_DIR: testModel('identity-fp16') })
})
after(async () => {
  await browser?.close()
  for (const server of [iris, binary]) server?.process.kill()
})

for (const [screen, options] of Object.entries({ desktop: DESKTOP, phone: PHONE })) {
  describe(`on a ${screen}`, () => {
    let page: Page
    let complaints: string[]

    beforeEach(async () => {
      const context = await browser.newContext(options)
      page = await context.newPage()
      complaints = []
      page.on('pageerror', error => complaints.push(String(error)))
      page.on('console', message => {
        // A refused request is the point of some tests; Chromium tells of it as of a mistake.
        if (message.type() !== 'log' && !/status of 4\d\d/.test(message.text())) complaints.push(message.text())
      })
    })

    afterEach(async () => {
      assert.deepEqual(complaints, [], 'the browser complained')
      assert.equal(await overflow(page), 0, 'the page is wider than the screen')
      await page.context().close()
    })

    test('the API page sends the example, and shows what came back', async () => {
      await page.goto(`${iris.url}/docs`)
      const infer = operation(page, 'infer')
      await infer.getByRole('button', { name: 'Send' }).click()
      await infer.getByText('200 OK').waitFor()
      assert.match(await text(infer.getByLabel('Body of the answer')), /"data": \["setosa"\]/)
      assert.match(await text(infer.locator('dl.headers')), /content-type *application\/json/)
      await picture(page, `docs-${screen}`)
    })

    test('the API page sends what was typed, and shows why it was refused', async () => {
      await page.goto(`${iris.url}/docs`)
      const infer = operation(page, 'infer')
      const body = infer.getByLabel('Body', { exact: true })
      await body.fill((await body.inputValue()).replace('[1, 4]', '[1, 5]'))
      await body.press('Control+Enter')
      await infer.getByText('400 Bad Request').waitFor()
      assert.match(await text(infer.getByLabel('Body of the answer')), /"error": "input \\"input\\": shape \[1,5\] does not fit/)
      await picture(page, `docs-refused-${screen}`)
    })

    test('GET / says what is served, and leads to the API page', async () => {
      await page.goto(iris.url)
      await page.getByRole('heading', { name: 'iris-classifier v1.0.0' }).waitFor()
      await picture(page, `root-${screen}`)
      await page.getByRole('link', { name: 'Try it' }).click()
      await operation(page, 'infer').waitFor()
    })
  })
}

describe('the API page', () => {
  let page: Page
  before(async () => {
    page = await browser.newPage()
  })
  after(() => page.close())

  test('is used with the keyboard alone', async () => {
    await page.goto(`${iris.url}/docs`)
    const health = operation(page, 'ready')
    await health.locator('summary').first().focus()
    await page.keyboard.press('Enter')
    for (const next of ['method', 'path', 'headers']) {
      await page.keyboard.press('Tab')
      assert.equal(await page.evaluate(() => document.activeElement?.getAttribute('name')), next)
    }
    await page.keyboard.type('X-Request-Id: typed')
    await page.keyboard.press('Tab')
    await page.keyboard.press('Enter')
    await health.getByText('200 OK').waitFor()
    assert.match(await text(health.locator('dl.headers')), /x-request-id *typed/)
  })

  test('gives every field a name', async () => {
    await page.goto(`${iris.url}/docs`)
    const unnamed = await page.evaluate(
      () =>
        Array.from(document.querySelectorAll<HTMLInputElement>('input, select, textarea')).filter(({ labels }) => !labels?.length).length,
    )
    assert.equal(unnamed, 0)
  })

  test('sends an event in each mode', async () => {
    await page.goto(`${iris.url}/docs#receive`)
    const receive = operation(page, 'receive')
    await receive.waitFor()
    const sent = new Set<string>()
    const example = receive.getByLabel('Example')
    for (const mode of await example.locator('option').allInnerTexts()) {
      await example.selectOption(mode)
      const answer = page.waitForResponse(`${iris.url}/`)
      await receive.getByRole('button', { name: 'Send' }).click()
      const response = await answer
      assert.equal(response.status(), 200, mode)
      sent.add(`${mode}: ${response.headers()['content-type']?.split(';')[0]} ${response.headers()['ce-type'] ?? ''}`.trim())
    }
    assert.deepEqual(
      [...sent],
      [
        'An event in binary mode: application/json com.example.inference.response',
        'An inference request: application/json',
        'An event in structured mode: application/cloudevents+json',
        'Two events in batched mode: application/cloudevents-batch+json',
        'Binary tensor data: application/octet-stream',
      ],
    )
  })

  test('sends binary tensor data where JSON cannot say it, and keeps the length of its JSON right', async () => {
    await page.goto(`${binary.url}/docs`)
    const infer = operation(page, 'infer')
    const body = infer.getByLabel('Body', { exact: true })
    await body.fill((await body.inputValue()).replace('req-001', 'a longer id'))
    await infer.getByRole('button', { name: 'Send' }).click()
    await infer.getByText('200 OK').waitFor()
    const answer = await text(infer.getByLabel('Body of the answer'))
    assert.match(answer, /"id": "a longer id"/)
    assert.match(answer, /2 bytes of binary tensor data:\s+00 00$/)
    await picture(page, 'docs-binary')
  })

  test('shows integers beyond 2^53 as they came', async () => {
    const server = await startProcess({ MODEL_DIR: testModel('identity-int64') })
    await page.goto(`${server.url}/docs`)
    const infer = operation(page, 'infer')
    const body = infer.getByLabel('Body', { exact: true })
    await body.fill((await body.inputValue()).replace('"data": [0]', '"data": [9007199254740993]'))
    await infer.getByRole('button', { name: 'Send' }).click()
    await infer.getByText('200 OK').waitFor()
    assert.match(await text(infer.getByLabel('Body of the answer')), /\[9007199254740993\]/)
    server.process.kill()
  })

  test('shows the curl for exactly what is in the form, and copies it', async () => {
    await page.context().grantPermissions(['clipboard-read', 'clipboard-write'])
    for (const [server, id] of [
      [iris, 'infer'],
      [iris, 'receive'],
      [iris, 'health'],
      [binary, 'infer'],
    ] as const) {
      await page.goto(`${server.url}/docs#${id}`)
      const form = operation(page, id)
      if (id !== 'health') {
        const body = form.getByLabel('Body', { exact: true })
        await body.fill((await body.inputValue()).replace('req-001', `it's "$HOME" \\n`.replaceAll(/["\\]/g, '\\$&')))
      }
      await form.getByRole('button', { name: 'Copy' }).click()
      await form.getByRole('button', { name: 'Copied' }).waitFor()
      const { stdout } = await shell((await page.evaluate(() => navigator.clipboard.readText())).replace('curl', 'curl -sSi'))
      assert.match(stdout, /^HTTP\/1\.1 200 OK/, id)
      if (id !== 'health') assert.ok(stdout.includes(`"id":"it's \\"$HOME\\" \\\\n"`), stdout)
    }
  })
})

const shell = (command: string) => promisify(execFile)('bash', ['-c', command])

const text = async (locator: Locator) => (await locator.textContent()) ?? ''

const operation = (page: Page, id: string) => page.locator(`#${id}`)

const overflow = (page: Page) => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)

async function picture(page: Page, name: string): Promise<void> {
  if (SCREENSHOTS !== undefined) await page.screenshot({ path: `${SCREENSHOTS}/${name}.png`, fullPage: true })
}
