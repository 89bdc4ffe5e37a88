import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, beforeEach, describe, test } from 'node:test'
import { promisify } from 'node:util'
import type { Browser, Page, Route } from 'playwright-core'
import { type ServerProcess, startProcess, testModel } from '../server.ts'
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

const PETAL_LENGTH = 'input, row 1, petal length (cm)'

let browser: Browser
let iris: ServerProcess
let binary: ServerProcess

before(async () => {
  browser = await launch()
  iris = await startProcess({}, [], 600_000)
  binary = await startProcess({ MODEL_DIR: testModel('identity-fp16') }, [], 600_000)
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
        // Chromium logs an error response, which some tests cause, as an error.
        if (message.type() !== 'log' && !/status of 4\d\d/.test(message.text()))
          complaints.push(message.text())
      })
    })

    afterEach(async () => {
      assert.deepEqual(complaints, [], 'the browser logged errors or warnings')
      assert.equal(await overflow(page), 0, 'the page is wider than the screen')
      await page.context().close()
    })

    test('the API page sends the example and shows the response', async () => {
      await page.goto(`${iris.url}/docs`)
      const infer = operation(page, 'infer')
      await infer.getByRole('button', { name: 'Send' }).click()
      await infer.getByText('200 OK').waitFor()
      assert.match(await text(infer.getByLabel('Body of the response')), /"data": \["setosa"\]/)
      assert.match(await text(infer.locator('dl.headers')), /content-type *application\/json/)
      await picture(page, `docs-${screen}`)
    })

    test('the API page sends an edited body and shows the error', async () => {
      await page.goto(`${iris.url}/docs`)
      const infer = operation(page, 'infer')
      const body = infer.getByLabel('Body', { exact: true })
      await body.fill((await body.inputValue()).replace('[1, 4]', '[1, 5]'))
      await body.press('Control+Enter')
      await infer.getByText('400 Bad Request').waitFor()
      assert.match(
        await text(infer.getByLabel('Body of the response')),
        /"error": "input \\"input\\": shape \[1,5\] does not fit/,
      )
      await picture(page, `docs-refused-${screen}`)
    })

    test('the page at GET / runs the example when it opens, and shows the response as bars', async () => {
      const asked: string[] = []
      page.on('request', request => {
        if (request.method() === 'POST') asked.push(new URL(request.url()).pathname)
      })
      await page.goto(iris.url)
      await page.getByRole('heading', { name: 'iris-classifier v1.0.0' }).waitFor()
      await answered(page)
      assert.deepEqual(asked, ['/v2/models/iris-classifier/infer'])
      assert.equal(await text(page.locator('.said')), 'setosa')
      assert.match(await text(page.locator('.bars .largest')), /^setosa0\.9787$/)
      assert.deepEqual(await accessibility(page), [])
      await picture(page, `playground-${screen}`)
      await page.getByRole('link', { name: 'API', exact: true }).click()
      await operation(page, 'infer').waitFor()
    })

    test('the page at GET / shows an error next to the field that it names', async () => {
      await page.goto(iris.url)
      const field = page.getByLabel(PETAL_LENGTH, { exact: true })
      await field.fill('long')
      await field.press('Enter')
      const said = page.getByText('data[2] is "long"; FP32 accepts numbers')
      await said.last().waitFor()
      assert.equal(await field.getAttribute('aria-invalid'), 'true')
      assert.equal(
        await field.evaluate(element =>
          document
            .getElementById(element.getAttribute('aria-describedby') ?? '')
            ?.textContent?.slice(0, 7),
        ),
        'data[2]',
      )
      assert.ok(await field.evaluate(element => element === document.activeElement))
      assert.match(await text(page.locator('#status')), /^400 Bad Request: input input: data\[2\]/)
      assert.deepEqual(await accessibility(page), [])
      await picture(page, `playground-refused-${screen}`)
    })
  })
}

