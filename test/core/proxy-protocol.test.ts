/**
 * The PROXY protocol, version 2: whose connection a proxy says it is, and what happens to everything else.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { connect as connectTcp, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import { expect, onTestFinished, test } from 'vitest'
import { localhostCertificate } from '../support/certificates.js'
import {
  describeEngines,
  describeEnginesAtOnce,
  type EngineName,
  makeServer,
  type ServeOptions,
  serve,
} from '../support/engines.js'
import { padding, proxyHeader, SIGNATURE, tcp4, tcp6, unixPaths } from '../support/proxy-header.js'
import { handshake, OPCODE, RawClient, text } from '../support/raw-client.js'
import { request } from '../support/tls-client.js'
import { within } from '../support/waiting.js'

const GET_WHO = 'GET /who HTTP/1.1\r\nHost: localhost\r\n\r\n'

/** Serves what it knows of the asking client, and echoes on WebSockets with the client's address in front. */
function serveBehindProxy(engine: EngineName, more: ServeOptions['server'] = {}, options: ServeOptions = {}) {
  return serve<string | undefined>(
    engine,
    {
      upgrade: ({ proxiedAddress }) => ({ data: proxiedAddress }),
      message: (socket, message) => void socket.send(`${socket.data}: ${message}`),
    },
    {
      ...options,
      server: { proxyProtocol: true, ...more },
      routes: (server) =>
        server.get('/who', ({ proxiedAddress = null, remoteAddress }) => Response.json({ proxiedAddress, remoteAddress })),
    },
  )
}

const who = async (client: RawClient): Promise<unknown> => JSON.parse((await client.response()).body.toString())

