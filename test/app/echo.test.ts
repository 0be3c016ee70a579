/** The default application, in this process: what it sends, and what it says. */
import { describe, expect, onTestFinished, test } from 'vitest'
import { bannerLines, createEchoServer } from '../../src/app/echo.js'
import { describeMessage, escapeControls, firstLine } from '../../src/app/log-text.js'
import { Client } from '../support/client.js'
import { describeEngines, type EngineName, listen, type Served } from '../support/engines.js'
import { http } from '../support/http.js'
import { closeCode, OPCODE, RawClient, text } from '../support/raw-client.js'
import { Queue } from '../support/waiting.js'

const WELCOME = '{"event":"connected","message":"Welcome!"}'
const MEBIBYTE = 1024 * 1024

interface Echo extends Served {
  /** What the application says, line by line. */
  readonly lines: Queue<string>
}

async function startEcho(engine: EngineName, quiet = false): Promise<Echo> {
  const lines = new Queue<string>()
  const server = createEchoServer({ engine, quiet, log: (line) => lines.push(line) })
  onTestFinished(() => server.close({ timeout: 1000 }))
  return { ...(await listen(server)), lines }
}

/** A client that has taken the welcome, and the id that the application gave it. */
async function greeted(echo: Echo): Promise<{ client: Client; id: string }> {
  const client = await Client.open(echo)
  expect(await client.next('the welcome')).toBe(WELCOME)
  return { client, id: await connectedId(echo) }
}

async function connectedId(echo: Echo): Promise<string> {
  const line = await echo.lines.next('the line of a connection')
  expect(line).toMatch(/^\[\+\] Connection from \S+$/)
  return line.slice('[+] Connection from '.length)
}

describeEngines('the echo application', (engine) => {
  test('sends the welcome first, as text', async () => {
    const client = await Client.open(await startEcho(engine))
    expect(await client.next('the welcome')).toBe(WELCOME)
  })

  test('echoes text as text and bytes as bytes', async () => {
    const { client } = await greeted(await startEcho(engine))
    const everyByte = Buffer.from(Array.from({ length: 256 }, (_, index) => index))
    for (const message of ['hello', 'žluťoučký 🐎\u0000\r\n', '', everyByte, Buffer.alloc(0), Buffer.from('text?')]) {
      expect(await client.ask(message)).toEqual(message)
    }
  })

  test('echoes messages up to 16 MiB, and ends the connection with 1009 beyond that', async () => {
    const { client } = await greeted(await startEcho(engine))
    const largest = Buffer.alloc(16 * MEBIBYTE, 'µ')
    // Compared as a whole: a matcher would look at 16 million elements one by one.
    const echo = await client.ask(largest)
    expect(Buffer.isBuffer(echo) && echo.equals(largest)).toBe(true)
    client.send(Buffer.alloc(16 * MEBIBYTE + 1))
    expect(await client.closed()).toMatchObject({ code: 1009 })
  })

  test('echoes many messages that are sent at once, in their order', async () => {
    const { client } = await greeted(await startEcho(engine))
    const messages = Array.from({ length: 1000 }, (_, index) => `message ${index}`)
    for (const message of messages) client.send(message)
    expect(await client.messages.take(messages.length, 'the echoes')).toEqual(messages)
  })

  test('greets on every path, and tells each client of no other', async () => {
    const echo = await startEcho(engine)
    const [one, other] = await Promise.all([Client.open(echo, '/'), Client.open(echo, '/some/other/path?query')])
    for (const client of [one, other]) expect(await client.next('the welcome')).toBe(WELCOME)
    expect(await one.ask('one')).toBe('one')
    expect(await other.ask('other')).toBe('other')
    expect([one.messages.size, other.messages.size]).toEqual([0, 0])
  })

  test('answers GET /health with exactly {"status":"healthy"}', async () => {
    const { status, headers, body } = await http(await startEcho(engine), '/health')
    expect({ status, type: headers['content-type'], body: body.toString() }).toEqual({
      status: 200,
      type: 'application/json',
      body: '{"status":"healthy"}',
    })
  })

  test('says who connects, what they send, and that they leave', async () => {
    const echo = await startEcho(engine)
    const { client, id } = await greeted(echo)
    await client.ask('hello')
    await client.ask(Buffer.alloc(1234))
    expect(await echo.lines.take(2, 'lines')).toEqual([
      `[->] Message from ${id}: hello`,
      `[->] Message from ${id}: <1,234 bytes, binary>`,
    ])
    client.socket.close()
    expect(await echo.lines.next('the line of the end')).toBe(`[-] ${id} disconnected`)
  })

  test('lets no client write into the terminal', async () => {
    const echo = await startEcho(engine)
    const { client, id } = await greeted(echo)
    await client.ask('\u001b[2J\u001b]0;title\u0007\r\n[+] Connection from nobody\u2028\u202e')
    expect(await echo.lines.next('the line of a message')).toBe(
      `[->] Message from ${id}: \\x1b[2J\\x1b]0;title\\x07\\r\\n[+] Connection from nobody\\u2028\\u202e`,
    )
  })

  test('prints no line per message when it is to be quiet', async () => {
    const echo = await startEcho(engine, true)
    const { client, id } = await greeted(echo)
    await client.ask('hello')
    client.socket.close()
    expect(await echo.lines.next('the line of the end')).toBe(`[-] ${id} disconnected`)
  })

  test('leaves no echo out: who reads none of 64 MiB is closed with 1013, after all that came before', async () => {
    const echo = await startEcho(engine, true)
    const reader = await RawClient.open(echo)
    const welcome = await reader.frame('the welcome')
    expect(welcome.payload.toString()).toBe(WELCOME)
    reader.pause()
    const payload = Buffer.alloc(MEBIBYTE, 'x')
    // More than the limit and what the system's own buffers can take.
    for (let number = 0; number < 120; number++) {
      payload.writeUInt32BE(0x30303030 + number)
      reader.write(text(payload))
    }
    await reader.flushed()
    reader.resume()
    let number = 0
    let received = await reader.frame('an echo')
    while (received.opcode !== OPCODE.CLOSE) {
      expect(received.payload.readUInt32BE()).toBe(0x30303030 + number)
      number++
      received = await reader.frame('an echo or the Close frame')
    }
    expect(number).toBeGreaterThanOrEqual(64)
    expect(closeCode(received)).toBe(1013)
    expect(received.payload.subarray(2).toString()).toBe('too many echoes wait unread')

    expect(await (await Client.open(echo)).next('the welcome of another client')).toBe(WELCOME)
  })

  test('names the engine first, and then where to connect', async () => {
    const { server, port } = await startEcho(engine)
    const [first, ...others] = bannerLines(server, { host: '::', port }, true)
    expect(first).toMatch(engine === 'native' ? /^Engine: native \(µWebSockets\)$/ : /^Engine: portable \(ws\): .+$/)
    expect(others).toEqual([
      `WebSocket server listening on port ${port}`,
      `WSS endpoint: wss://localhost:${port}`,
      `Health check: https://localhost:${port}/health`,
    ])
  })
})

