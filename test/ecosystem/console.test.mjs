/**
 * The console page in a real browser: Chromium, through playwright-core. SCREENSHOTS=<folder> leaves pictures
 * of the page there.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { createInterface } from 'node:readline'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { chromium } from 'playwright-core'

const root = fileURLToPath(new URL('../..', import.meta.url))
/** Debian's package `chromium`. */
const BROWSER = '/usr/bin/chromium'
const skip = existsSync(BROWSER) ? false : 'no chromium on this machine'
const pictures = process.env.SCREENSHOTS

/** The command with a development certificate of its own. */
async function startCommand(folder, port = 0) {
  const args = [join(root, 'dist', 'cli.js'), '--host', '127.0.0.1', '--port', String(port), '--quiet']
  const child = spawn(process.execPath, args, { cwd: folder, stdio: ['ignore', 'pipe', 'inherit'] })
  for await (const line of createInterface({ input: child.stdout })) {
    const [, listening] = /listening on port (\d+)/.exec(line) ?? []
    if (listening !== undefined) return { child, port: Number(listening) }
  }
  throw new Error('the command ended')
}

describe('the console page, in Chromium', { skip }, () => {
  let folder
  let browser
  let server
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'nws-console-'))
    server = await startCommand(folder)
    browser = await chromium.launch({ executablePath: BROWSER, args: ['--no-sandbox'] })
  })
  after(async () => {
    await browser?.close()
    server?.child.kill('SIGKILL')
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true })
  })

  /** A tab on the page, which fails its test with whatever the page complains about. */
  async function open(settings = {}) {
    const context = await browser.newContext({ ignoreHTTPSErrors: true, ...settings })
    const page = await context.newPage()
    page.setDefaultTimeout(15_000)
    const complaints = []
    page.on('pageerror', (error) => complaints.push(String(error)))
    page.on('console', (message) => {
      if (message.type() === 'error') complaints.push(message.text())
    })
    await page.goto(`https://127.0.0.1:${server.port}/`)
    return { page, context, complaints }
  }

  const connected = (page) => page.locator('#status[data-state="open"]').waitFor()
  const value = (page, chart, index = 0) => page.locator(`#chart-${chart} .value`).nth(index).textContent()
  /** Waits until a value of a chart is a number above 0. */
  const moves = (page, chart, index = 0) =>
    page.waitForFunction(
      ([id, place]) => {
        const label = document.querySelectorAll(`#${id} .value`)[place]?.textContent ?? ''
        return Number.parseFloat(label.slice(label.lastIndexOf(' ', label.endsWith('k') ? label.length - 3 : undefined))) > 0
      },
      [`chart-${chart}`, index],
    )

  test('connects over wss by keyboard, sends text, JSON and bytes, and shows what comes back with its round trip', async () => {
    const { page, context, complaints } = await open()
    await page.locator('#url').focus()
    assert.equal(await page.locator('#url').inputValue(), `wss://127.0.0.1:${server.port}/`)
    await page.keyboard.press('Enter')
    await connected(page)
    const received = page.locator('#frames li[data-direction="in"] .body')
    await page.getByText('Welcome!').waitFor()
    await page.locator('#content').focus()
    await page.keyboard.press('Control+Enter')
    await received.filter({ hasText: /^hello$/ }).waitFor()
    const trip = await page.locator('#frames li[data-direction="in"] .trip').first().textContent()
    assert.match(trip, /^\d+\.\d\d ms$/)
    await page.locator('#kind').selectOption('json')
    await page.locator('#content').fill('{ "a": }')
    await page.locator('#send').click()
    assert.notEqual(await page.locator('#sending-problem').textContent(), '')
    await page.locator('#content').fill('{ "a": [1] }')
    await page.locator('#send').click()
    await received.filter({ hasText: /^\{"a":\[1\]\}$/ }).waitFor()
    await page.locator('#kind').selectOption('binary')
    await page.locator('#content').fill('00 ff 7E')
    await page.locator('#send').click()
    await received.filter({ hasText: /^00 ff 7e$/ }).waitFor()
    assert.equal(await page.locator('#frames li[data-direction="in"] .size').first().textContent(), '3 B')
    await page.locator('#filter').fill('welcome')
    await page.waitForFunction(() => document.querySelectorAll('#frames li').length === 1)
    assert.deepEqual(complaints, [])
    await context.close()
  })

  test('charts move while a message is repeated, and the page connects again after the connection has broken', async () => {
    const { page, context, complaints } = await open()
    await page.locator('#connect').click()
    await connected(page)
    await page.locator('#rate').fill('50')
    await page.locator('#repeat').click()
    await moves(page, 'messages')
    await moves(page, 'trips')
    await moves(page, 'connections')
    assert.match(await value(page, 'connections'), /^open 1$/)
    const drawn = await page.locator('#chart-messages canvas').evaluate((canvas) => {
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)
      return data.some((byte) => byte !== 0)
    })
    assert.ok(drawn)
    const exited = once(server.child, 'exit')
    server.child.kill('SIGKILL')
    await exited
    await page.locator('#status[data-state="failed"], #status[data-state="connecting"]').waitFor()
    server = await startCommand(folder, server.port)
    await connected(page)
    // What a page says about a server that is gone is the browser's own, and right.
    assert.deepEqual(
      complaints.filter((text) => !/ERR_CONNECTION|WebSocket connection|ERR_EMPTY|ERR_SOCKET/.test(text)),
      [],
    )
    await context.close()
  })

  test('runs no inline code, and tells another page that it may not be framed', async () => {
    const { page, context } = await open()
    const response = await page.reload()
    const policy = response.headers()['content-security-policy']
    assert.match(policy, /script-src 'self'/)
    assert.doesNotMatch(policy, /unsafe/)
    assert.equal(await page.evaluate(() => document.querySelectorAll('style, script:not([src])').length), 0)
    const ran = await page.evaluate(() => {
      const script = document.createElement('script')
      script.textContent = 'window.ran = true'
      document.body.append(script)
      return window.ran === true
    })
    assert.equal(ran, false)
    await context.close()
  })

  test('behind a prefix stays usable, and keeps a bounded list, when it gets a megabyte and 10,000 messages', async () => {
    const { consolePage, WebSocketServer } = await import(join(root, 'dist', 'index.js'))
    const flood = new WebSocketServer().get('/prefix/console', consolePage()).ws('/prefix/', {
      maxBackpressure: 16 << 20,
      open(socket) {
        for (let count = 1; count <= 10_000; count++) socket.send(`message ${count}`)
        socket.send(Buffer.alloc(1 << 20, 0xab))
      },
    })
    const { port } = await flood.listen({ host: '127.0.0.1' })
    const context = await browser.newContext()
    const page = await context.newPage()
    page.setDefaultTimeout(30_000)
    const complaints = []
    page.on('pageerror', (error) => complaints.push(String(error)))
    await page.goto(`http://127.0.0.1:${port}/prefix/console`)
    assert.equal(await page.locator('#url').inputValue(), `ws://127.0.0.1:${port}/prefix/`)
    await page.locator('#connect').click()
    await page.locator('#frames li .size').filter({ hasText: '1048576 B' }).waitFor()
    await page.locator('#filter').fill('message 9999')
    await page.locator('#frames li').filter({ hasText: 'message 9999' }).waitFor()
    await page.locator('#filter').fill('message 1')
    // The oldest ones are gone.
    await page.waitForFunction(() => {
      const bodies = [...document.querySelectorAll('#frames li .body')].map(({ textContent }) => textContent)
      return bodies.every((body) => body.includes('message 1') && body !== 'message 1')
    })
    const longest = await page.evaluate(() =>
      Math.max(...[...document.querySelectorAll('#frames li .body')].map((body) => body.textContent.length)),
    )
    assert.ok(longest <= 400)
    assert.deepEqual(complaints, [])
    await context.close()
    await flood.close()
  })

  for (const [name, settings] of Object.entries({
    light: { viewport: { width: 1180, height: 820 }, colorScheme: 'light' },
    dark: { viewport: { width: 1180, height: 820 }, colorScheme: 'dark' },
    phone: { viewport: { width: 390, height: 844 }, colorScheme: 'light', isMobile: true, hasTouch: true, deviceScaleFactor: 1 },
  })) {
    test(`fits its window: ${name}`, async () => {
      const { page, context, complaints } = await open(settings)
      await page.locator('#connect').click()
      await connected(page)
      await page.locator('#repeat').click()
      await moves(page, 'messages')
      const [width, inner] = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth])
      assert.ok(width <= inner, `${width} > ${inner}`)
      const background = await page.evaluate(() => getComputedStyle(document.body).backgroundColor)
      assert.equal(background, name === 'dark' ? 'rgb(14, 17, 22)' : 'rgb(246, 247, 249)')
      if (pictures !== undefined) {
        mkdirSync(pictures, { recursive: true })
        await page.waitForTimeout(12_000)
        await page.screenshot({ path: join(pictures, `console-${name}.png`), fullPage: name === 'phone' })
      }
      assert.deepEqual(complaints, [])
      await context.close()
    })
  }
})
