/**
 * The `ws` client with every option it has, and Node's own WebSocket: whatever a client may ask for, it gets
 * what it expects.
 */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { Agent } from 'node:http'
import { createConnection } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { expect, onTestFinished, test } from 'vitest'
import { type ClientOptions, createWebSocketStream, WebSocket as WsClient } from 'ws'
import type { Socket, UpgradeRequest } from '../../src/index.js'
import { localhostCertificate, makeCertificate } from '../support/certificates.js'
import { Client, refusal } from '../support/client.js'
import { describeEngines, type EngineName, makeServer, type Served, serve } from '../support/engines.js'
import { Queue, within } from '../support/waiting.js'

/**
 * Options that the client takes and that its types do not name: those of `http.request` and `tls.connect`,
 * and a recent one.
 */
const untyped = (options: Record<string, unknown>): ClientOptions => options

interface Seen {
  readonly served: Served
  readonly requests: Queue<UpgradeRequest>
  readonly closes: Queue<{ code: number; reason: string }>
  readonly pings: Queue<Buffer>
  readonly pongs: Queue<Buffer>
}

/**
 * A server that echoes, compresses where it is asked to, speaks the subprotocol `echo`, and tells what it has
 * seen.
 */
async function echoServer(engine: EngineName, tls = false): Promise<Seen> {
  const seen = { requests: new Queue<UpgradeRequest>(), closes: new Queue<{ code: number; reason: string }>() }
  const frames = { pings: new Queue<Buffer>(), pongs: new Queue<Buffer>() }
  const served = await serve(
    engine,
    {
      upgrade(request: UpgradeRequest) {
        seen.requests.push(request)
        if (request.path === '/moved') return new Response(null, { status: 302, headers: { location: '/here' } })
        return request.protocols.includes('echo') ? { data: undefined, protocol: 'echo' } : { data: undefined }
      },
      message: (socket: Socket, message: string | Buffer) => void socket.send(message, true),
      ping: (_socket: Socket, data: Buffer) => frames.pings.push(data),
      pong: (_socket: Socket, data: Buffer) => frames.pongs.push(data),
      close: (_socket: Socket, code: number, reason: string) => seen.closes.push({ code, reason }),
      compression: { threshold: 0 },
      maxPayloadLength: 32 * 1024 * 1024,
      maxBackpressure: 64 * 1024 * 1024,
    },
    tls ? { server: { tls: true } } : {},
  )
  return { served, ...seen, ...frames }
}

/** What every client must be able to do, whatever its options. */
async function converse(client: Client): Promise<void> {
  expect(await client.ask('héllo')).toBe('héllo')
  const bytes = randomBytes(70_000)
  expect(bytes.equals(Buffer.from(await client.ask(bytes)))).toBe(true)
  expect(await client.ask('')).toBe('')
  client.socket.close(4001, 'enough')
  expect(await client.closed()).toEqual({ code: 4001, reason: 'enough' })
}

