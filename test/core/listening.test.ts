/** Where a server listens, and why it cannot. */
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { networkInterfaces } from 'node:os'
import { describe, expect, onTestFinished, test } from 'vitest'
import { ListenError, OptionError, type WebSocketServer, WebSocketServerError } from '../../src/index.js'
import { runFixture } from '../support/child.js'
import { Client } from '../support/client.js'
import { AVAILABLE_ENGINES, addressOf, describeEngines, listen, makeServer, serve } from '../support/engines.js'
import { http } from '../support/http.js'
import { RawClient } from '../support/raw-client.js'
import { Queue, within } from '../support/waiting.js'

const hasIpv6 = Object.values(networkInterfaces()).some((list) => list?.some(({ address }) => address === '::1'))
const withoutIpv6 = hasIpv6 ? '' : ' (skipped: this machine has no IPv6)'

/** A port that is held by a plain TCP server until the test ends. */
async function takenPort(host = '127.0.0.1'): Promise<number> {
  const holder = createServer()
  onTestFinished(() => {
    holder.close()
  })
  await new Promise<void>((resolve) => holder.listen(0, host, resolve))
  const address = holder.address()
  if (address === null || typeof address === 'string') throw new Error('a TCP server has a port')
  return address.port
}

/** What a promise rejects with. */
async function rejection(action: () => Promise<unknown>): Promise<unknown> {
  try {
    await action()
  } catch (error) {
    return error
  }
  throw new Error('nothing was refused')
}