describe('the page at GET /', () => {
  let page: Page
  let complaints: string[]
  let servers: ServerProcess[]

  beforeEach(async () => {
    page = await (await browser.newContext(DESKTOP)).newPage()
    servers = []
    complaints = []
    page.on('pageerror', error => complaints.push(String(error)))
    page.on('console', message => {
      if (message.type() !== 'log' && !/status of [45]\d\d/.test(message.text()))
        complaints.push(message.text())
    })
  })
  afterEach(async () => {
    assert.deepEqual(complaints, [], 'the browser logged errors or warnings')
    assert.deepEqual(await accessibility(page), [])
    await page.context().close()
    for (const server of servers) server.process.kill()
  })

  async function open(env: Record<string, string>): Promise<ServerProcess> {
    const server = await startProcess(env)
    servers.push(server)
    await page.goto(server.url)
    return server
  }
  const run = async () => {
    await page.getByRole('button', { name: 'Run', exact: true }).click()
    await answered(page)
  }
  const outputs = () => page.locator('.output').allInnerTexts()

  /**
   * The values to enter in the form of each model, and the outputs that the page must then show.
   */
  const FORMS: readonly {
    readonly model: string
    readonly fill: readonly (readonly [label: string, value: string | boolean])[]
    readonly answers: readonly RegExp[]
  }[] = [
    {
      model: 'two-in-two-out',
      fill: [
        ['a, row 1, [1]', '4'],
        ['b, row 1, value', '9007199254740993'],
      ],
      answers: [/^total/, /doubled.*18014398509481986/s],
    },
    { model: 'identity-bool', fill: [['x, row 1, value', true]], answers: [/true/] },
    {
      model: 'identity-bytes',
      fill: [['x, row 1, value', `it's "é" <b>`]],
      answers: [/it's "é" <b>/],
    },
    {
      model: 'identity-int64',
      fill: [['x, row 1, value', '-9223372036854775808']],
      answers: [/-9223372036854775808/],
    },
    { model: 'identity-fp16', fill: [['x, row 1, value', '1.5']], answers: [/FP16.*1\.5/s] },
    { model: 'specials', fill: [], answers: [/./s] },
    { model: 'scalar', fill: [['x', '2']], answers: [/\d/] },
    {
      model: 'unknown-rank',
      fill: [['x, nested or flat', '[[1, 2], [3, 4]]']],
      answers: [/\[2, 2\]/],
    },
  ]
  for (const { model, fill, answers } of FORMS) {
    test(`has a form for the model ${model}`, async () => {
      await open({ MODEL_DIR: testModel(model) })
      await run()
      for (const [label, value] of fill) {
        const field = page.getByLabel(label, { exact: true })
        if (typeof value === 'string') await field.fill(value)
        else await field.setChecked(value)
      }
      await run()
      const shown = await outputs()
      for (const [i, answer] of answers.entries()) assert.match(shown[i] ?? '', answer)
      await picture(page, `playground-${model}`)
    })
  }

  test('adds and removes rows in every input that shares them, and keeps the focus', async () => {
    await open({ MODEL_DIR: testModel('two-in-two-out') })
    await page.getByRole('button', { name: 'Add a row' }).first().click()
    await page.getByLabel('b, row 2, value', { exact: true }).fill('5')
    await run()
    assert.match((await outputs()).join(), /Row 2\s+10/)
    await page.getByRole('button', { name: 'Remove row 1' }).first().press('Enter')
    assert.equal(await page.evaluate(() => document.activeElement?.textContent), 'Add a row')
    await run()
    assert.match(
      await page.locator('#curl').innerText(),
      /"shape":\[1,2\].*"shape":\[1\],"datatype":"INT64","data":\[5\]/s,
    )
  })

  test('has a field for the size of a variable dimension after the first', async () => {
    await open({ MODEL_DIR: testModel('middle') })
    await page.getByLabel('n', { exact: true }).fill('2')
    await page.getByLabel('n', { exact: true }).press('Tab')
    await page.getByText('12 values in shape [2, 2, 3]').waitFor()
    await run()
  })

  test('accepts rows pasted as JSON, and adapts the shape', async () => {
    await page.goto(iris.url)
    await page.getByLabel('Input as').selectOption('JSON')
    const json = page.getByLabel('input, nested or flat', { exact: true })
    await json.fill('[[5.1,3.5,1.4,0.2],\n [6.3,3.3,6.0,2.5]]')
    await page.getByText('8 values in shape [2, 4]').waitFor()
    await run()
    assert.match((await outputs())[0] ?? '', /Row 1\s+setosa\s+Row 2\s+virginica/)
    await json.fill('[[5.1,')
    await page.getByRole('button', { name: 'Run', exact: true }).click()
    await page.getByText('this is not valid JSON').first().waitFor()
    assert.equal(await json.getAttribute('aria-invalid'), 'true')
  })

  test('shows an error above the response if the error names no input', async () => {
    await open({ MODEL_DIR: testModel('failing') })
    await page.getByLabel('index, row 1, value', { exact: true }).fill('99')
    await page.getByRole('button', { name: 'Run', exact: true }).click()
    await page.locator('#problem:not([hidden])').waitFor()
    assert.match(await text(page.locator('#status')), /^500/)
    assert.equal(await page.locator('[aria-invalid]').count(), 0)
  })

  test('generates values for a large input, and offers the request as a file', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'page-'))
    const server = await open({ MODEL_DIR: testModel('identity-fp32') })
    const dimension = page.getByLabel('Input as')
    await dimension.selectOption('JSON')
    await page
      .getByLabel('x, nested or flat', { exact: true })
      .fill(`[${new Array(10_000).fill('0.5')}]`)
    await dimension.selectOption('generated')
    await page.getByLabel('x, Values').selectOption('ones')
    await run()
    assert.match((await outputs())[0] ?? '', /9,980 more rows/)
    assert.equal(await page.locator('input[type=range]').count(), 0)
    const downloading = page.waitForEvent('download')
    await page.getByRole('link', { name: 'request.json' }).click()
    await (await downloading).saveAs(join(folder, 'request.json'))
    const { stdout } = await shell(
      `cd ${folder} && ${(await page.locator('#curl').innerText()).replace('curl', 'curl -sS')}`,
    )
    assert.equal(JSON.parse(stdout).outputs[0].data.length, 10_000)
    assert.ok(server.url)
    rmSync(folder, { recursive: true })
  })

  test('works with only the keyboard', async () => {
    await page.goto(iris.url)
    const field = page.getByLabel(`${PETAL_LENGTH}, slider`, { exact: true })
    for (
      let i = 0;
      i < 30 && !(await field.evaluate(element => element === document.activeElement));
      i++
    )
      await page.keyboard.press('Tab')
    await page.keyboard.press('End')
    await page.keyboard.press('Tab')
    assert.equal(
      await page.evaluate(() => (document.activeElement as HTMLInputElement).value),
      '10',
    )
    await page.keyboard.press('ArrowLeft')
    await page.keyboard.press('Enter')
    await answered(page)
    assert.equal(await text(page.locator('.said')), 'versicolor')
  })

  test('runs at each change if selected', async () => {
    await page.goto(iris.url)
    await page.getByLabel('Run on change').check()
    await page.getByLabel(PETAL_LENGTH, { exact: true }).fill('9')
    await page.locator('.said', { hasText: 'versicolor' }).waitFor()
    await page.getByRole('button', { name: 'Reset' }).click()
    await page.locator('.said', { hasText: 'setosa' }).waitFor()
  })

  test('runs on change with one request at a time, and finally sends the last change', async () => {
    await page.goto(iris.url)
    await answered(page)
    const first = Promise.withResolvers<Route>()
    const last = Promise.withResolvers<Route>()
    let sent = 0
    await page.route('**/infer', route => {
      sent++
      if (sent === 1) first.resolve(route)
      else last.resolve(route)
    })
    await page.getByLabel('Run on change').check()
    await first.promise
    for (const value of ['3', '6', '9'])
      await page.getByLabel(PETAL_LENGTH, { exact: true }).fill(value)
    assert.equal(sent, 1)
    await (await first.promise).continue()
    const route = await last.promise
    assert.match(route.request().postData() ?? '', /5\.1,3\.5,9,0\.2/)
    await route.continue()
    await page.locator('.said', { hasText: 'versicolor' }).waitFor()
    assert.equal(sent, 2)
  })

  test('runs the example only when the page becomes visible, not during prerendering', async () => {
    await page.addInitScript(() => {
      Object.defineProperty(document, 'prerendering', { value: true, configurable: true })
      Object.defineProperty(document, 'visibilityState', { value: 'hidden', configurable: true })
    })
    let asked = 0
    page.on('request', request => {
      if (request.url() !== `${iris.url}/`) asked++
    })
    await page.goto(iris.url, { waitUntil: 'networkidle' })
    assert.equal(asked, 0)
    await page.evaluate(() => {
      Object.defineProperty(document, 'prerendering', { value: false })
      Object.defineProperty(document, 'visibilityState', { value: 'visible' })
      for (const event of ['prerenderingchange', 'visibilitychange'])
        document.dispatchEvent(new Event(event))
    })
    await answered(page)
    assert.equal(await text(page.locator('.said')), 'setosa')
  })

  test('shows that the example is running, and that the form has changed since its response', async () => {
    await page.clock.install()
    const asked = Promise.withResolvers<Route>()
    await page.route('**/infer', route => asked.resolve(route))
    await page.goto(iris.url)
    const route = await asked.promise
    assert.equal(await text(page.locator('#status')), 'Running the example…')
    await page.clock.runFor(2_000)
    await page.getByText('The model may still be starting.').waitFor()
    await page.getByLabel(PETAL_LENGTH, { exact: true }).fill('9')
    await route.continue()
    await answered(page)
    await page.getByText('The form has changed since this response.').waitFor()
    assert.equal(await text(page.locator('.said')), 'setosa')
  })

  test('explains why the example has no response', async () => {
    const server = await open({ MODEL_DIR: testModel('zeros-fail') })
    await page.getByText('The example has no response yet (500 Internal Server Error).').waitFor()
    assert.match(await text(page.locator('#problem')), /failed on this request/)
    assert.equal(await page.locator('[aria-invalid]').count(), 0)
    assert.ok(server.url)
  })

  for (const [what, env, prepare] of [
    ['iris', {}, () => page.getByLabel('Input as').selectOption('JSON')],
    [
      'text with quotes',
      { MODEL_DIR: testModel('identity-bytes') },
      () => page.getByLabel('x, row 1, value').fill(`it's "$HOME" \\n`),
    ],
    [
      'FP16',
      { MODEL_DIR: testModel('identity-fp16') },
      () => page.getByLabel('x, row 1, value', { exact: true }).fill('2'),
    ],
  ] as const) {
    test(`has commands to copy that send the same request as the form: ${what}`, async () => {
      await page.context().grantPermissions(['clipboard-read', 'clipboard-write'])
      await open(env)
      await prepare()
      await run()
      const response = (await page.locator('#raw pre').textContent()) ?? ''
      const modes = what === 'FP16' ? ['binary'] : ['binary', 'structured']
      for (const [button, mode] of [
        ['#copy-curl', ''],
        ...modes.map(mode => ['#copy-event', mode]),
      ] as [string, string][]) {
        if (mode !== '') await page.getByLabel('Mode').selectOption(mode)
        await page.locator(button).click()
        await page.locator(button, { hasText: 'Copied' }).waitFor()
        const { stdout } = await shell(
          (await page.evaluate(() => navigator.clipboard.readText())).replace('curl', 'curl -sSi'),
        )
        assert.match(stdout, /^HTTP\/1\.1 200 OK/)
        assert.equal(mode === 'binary', /^ce-type: com\.example\.inference\.response/m.test(stdout))
        const data = /"data":\[[^\]]*\]/g
        if (what !== 'FP16')
          assert.deepEqual(
            stdout.match(data),
            response.replaceAll(/": \[/g, '":[').replaceAll(', ', ',').match(data),
          )
      }
      assert.equal(
        await page.locator('#mode option[value=structured]').isDisabled(),
        what === 'FP16',
      )
    })
  }

  test('shows request rate and latency, only while the page is visible', async () => {
    await page.clock.install()
    let polls = 0
    page.on('request', request => {
      if (request.url().endsWith('/metrics')) polls++
    })
    const polled = () => page.waitForResponse(/\/metrics$/).then(response => response.finished())
    const first = polled()
    const server = await open({})
    await first
    await run()
    const second = polled()
    await page.clock.runFor(2_000)
    await second
    await page.locator('#rate', { hasText: /^[1-9.0]*[1-9]/ }).waitFor()
    assert.match(await text(page.locator('#p95')), /ms$/)
    await page.clock.runFor(70_000)
    await page.getByText('Paused').waitFor()
    const before = polls
    await page.clock.runFor(60_000)
    assert.equal(polls, before)
    const again = polled()
    await page.keyboard.press('Shift')
    await page.clock.runFor(1)
    await again
    assert.ok(server.url)
  })

  test('shows the model without JavaScript', async () => {
    const context = await browser.newContext({ javaScriptEnabled: false })
    const plain = await context.newPage()
    await plain.goto(iris.url)
    const { stdout } = await shell(
      (await plain.locator('noscript pre').innerText()).replace('curl', 'curl -sS'),
    )
    assert.match(stdout, /setosa/)
    await context.close()
    await page.goto(iris.url)
  })
})