describeEngines('the ws client', (engine) => {
  const ways: readonly [option: string, options: ClientOptions][] = [
    ['allowSynchronousEvents off', { allowSynchronousEvents: false }],
    ['a zero mask', { generateMask: (mask) => void mask.fill(0) }],
    ['a mask of its own', { generateMask: (mask) => void mask.fill(0xa5) }],
    ['skipUTF8Validation', { skipUTF8Validation: true }],
    ['protocolVersion 13', { protocolVersion: 13 }],
    ['a closeTimeout', untyped({ closeTimeout: 5000 })],
    ['a lookup family', { family: 4 }],
    ['no delay', { handshakeTimeout: 20_000 }],
    ['compression', { perMessageDeflate: true }],
    [
      'compression without context takeover on either side',
      { perMessageDeflate: { serverNoContextTakeover: true, clientNoContextTakeover: true } },
    ],
    ['compression with a small window of its own', { perMessageDeflate: { clientMaxWindowBits: 9, threshold: 0 } }],
    ['compression that asks for a small window of the server’s', { perMessageDeflate: { serverMaxWindowBits: 9, threshold: 0 } }],
    ['compression of everything', { perMessageDeflate: { threshold: 0 } }],
    [
      'compression with zlib settings',
      { perMessageDeflate: { threshold: 0, zlibDeflateOptions: { level: 9, memLevel: 4, chunkSize: 512 }, concurrencyLimit: 1 } },
    ],
  ]
  test.each(ways)('with %s', async (_option, options) => {
    const { served, closes } = await echoServer(engine)
    const client = await Client.open(served, '/', options)
    expect(client.socket.extensions !== '').toBe(Boolean(options.perMessageDeflate))
    await converse(client)
    expect(await closes.next('the close handler')).toEqual({ code: 4001, reason: 'enough' })
  })

  test('with headers, origin and auth, which the upgrade handler sees', async () => {
    const { served, requests } = await echoServer(engine)
    const headers = { 'X-Colour': 'red', cookie: 'a=1; b=2' }
    const client = await Client.open(served, '/?q=1', {
      headers,
      origin: 'https://example.org',
      ...untyped({ auth: 'ada:secret' }),
    })
    const request = await requests.next('the upgrade')
    expect(Object.fromEntries(['x-colour', 'cookie', 'authorization'].map((name) => [name, request.headers.get(name)]))).toEqual({
      'x-colour': 'red',
      cookie: 'a=1; b=2',
      authorization: `Basic ${Buffer.from('ada:secret').toString('base64')}`,
    })
    expect([request.origin, request.query.get('q')]).toEqual(['https://example.org', '1'])
    await converse(client)
  })

  test.each([
    [['echo'], 'echo'],
    [['other', 'echo', 'third'], 'echo'],
  ])('with the subprotocols %j agrees on %s', async (protocols, agreed) => {
    const { served, requests } = await echoServer(engine)
    const socket = new WsClient(served.wsUrl('/'), protocols)
    onTestFinished(() => socket.terminate())
    await within(once(socket, 'open'), 'the client to open')
    expect(socket.protocol).toBe(agreed)
    expect((await requests.next('the upgrade')).protocols).toEqual(protocols)
  })

  test('with followRedirects is led on, and at most maxRedirects times', async () => {
    const { served, requests } = await echoServer(engine)
    const client = await Client.open(served, '/moved', { followRedirects: true })
    expect([(await requests.next('the first')).path, (await requests.next('the second')).path]).toEqual(['/moved', '/here'])
    await converse(client)
    await expect(Client.open(served, '/moved', { followRedirects: true, maxRedirects: 0 })).rejects.toThrow(
      'Maximum redirects exceeded',
    )
    expect(await refusal(served, '/moved')).toBe(302)
  })

  test('with finishRequest sends its request when it likes', async () => {
    const { served, requests } = await echoServer(engine)
    const client = await Client.open(served, '/', {
      finishRequest(request) {
        request.setHeader('x-late', 'yes')
        setImmediate(() => request.end())
      },
    })
    expect((await requests.next('the upgrade')).headers.get('x-late')).toBe('yes')
    await converse(client)
  })

  test('with an agent, and with createConnection', async () => {
    const { served } = await echoServer(engine)
    const agent = new Agent({ keepAlive: true })
    onTestFinished(() => agent.destroy())
    await converse(await Client.open(served, '/', { agent }))
    let made = 0
    const connect = () => {
      made++
      return createConnection({ port: served.port, host: served.host })
    }
    await converse(await Client.open(served, '/', { createConnection: connect }))
    expect(made).toBe(1)
  })

  test('with a handshakeTimeout gives up an upgrade that takes too long, which the handler is told', async () => {
    const aborted = new Queue<boolean>()
    const served = await serve(engine, {
      upgrade: (request: UpgradeRequest) =>
        new Promise<Response>((resolve) => {
          request.signal.addEventListener('abort', () => {
            aborted.push(request.signal.aborted)
            resolve(new Response(null, { status: 503 }))
          })
        }),
    })
    await expect(Client.open(served, '/', { handshakeTimeout: 100 })).rejects.toThrow('Opening handshake has timed out')
    expect(await aborted.next('the signal')).toBe(true)
  })

  test('with a maxPayload refuses what is larger, and the server learns why', async () => {
    const { served, closes } = await echoServer(engine)
    const client = await Client.open(served, '/', { maxPayload: 1000 })
    client.send('x'.repeat(1001))
    await within(once(client.socket, 'error'), 'the client to refuse the echo')
    expect(await closes.next('the close handler')).toMatchObject({ code: 1009 })
  })

  test('with autoPong off leaves a Ping unanswered, and may answer it itself', async () => {
    const pongs = new Queue<Buffer>()
    const served = await serve(engine, {
      open: (socket: Socket) => void socket.ping('are you there?'),
      pong: (_socket: Socket, data: Buffer) => pongs.push(data),
    })
    const client = await Client.open(served, '/', { autoPong: false })
    expect(await client.pings.next('the Ping')).toEqual(Buffer.from('are you there?'))
    expect(pongs.size).toBe(0)
    client.socket.pong('I am')
    expect(await pongs.next('the Pong')).toEqual(Buffer.from('I am'))
  })

  test.each(['nodebuffer', 'arraybuffer', 'fragments'] as const)('with binaryType %s', async (binaryType) => {
    const { served } = await echoServer(engine)
    const socket = new WsClient(served.wsUrl('/'))
    onTestFinished(() => socket.terminate())
    socket.binaryType = binaryType
    await within(once(socket, 'open'), 'the client to open')
    const sent = randomBytes(1000)
    socket.send(sent)
    const [data] = await within(once(socket, 'message'), 'the echo')
    const bytes = Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data)
    expect(bytes.equals(sent)).toBe(true)
  })

  test('sends fragments, compressed or not, text as binary and binary as text', async () => {
    const { served } = await echoServer(engine)
    const client = await Client.open(served, '/', { perMessageDeflate: { threshold: 0 } })
    for (const compress of [true, false]) {
      client.socket.send('one ', { fin: false, compress })
      client.socket.send('two ', { fin: false, compress })
      client.socket.send('three', { fin: true, compress })
      expect(await client.next('the joined message')).toBe('one two three')
    }
    client.socket.send('text', { binary: true })
    expect(await client.next('the binary echo')).toEqual(Buffer.from('text'))
    client.socket.send(Buffer.from('bytes'), { binary: false })
    expect(await client.next('the text echo')).toBe('bytes')
  })

  test('pings, and is answered with the same bytes', async () => {
    const { served, pings } = await echoServer(engine)
    const client = await Client.open(served)
    for (const data of ['', 'x'.repeat(125)]) {
      client.socket.ping(data)
      expect(await client.pongs.next('the Pong')).toEqual(Buffer.from(data))
      expect(await pings.next('the ping handler')).toEqual(Buffer.from(data))
    }
  })

  test('pauses and resumes, and misses nothing', async () => {
    const { served } = await echoServer(engine)
    const client = await Client.open(served)
    client.socket.pause()
    for (let n = 0; n < 1000; n++) client.send(`${n}`)
    client.socket.resume()
    for (let n = 0; n < 1000; n++) expect(await client.next()).toBe(`${n}`)
  })

  test('as a stream carries 8 MiB there and back', async () => {
    const { served } = await echoServer(engine)
    const socket = new WsClient(served.wsUrl('/'))
    const stream = createWebSocketStream(socket)
    onTestFinished(() => socket.terminate())
    const sent = randomBytes(8 * 1024 * 1024)
    const chunks = Array.from({ length: 128 }, (_, n) => sent.subarray(n * 65_536, (n + 1) * 65_536))
    const received: Buffer[] = []
    let length = 0
    const echo = async () => {
      for await (const chunk of stream) {
        received.push(chunk)
        length += chunk.length
        if (length === sent.length) return
      }
    }
    const whole = echo()
    await within(Promise.all([whole, pipeline(Readable.from(chunks), stream, { end: false })]), 'the echo of all of it', 60_000)
    expect(Buffer.concat(received).equals(sent)).toBe(true)
  })

  test('verifies the server over TLS, by authority and by name', async () => {
    const { served } = await echoServer(engine, true)
    await converse(await Client.open(served, '/', untyped({ servername: 'localhost', minVersion: 'TLSv1.3' })))
    await converse(await Client.open(served, '/', untyped({ maxVersion: 'TLSv1.2', ALPNProtocols: ['http/1.1'] })))
    await expect(Client.open(served, '/', { ca: [] })).rejects.toThrow('self-signed certificate')
    const wrong = Client.open(served, '/', { ca: localhostCertificate().cert, ...untyped({ servername: 'elsewhere.example' }) })
    await expect(wrong).rejects.toThrow("Hostname/IP does not match certificate's altnames")
    await converse(await Client.open(served, '/', { ca: [], rejectUnauthorized: false }))
  })
})