describe('the banner', () => {
  const server = createEchoServer({ engine: 'portable' })
  const cases = [
    ['0.0.0.0', false, 'ws://localhost:7000'],
    ['127.0.0.1', false, 'ws://127.0.0.1:7000'],
    ['::1', true, 'wss://[::1]:7000'],
    ['chat.example', true, 'wss://chat.example:7000'],
  ] as const
  test.each(cases)('for %s, TLS: %s, gives %s', (host, tls, url) => {
    const [, , endpoint, health] = bannerLines(server, { host, port: 7000 }, tls)
    expect(endpoint).toBe(`${tls ? 'WSS' : 'WS'} endpoint: ${url}`)
    expect(health).toBe(`Health check: ${url.replace('ws', 'http')}/health`)
  })
})

describe('text from a client', () => {
  test('is shown as it is, when it is harmless', () => {
    const harmless = 'Grüße, 世界 👩‍👩‍👧 "quoted" \\ and \\n'
    expect(escapeControls(harmless)).toBe(harmless)
  })

  test('has every control character escaped', () => {
    for (let code = 0; code <= 0xff; code++) {
      const isControl = code < 0x20 || (code >= 0x7f && code <= 0x9f)
      expect(escapeControls(String.fromCharCode(code)).startsWith('\\')).toBe(isControl || code === 0x5c)
    }
    expect(escapeControls('\t\r\n\u0000\u009b')).toBe('\\t\\r\\n\\x00\\x9b')
  })

  test('has line separators, bidirectional overrides and halves of surrogate pairs escaped', () => {
    expect(escapeControls('\u2028\u2029\u202a\u202e\u2066\u2069\u200f\u061c')).toBe(
      '\\u2028\\u2029\\u202a\\u202e\\u2066\\u2069\\u200f\\u061c',
    )
    expect(escapeControls('\ud83d!')).toBe('\\ud83d!')
  })

  test('is cut after 200 characters, and says how much is left out', () => {
    expect(describeMessage('a'.repeat(200))).toBe('a'.repeat(200))
    expect(describeMessage('a'.repeat(201))).toBe(`${'a'.repeat(200)}… (1 more character)`)
    expect(describeMessage('a'.repeat(2000))).toBe(`${'a'.repeat(200)}… (1,800 more characters)`)
  })

  test('is not cut within a character', () => {
    expect(describeMessage(`${'a'.repeat(199)}🐎🐎`)).toBe(`${'a'.repeat(199)}… (4 more characters)`)
  })

  test('is told by its size when it is binary', () => {
    expect(describeMessage(Buffer.alloc(0))).toBe('<0 bytes, binary>')
    expect(describeMessage(Buffer.alloc(1))).toBe('<1 byte, binary>')
  })

  test('of several lines is shown by its first, where one line is wanted', () => {
    expect(firstLine('\nfirst\u0007\r\nsecond')).toBe('first\\x07')
  })
})