for (const colorScheme of ['light', 'dark'] as const) {
  test(`axe finds no accessibility problem on the pages in the ${colorScheme} colour scheme`, async () => {
    const context = await browser.newContext({ ...DESKTOP, colorScheme })
    const page = await context.newPage()
    for (const path of ['/', '/docs']) {
      await page.goto(iris.url + path)
      await page.locator('main:not([aria-busy])').waitFor()
      assert.deepEqual(await accessibility(page), [], path)
    }
    await context.close()
  })
}

describe('the API page', () => {
  let page: Page
  before(async () => {
    page = await browser.newPage()
  })
  after(() => page.close())

  test('works with only the keyboard', async () => {
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
        Array.from(document.querySelectorAll<HTMLInputElement>('input, select, textarea')).filter(
          ({ labels }) => !labels?.length,
        ).length,
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
      sent.add(
        `${mode}: ${response.headers()['content-type']?.split(';')[0]} ${response.headers()['ce-type'] ?? ''}`.trim(),
      )
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

  test('sends binary tensor data when JSON cannot express it, with the right JSON length', async () => {
    await page.goto(`${binary.url}/docs`)
    const infer = operation(page, 'infer')
    const body = infer.getByLabel('Body', { exact: true })
    await body.fill((await body.inputValue()).replace('req-001', 'a longer id'))
    await infer.getByRole('button', { name: 'Send' }).click()
    await infer.getByText('200 OK').waitFor()
    const answer = await text(infer.getByLabel('Body of the response'))
    assert.match(answer, /"id": "a longer id"/)
    assert.match(answer, /2 bytes of binary tensor data:\s+00 00$/)
    await picture(page, 'docs-binary')
  })

  test('shows integers beyond 2^53 exactly', async () => {
    const server = await startProcess({ MODEL_DIR: testModel('identity-int64') })
    await page.goto(`${server.url}/docs`)
    const infer = operation(page, 'infer')
    const body = infer.getByLabel('Body', { exact: true })
    await body.fill((await body.inputValue()).replace('"data": [0]', '"data": [9007199254740993]'))
    await infer.getByRole('button', { name: 'Send' }).click()
    await infer.getByText('200 OK').waitFor()
    assert.match(await text(infer.getByLabel('Body of the response')), /\[9007199254740993\]/)
    server.process.kill()
  })

  test('shows the curl command for the form’s content, and copies it', async () => {
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
        await body.fill(
          (await body.inputValue()).replace(
            'req-001',
            `it's "$HOME" \\n`.replaceAll(/["\\]/g, '\\$&'),
          ),
        )
      }
      await form.getByRole('button', { name: 'Copy' }).click()
      await form.getByRole('button', { name: 'Copied' }).waitFor()
      const { stdout } = await shell(
        (await page.evaluate(() => navigator.clipboard.readText())).replace('curl', 'curl -sSi'),
      )
      assert.match(stdout, /^HTTP\/1\.1 200 OK/, id)
      if (id !== 'health') assert.ok(stdout.includes(`"id":"it's \\"$HOME\\" \\\\n"`), stdout)
    }
  })
})

const shell = (command: string) => promisify(execFile)('bash', ['-c', command])

const operation = (page: Page, id: string) => page.locator(`#${id}`)