const noUnix = process.platform === 'win32' ? ' (skipped: Windows has no unix sockets)' : ''
describeEngines('the ws client, elsewhere,', (engine) => {
  const echo = { message: (socket: Socket, message: string | Buffer) => void socket.send(message) }

  test.runIf(noUnix === '')(`speaks over a unix socket${noUnix}`, async () => {
    const folder = mkdtempSync(join(tmpdir(), 'nws-test-unix-'))
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
    const unix = join(folder, 'socket')
    await makeServer(engine).ws('/path', echo).listen({ unix })
    const socket = new WsClient(`ws+unix:${unix}:/path`)
    onTestFinished(() => socket.terminate())
    await within(once(socket, 'open'), 'the client to open')
    socket.send('hello')
    const [data] = await within(once(socket, 'message'), 'the echo')
    expect(String(data)).toBe('hello')
  })

  test('shows its certificate where one is required, and is sent away without it', async () => {
    const { key, cert } = makeCertificate()
    const served = await serve(engine, echo, { server: { tls: { ...localhostCertificate(), ca: cert, requestCert: true } } })
    expect(await (await Client.open(served, '/', { key, cert })).ask('hello')).toBe('hello')
    await expect(Client.open(served)).rejects.toThrow()
    await expect(Client.open(served, '/', makeCertificate())).rejects.toThrow()
  })
})