describeEngines('listening', (engine) => {
  test('port 0 gives a free port, and says which', async () => {
    const { server, port } = await serve(engine)
    expect(port).toBeGreaterThan(0)
    expect(port).toBeLessThan(65_536)
    expect(server.engine).toBe(engine)
    expect(server.connections).toBe(0)
  })

  test('the answer names the host', async () => {
    const server = makeServer(engine)
    expect(await server.listen({ host: '127.0.0.1' })).toEqual({ port: expect.any(Number), host: '127.0.0.1' })
  })

  test('a name is resolved', async () => {
    const server = makeServer(engine).ws('/*', { message: (socket, message) => void socket.send(message) })
    const { port } = await server.listen({ host: 'localhost' })
    const client = await Client.open(addressOf(port, 'localhost'))
    expect(await client.ask('hello')).toBe('hello')
  })

  test.runIf(hasIpv6)(
    `without a host it listens for IPv4 and IPv6, and shows each peer in its own family${withoutIpv6}`,
    async () => {
      const addresses = new Queue<string>()
      const server = makeServer(engine).ws('/*', { open: (socket) => addresses.push(socket.remoteAddress) })
      const { port } = await server.listen()
      await Client.open(addressOf(port))
      expect(await addresses.next('the IPv4 client')).toBe('127.0.0.1')
      await Client.open(addressOf(port, '::1'))
      expect(await addresses.next('the IPv6 client')).toBe('::1')
    },
  )

  test.runIf(hasIpv6)(`on ::1 it serves IPv6${withoutIpv6}`, async () => {
    const served = await serve(engine, { message: (socket, message) => void socket.send(message) }, { host: '::1' })
    const client = await Client.open(served)
    expect(await client.ask('six')).toBe('six')
  })

  test.runIf(hasIpv6)(`TLS works on IPv6 too, and URLs have its brackets${withoutIpv6}`, async () => {
    const options = { host: '::1', server: { tls: true as const } }
    const urls = (server: WebSocketServer) => server.get('/url', ({ url, remoteAddress }) => Response.json([url, remoteAddress]))
    const served = await serve(engine, {}, { ...options, routes: urls })
    const answer = await http(served, '/url')
    expect(JSON.parse(answer.body.toString())).toEqual([`https://[::1]:${served.port}/url`, '::1'])
  })

  test('on 127.0.0.1 it does not serve other addresses', async () => {
    const { port } = await serve(engine)
    await expect(RawClient.connect({ host: '127.0.0.2', port, secure: false })).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  })

  for (const tls of [false, true]) {
    test(`a taken port is a ListenError with EADDRINUSE, the port and the host (${tls ? 'TLS' : 'plain'})`, async () => {
      const port = await takenPort()
      const server = makeServer(engine, tls ? { server: { tls: true } } : {})
      const error = await rejection(() => server.listen({ port, host: '127.0.0.1' }))
      expect(error).toBeInstanceOf(ListenError)
      expect(error).toMatchObject({ code: 'EADDRINUSE', port, host: '127.0.0.1', name: 'ListenError' })
      expect(String(error)).toContain(`127.0.0.1:${port}`)
    })
  }

  for (const host of ['127.0.0.1', '0.0.0.0', ...(hasIpv6 ? ['::'] : [])]) {
    test(`without a host, a port that is taken on ${host} is taken`, async () => {
      const port = await takenPort(host)
      expect(await rejection(() => makeServer(engine).listen({ port }))).toMatchObject({ code: 'EADDRINUSE', port })
    })
  }

  test('a port held by another server of ours is taken, and that one serves on', async () => {
    const first = await serve(engine, { message: (socket, message) => void socket.send(message) })
    const second = makeServer(engine)
    const error = await rejection(() => second.listen({ port: first.port, host: '127.0.0.1' }))
    expect(error).toMatchObject({
      code: 'EADDRINUSE',
      port: first.port,
      message: expect.stringMatching(/reusePort: true, for which the portable engine needs Node\.js 22\.12/),
    })
    const client = await Client.open(first)
    expect(await client.ask('still here')).toBe('still here')
  })

  // Node's own servers can share a port from 22.12 on.
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  const sharing = engine === 'native' || major > 22 || (major === 22 && minor >= 12) ? '' : ' (skipped: this Node cannot do it)'
  test.runIf(sharing === '')(`with reusePort several servers share a port, and others stay out${sharing}`, async () => {
    const first = makeServer(engine)
    const { port } = await first.listen({ host: '127.0.0.1', reusePort: true })
    const second = makeServer(engine)
    expect(await second.listen({ port, host: '127.0.0.1', reusePort: true })).toEqual({ port, host: '127.0.0.1' })
    expect(await rejection(() => makeServer(engine).listen({ port, host: '127.0.0.1' }))).toMatchObject({ code: 'EADDRINUSE' })
    await first.close()
    const answers = await Promise.all(Array.from({ length: 10 }, () => http(addressOf(port), '/health')))
    expect(answers.map(({ status }) => status)).toEqual(Array(10).fill(200))
  })

  if (sharing !== '')
    test('reusePort is refused where it cannot be had', async () => {
      expect(await rejection(() => makeServer(engine).listen({ reusePort: true }))).toMatchObject({
        name: 'OptionError',
        option: 'reusePort',
      })
    })

  test('after a failure it can listen elsewhere', async () => {
    const port = await takenPort()
    const server = makeServer(engine).ws('/*', { message: (socket, message) => void socket.send(message) })
    await rejection(() => server.listen({ port, host: '127.0.0.1' }))
    const client = await Client.open(await listen(server))
    expect(await client.ask('second try')).toBe('second try')
  })

  const privilegedFrom =
    process.platform === 'linux' ? Number(readFileSync('/proc/sys/net/ipv4/ip_unprivileged_port_start', 'utf8')) : 0
  const privileged = privilegedFrom > 80 ? '' : ' (skipped: this system has no privileged ports)'
  test.runIf(privileged === '')(`a privileged port is a ListenError with EACCES${privileged}`, async () => {
    const { stdout, stderr, code } = await runFixture('listen-privileged.mjs', { args: [engine] })
    expect({ stderr, code }).toEqual({ stderr: '', code: 0 })
    expect(JSON.parse(stdout)).toEqual({ name: 'ListenError', code: 'EACCES', port: 80, host: '127.0.0.1' })
  })

  test('an address of another machine is a ListenError with EADDRNOTAVAIL', async () => {
    // 192.0.2.0/24 is reserved for documentation (RFC 5737): no machine has it.
    const error = await rejection(() => makeServer(engine).listen({ host: '192.0.2.1' }))
    expect(error).toBeInstanceOf(ListenError)
    expect(error).toMatchObject({ code: 'EADDRNOTAVAIL', host: '192.0.2.1', port: 0 })
  })

  test('a name without an address is a ListenError with ENOTFOUND', async () => {
    const host = 'no..such..host' // empty labels: no resolver needs to be asked
    const error = await rejection(() => makeServer(engine).listen({ host }))
    expect(error).toBeInstanceOf(ListenError)
    expect(error).toMatchObject({ code: 'ENOTFOUND', host })
  })

  for (const port of [-1, 65_536, 1.5, Number.NaN, '80', null]) {
    test(`port ${typeof port === 'string' ? `'${port}'` : port} is an OptionError that names it`, async () => {
      // The cast lets through what TypeScript would refuse and JavaScript would not.
      const error = await rejection(async () => makeServer(engine).listen({ port: port as number }))
      expect(error).toBeInstanceOf(OptionError)
      expect(error).toMatchObject({ code: 'ERR_OPTION', option: 'port', value: port })
      expect(String(error)).toContain('65535')
    })
  }

  test('after an OptionError it can listen properly', async () => {
    const server = makeServer(engine)
    await rejection(async () => server.listen({ port: 65_536 }))
    expect((await server.listen({ host: '127.0.0.1' })).port).toBeGreaterThan(0)
  })

  test('listening twice is refused, and the first goes on', async () => {
    const served = await serve(engine, { message: (socket, message) => void socket.send(message) })
    const error = await rejection(async () => served.server.listen({ port: 0 }))
    expect(error).toBeInstanceOf(WebSocketServerError)
    expect(error).toMatchObject({ code: 'ERR_LISTENING' })
    const client = await Client.open(served)
    expect(await client.ask('first')).toBe('first')
  })

  test('two calls at once: one wins', async () => {
    const server = makeServer(engine)
    const results = await Promise.allSettled([server.listen({ host: '127.0.0.1' }), server.listen({ host: '127.0.0.1' })])
    expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
  })

  test('routes come before listening', async () => {
    const { server } = await serve(engine)
    const refused = expect.objectContaining({ code: 'ERR_LISTENING' })
    expect(() => server.ws('/late', {})).toThrow(refused)
    expect(() => server.get('/late', () => new Response())).toThrow(refused)
    expect(() => server.any('/late', () => new Response())).toThrow(refused)
  })

  test('several servers in one process, plain and TLS, do not share clients or topics', async () => {
    const handlers = (name: string) => ({
      open: (socket: { subscribe(topic: string): boolean }) => void socket.subscribe('news'),
      message: (socket: { send(data: string): number }) => void socket.send(name),
    })
    const plain = await serve(engine, handlers('plain'))
    const secure = await serve(engine, handlers('secure'), { server: { tls: true } })
    const another = await serve(engine, handlers('another'), { server: { tls: true } })
    const clients = await Promise.all([plain, secure, another].map((served) => Client.open(served)))
    const answers = await Promise.all(clients.map((client) => client.ask('who?')))
    expect(answers).toEqual(['plain', 'secure', 'another'])
    expect([plain, secure, another].map(({ server }) => server.subscribers('news'))).toEqual([1, 1, 1])
    expect([plain, secure, another].map(({ server }) => server.connections)).toEqual([1, 1, 1])
    expect(plain.server.publish('news', 'to plain only')).toBe(true)
    expect(secure.server.publish('news', 'to secure only')).toBe(true)
    const news = await Promise.all(clients.slice(0, 2).map((client) => client.next('the news')))
    expect(news).toEqual(['to plain only', 'to secure only'])
    await plain.server.close()
    expect(await clients[1]?.ask('still there?')).toBe('secure')
    expect(clients[2]?.messages.size).toBe(0)
  })

  test('the port is free again after close, and accepts no connection', async () => {
    const first = await serve(engine)
    await Client.open(first)
    await first.server.close()
    await expect(RawClient.connect(first)).rejects.toMatchObject({ code: 'ECONNREFUSED' })
    const second = makeServer(engine)
    expect(await second.listen({ port: first.port, host: '127.0.0.1' })).toEqual({ port: first.port, host: '127.0.0.1' })
  })

  test('a server that was never told to listen can be closed', async () => {
    await within(makeServer(engine).close(), 'close')
  })
})

describe('both engines in one process', () => {
  const both = AVAILABLE_ENGINES.length === 2
  test.runIf(both)(`each serves its own port${both ? '' : ' (skipped: only one engine is here)'}`, async () => {
    const [native, portable] = await Promise.all([serve('native'), serve('portable', {}, { server: { tls: true } })])
    const health = await Promise.all([http(native, '/health'), http(portable, '/health')])
    expect(health.map(({ status }) => status)).toEqual([200, 200])
    expect(await rejection(() => makeServer('native').listen({ port: portable.port, host: '127.0.0.1' }))).toMatchObject({
      code: 'EADDRINUSE',
    })
    expect(await rejection(() => makeServer('portable').listen({ port: native.port, host: '127.0.0.1' }))).toMatchObject({
      code: 'EADDRINUSE',
    })
  })
})