describeEngines('the PROXY protocol', (engine) => {
  const told: [what: string, header: () => Buffer, address: string | null][] = [
    ['an IPv4 address', () => proxyHeader(), '192.0.2.7'],
    ['an IPv6 address', () => proxyHeader({ family: 0x21, body: tcp6('20010db8000000000000000000000abc') }), '2001:db8::abc'],
    ['an IPv4 address as IPv6', () => proxyHeader({ family: 0x21, body: tcp6('00000000000000000000ffffc0000207') }), '192.0.2.7'],
    ['the IPv6 address ::', () => proxyHeader({ family: 0x21, body: tcp6('00'.repeat(16)) }), '::'],
    ['a unix socket', () => proxyHeader({ family: 0x31, body: unixPaths() }), null],
    ['an address of UDP', () => proxyHeader({ family: 0x12 }), null],
    ['nothing (UNSPEC)', () => proxyHeader({ family: 0, body: Buffer.alloc(0) }), null],
    ['nothing, in more bytes', () => proxyHeader({ family: 0, body: Buffer.alloc(50) }), null],
    [
      'nothing, as it is its own connection (LOCAL)',
      () => proxyHeader({ command: 0x20, family: 0, body: Buffer.alloc(0) }),
      null,
    ],
    ['an address of its own connection (LOCAL)', () => proxyHeader({ command: 0x20 }), null],
    ['more than addresses (TLVs)', () => proxyHeader({ body: Buffer.concat([tcp4(), padding(300)]) }), '192.0.2.7'],
    ['all that fits into 16 KiB', () => proxyHeader({ body: Buffer.concat([tcp4(), padding(16_384 - 16 - 12)]) }), '192.0.2.7'],
  ]
  for (const [what, header, address] of told) {
    test(`a proxy that tells ${what}`, async () => {
      const client = await RawClient.connect(await serveBehindProxy(engine))
      client.write(header(), GET_WHO)
      expect(await who(client)).toEqual({ proxiedAddress: address, remoteAddress: '127.0.0.1' })
      // It holds for the whole connection.
      client.write(GET_WHO)
      expect(await who(client)).toEqual({ proxiedAddress: address, remoteAddress: '127.0.0.1' })
    })
  }

  test('a header that comes byte by byte, and the request behind it too', async () => {
    const client = await RawClient.connect(await serveBehindProxy(engine))
    for (const byte of Buffer.concat([proxyHeader({ body: Buffer.concat([tcp4(), padding(20)]) }), Buffer.from(GET_WHO)])) {
      client.write(Buffer.from([byte]))
      await client.flushed()
    }
    expect(await who(client)).toMatchObject({ proxiedAddress: '192.0.2.7' })
  })

  test('each connection has its own', async () => {
    const served = await serveBehindProxy(engine)
    const clients = await Promise.all(Array.from({ length: 20 }, () => RawClient.connect(served)))
    for (const [index, client] of clients.entries()) client.write(proxyHeader({ body: tcp4([10, 0, 0, index]) }))
    for (const client of clients) client.write(GET_WHO)
    for (const [index, client] of clients.entries()) {
      expect(await who(client)).toMatchObject({ proxiedAddress: `10.0.0.${index}` })
    }
  })

  test('a WebSocket behind it: with the header, the handshake and a message in one piece', async () => {
    const client = await RawClient.connect(await serveBehindProxy(engine))
    client.write(proxyHeader(), handshake(), text('hello'))
    expect((await client.response()).status).toBe(101)
    expect(await client.frame()).toMatchObject({ opcode: OPCODE.TEXT, payload: Buffer.from('192.0.2.7: hello') })
  })

  test('TLS behind it', async () => {
    const served = await serveBehindProxy(engine, { tls: true })
    const client = await RawClient.connect({ ...served, secure: false })
    client.write(proxyHeader())
    const secure = connectTls({ socket: client.socket, servername: 'localhost', ca: localhostCertificate().cert })
    onTestFinished(() => {
      secure.destroy()
    })
    secure.write(GET_WHO)
    let answer = ''
    const came = new Promise<void>((resolve, reject) => {
      secure.on('error', reject)
      secure.on('data', (chunk) => {
        answer += chunk
        if (answer.endsWith('}')) resolve()
      })
    })
    await within(came, 'the answer over TLS')
    expect(JSON.parse(answer.slice(answer.indexOf('{')))).toEqual({ proxiedAddress: '192.0.2.7', remoteAddress: '127.0.0.1' })
  })

  test('TLS of several names behind it, with the header and the ClientHello in one piece', async () => {
    const certificate = localhostCertificate()
    const tls = [certificate, { ...certificate, serverName: 'other.example', minVersion: 'TLSv1.3' as const }]
    const served = await serveBehindProxy(engine, { tls })
    const client = await RawClient.connect({ ...served, secure: false })
    client.socket.cork()
    client.write(proxyHeader())
    const answer = request(served, { socket: client.socket, servername: 'other.example' })
    client.socket.uncork()
    expect((await answer).socket.getProtocol()).toBe('TLSv1.3')
  })

  const garbage: [what: string, bytes: () => string | Buffer][] = [
    ['version 1', () => 'PROXY TCP4 192.0.2.7 198.51.100.1 50000 443\r\n'],
    ['HTTP without a header', () => GET_WHO],
    ['one wrong byte', () => 'x'],
    ['a signature that ends wrong', () => Buffer.concat([SIGNATURE.subarray(0, 11), Buffer.from('x')])],
    ['version 1 in the header of version 2', () => proxyHeader({ command: 0x11 })],
    ['version 3', () => proxyHeader({ command: 0x31 })],
    ['an unknown command', () => proxyHeader({ command: 0x22 })],
    ['an unknown family', () => proxyHeader({ family: 0x41 })],
    ['an unknown transport', () => proxyHeader({ family: 0x13 })],
    ['too few bytes for IPv4', () => proxyHeader({ body: tcp4().subarray(0, 11) })],
    ['too few bytes for IPv6', () => proxyHeader({ family: 0x21 })],
    ['too few bytes for a unix socket', () => proxyHeader({ family: 0x31, body: Buffer.alloc(215) })],
    ['a header of more than 16 KiB', () => proxyHeader({ body: Buffer.concat([tcp4(), padding(16_384 - 16 - 11)]) })],
    ['a header that claims 64 KiB', () => proxyHeader({ claimedLength: 65_535 })],
  ]
  for (const [what, bytes] of garbage) {
    test(`${what}: the connection is cut, without a word`, async () => {
      const served = await serveBehindProxy(engine)
      const client = await RawClient.connect(served)
      client.write(bytes())
      expect(await client.rest()).toEqual(Buffer.alloc(0))
      expect(served.server.metrics()).toMatchObject({ httpRequests: 0, tcpConnections: 1 })
    })
  }

  test('a client that goes in the middle of the header, or resets, harms no other', async () => {
    const served = await serveBehindProxy(engine)
    for (const leave of ['end', 'vanish', 'reset'] as const) {
      const client = await RawClient.connect(served)
      client.write(proxyHeader().subarray(0, 20))
      await client.flushed()
      client[leave]()
      await client.closed()
    }
    const client = await RawClient.connect(served)
    client.write(proxyHeader(), GET_WHO)
    expect(await who(client)).toMatchObject({ proxiedAddress: '192.0.2.7' })
  })

  test('a client that half-closes behind its request is answered', async () => {
    const client = await RawClient.connect(await serveBehindProxy(engine), { allowHalfOpen: true })
    client.write(proxyHeader(), GET_WHO)
    client.end()
    expect(await who(client)).toMatchObject({ proxiedAddress: '192.0.2.7' })
  })

  test('close cuts connections that have not sent their header yet', async () => {
    const served = await serveBehindProxy(engine)
    const clients = await Promise.all([RawClient.connect(served), RawClient.connect(served)])
    clients[0]?.write(proxyHeader().subarray(0, 20))
    // A third one, answered, shows that the others have been accepted.
    const third = await RawClient.connect(served)
    third.write(proxyHeader(), GET_WHO)
    await who(third)
    await within(served.server.close(), 'close')
    await Promise.all(clients.map((client) => client.closed()))
  })

  test('a connection whose header comes after close has begun is cut by it at the latest', async () => {
    const served = await serveBehindProxy(engine)
    const slow = await RawClient.connect(served)
    const holder = await RawClient.connect(served)
    holder.write(proxyHeader(), handshake())
    await holder.response()
    const closing = served.server.close({ timeout: 1000 })
    slow.write(proxyHeader(), GET_WHO)
    await within(closing, 'close')
    await slow.closed()
  })

  test('on a unix socket', async () => {
    const { unix, connect } = await listenOnUnixSocket(engine)
    const client = await connect()
    client.write(`${proxyHeader().toString('latin1')}${GET_WHO}`, 'latin1')
    const answer = await new Promise<string>((resolve) => client.once('data', (chunk) => resolve(String(chunk))))
    expect(answer, unix).toContain('{"proxiedAddress":"192.0.2.7","remoteAddress":""}')
  })

  for (const header of ['PROXY TCP4 192.0.2.7 198.51.100.1 50000 443\r\n', proxyHeader().toString('latin1')]) {
    test(`without the option a header of version ${header.startsWith('PROXY') ? 1 : 2} is a bad request`, async () => {
      const served = await serve(engine)
      const client = await RawClient.connect(served)
      client.write(Buffer.from(`${header}${GET_WHO}`, 'latin1'))
      expect((await client.response()).status).toBe(400)
      expect(served.server.metrics().httpRequests).toBe(0)
    })
  }

  test('empty lines alone are no PROXY header: a request may come behind them', async () => {
    const client = await RawClient.connect(await serve(engine))
    for (const part of ['\r\n\r\n', '\r', '\n', 'GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n']) {
      client.write(part)
      await client.flushed()
    }
    expect((await client.response()).status).toBe(200)
  })

  test('without the option there is no proxied address', async () => {
    const served = await serve(
      engine,
      {},
      { routes: (server) => server.get('/who', (asked) => Response.json('proxiedAddress' in asked)) },
    )
    const client = await RawClient.connect(served)
    client.write(GET_WHO)
    expect(await who(client)).toBe(false)
  })
})

async function listenOnUnixSocket(engine: EngineName) {
  const folder = mkdtempSync(join(tmpdir(), 'nws-test-proxy-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const unix = join(folder, 'app.sock')
  const server = makeServer(engine, { server: { proxyProtocol: true } })
  server.get('/who', ({ proxiedAddress, remoteAddress }) => Response.json({ proxiedAddress, remoteAddress }))
  await server.listen({ unix })
  const connect = async (): Promise<Socket> => {
    const socket = connectTcp(unix)
    onTestFinished(() => {
      socket.destroy()
    })
    await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject))
    return socket
  }
  return { unix, connect }
}

describeEnginesAtOnce('a header of the PROXY protocol that does not come', (engine) => {
  test('in whole, or at all, is waited for a while', { timeout: 30_000 }, async ({ onTestFinished: cleanup }) => {
    const served = await serveBehindProxy(engine, {}, { cleanup })
    const [half, silent] = [await RawClient.connect(served, { cleanup }), await RawClient.connect(served, { cleanup })]
    half.write(proxyHeader().subarray(0, 20))
    await Promise.all([half, silent].map((client) => client.closed('the server to lose its patience', 20_000)))
  })
})