const noWebSocket = 'WebSocket' in globalThis ? '' : ' (skipped: this Node.js has it behind a flag only)'
describeEngines('Node’s own WebSocket', (engine) => {
  test.runIf(noWebSocket === '')(`agrees on a subprotocol and compression, and closes with a code${noWebSocket}`, async () => {
    const { served, closes, requests } = await echoServer(engine)
    const socket = new globalThis.WebSocket(served.wsUrl('/'), ['other', 'echo'])
    socket.binaryType = 'arraybuffer'
    const messages = new Queue<unknown>()
    socket.addEventListener('message', ({ data }) => messages.push(data))
    await within(new Promise((resolve) => socket.addEventListener('open', resolve)), 'the client to open')
    expect(socket.protocol).toBe('echo')
    expect(socket.extensions).toContain('permessage-deflate')
    expect((await requests.next('the upgrade')).protocols).toEqual(['other', 'echo'])
    socket.send('text')
    expect(await messages.next('the echo')).toBe('text')
    const bytes = randomBytes(100_000)
    socket.send(bytes)
    // See binaryType.
    expect(Buffer.from((await messages.next('the echo')) as ArrayBuffer).equals(bytes)).toBe(true)
    const closed = new Promise<unknown>((resolve) => socket.addEventListener('close', resolve))
    socket.close(4002, 'bye')
    expect(await within(closed, 'the client to close')).toMatchObject({ code: 4002, reason: 'bye', wasClean: true })
    expect(await closes.next('the close handler')).toEqual({ code: 4002, reason: 'bye' })
  })
})
