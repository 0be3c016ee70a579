/** The examples, each run as a user runs it, by a real client. */
import { createHash, randomBytes } from 'node:crypto'
import { readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { dirname } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { expect, onTestFinished, test } from 'vitest'
import { Broker, freePort, whyMissing } from '../support/brokers.js'
import { Running } from '../support/child.js'
import { Client, refusal } from '../support/client.js'
import { type Address, addressOf, describeEngines, type EngineName } from '../support/engines.js'
import { http } from '../support/http.js'
import { proxyHeader, tcp4 } from '../support/proxy-header.js'
import { binary, closeCode, text as frameOf, handshake, RawClient } from '../support/raw-client.js'

/** An example that is ready. */
async function start(
  engine: EngineName,
  name: string,
  env: NodeJS.ProcessEnv = {},
  args: readonly string[] = [],
): Promise<{ running: Running; address: Address; line: string }> {
  const file = fileURLToPath(new URL(`../../examples/${name}`, import.meta.url))
  const running = new Running([process.execPath, file, ...args], {
    env: { PORT: '0', NATIVE_WEBSOCKET_SERVER_ENGINE: engine, ...env },
  })
  const ended = running.result().then(({ code, stderr }) => {
    throw new Error(`${name} ended with ${code} instead of listening: ${stderr}`)
  })
  ended.catch(() => {}) // later it ends by being killed
  const line = await Promise.race([running.line('where it listens'), ended])
  return { running, address: addressOf(Number(/localhost:(\d+)/.exec(line)?.[1]), 'localhost'), line }
}

const json = async (client: Client): Promise<unknown> => JSON.parse(String(await client.next()))

// Node's own servers can share a port from 22.12 on.
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
const sharesOnPortable = major > 22 || (major === 22 && minor >= 12)

describeEngines('the example', (engine) => {
  const canShare = process.platform === 'linux' && (engine === 'native' || sharesOnPortable)
  const lack = canShare ? '' : ' (skipped: this system does not spread connections, or this Node cannot share a port)'
  for (const threads of [[], ['--threads']]) {
    test.runIf(lack === '')(`cores ${threads}: two servers share a port${lack}`, async () => {
      const { address, line } = await start(engine, 'cores.mjs', { WORKERS: '2' }, threads)
      expect(line).toMatch(/^2 servers on /)
      const seen = new Set<string>()
      // The system chooses by the ports of both sides: that it should always choose the same one is beyond
      // all odds.
      for (let client = 0; client < 200 && seen.size < 2; client++) seen.add(String(await (await Client.open(address)).next()))
      expect(seen.size).toBe(2)
    })
  }

  /** A client of each thread that serves there. */
  async function clientOfEach(address: Address, count: number): Promise<Client[]> {
    const byThread = new Map<string, Client>()
    for (let n = 0; n < 200 && byThread.size < count; n++) {
      const client = await Client.open(address)
      byThread.set(String(await client.next()), client)
    }
    expect(byThread.size).toBe(count)
    return [...byThread.values()]
  }

  /** What the first one sends, all get. */
  async function expectOneRoom(clients: readonly Client[]): Promise<void> {
    const [first] = clients
    // Until the subscriptions of all have reached the others.
    for (let n = 0; clients.some((client) => client.messages.size === 0); n++) {
      first?.send(`hello ${n}`)
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    first?.send('to all')
    for (const client of clients) while ((await client.next('the message')) !== 'to all');
  }

  const scale = (...args: string[]) => start(engine, 'scale/server.mjs', {}, args)

  test.runIf(lack === '')(`scale: three threads share a port and a topic, and a signal closes them${lack}`, async () => {
    const { running, address, line } = await scale('--workers', '3')
    expect(line).toMatch(/^3 servers on /)
    const clients = await clientOfEach(address, 3)
    await expectOneRoom(clients)
    running.process.kill('SIGINT')
    for (const client of clients) expect((await client.closed()).code).toBe(1001)
    expect(await running.result()).toMatchObject({ code: 0, stderr: '' })
  })

  const noRedis = whyMissing('redis-server')
  const lacks = lack || (noRedis === undefined ? '' : ` (skipped: ${noRedis})`)
  test.runIf(lacks === '')(`scale: three threads, and those of another host, share a topic through Redis${lacks}`, async () => {
    const broker = await Broker.start('redis-server')
    const hosts = await Promise.all(['3', '1'].map((count) => scale('--workers', count, '--redis', broker.url)))
    const [three, one] = await Promise.all(hosts.map(({ address }, host) => clientOfEach(address, host === 0 ? 3 : 1)))
    const clients = [...(three ?? []), ...(one ?? [])]
    await expectOneRoom(clients)
    await expectOneRoom(clients.toReversed())
    for (const { running } of hosts) running.process.kill('SIGTERM')
    for (const client of clients) expect((await client.closed()).code).toBe(1001)
    for (const { running } of hosts) expect(await running.result()).toMatchObject({ code: 0, stderr: '' })
  })

  test('scale: says in one line what keeps it from starting', async () => {
    const port = await freePort()
    const file = fileURLToPath(new URL('../../examples/scale/server.mjs', import.meta.url))
    const run = (...args: string[]) => {
      const env = { PORT: '0', NATIVE_WEBSOCKET_SERVER_ENGINE: engine }
      return new Running([process.execPath, file, '--workers', ...args], { env }).result()
    }
    for (const [args, line] of [
      [['0'], '--workers must be a number from 1 on.'],
      [['3', '--redis', 'redis://a', '--nats', 'nats://b'], '--redis and --nats exclude each other.'],
      [['3', '--redis'], "Option '--redis <value>' argument missing"],
      [['3', '--radis'], "Unknown option '--radis'"],
    ] as const)
      expect(await run(...args)).toMatchObject({ code: 1, stderr: `${line}\n` })
    const unreachable = await run('3', '--redis', `redis://:secret@127.0.0.1:${port}`)
    const reason = new RegExp(`^the backplane redis at 127\\.0\\.0\\.1:${port} failed to start: .*ECONNREFUSED.*\n$`)
    expect(unreachable).toMatchObject({ code: 1, stderr: expect.stringMatching(reason) })
  })

  test('chat: lets people in who have logged in, and keeps rooms apart', async () => {
    const { address } = await start(engine, 'chat.mjs')
    const url = address.httpUrl('/')
    expect(await (await fetch(url)).text()).toContain('<form action="/login" method="post">')
    expect(await refusal(address, '/chat/lobby')).toBe(401)
    expect(await refusal(address, '/chat/lobby', { headers: { cookie: 'session=guessed' } })).toBe(401)

    const login = (name: string) =>
      fetch(`${url}login`, { method: 'POST', body: new URLSearchParams({ name }), redirect: 'manual' })
    expect((await login('<script>')).status).toBe(400)
    const enter = async (name: string, room: string) => {
      const answer = await login(name)
      expect(answer.status).toBe(303)
      const cookie = answer.headers.getSetCookie()[0]?.split(';')[0] ?? ''
      const client = await Client.open(address, `/chat/${room}`, { headers: { cookie } })
      expect(await json(client)).toEqual({ from: name, event: 'joined' })
      return client
    }
    const ada = await enter('Ada', 'lobby')
    const bob = await enter('Bob', 'lobby')
    const eve = await enter('Eve', 'cellar')
    expect(await json(ada)).toEqual({ from: 'Bob', event: 'joined' })
    bob.send('hello')
    for (const client of [ada, bob]) expect(await json(client)).toEqual({ from: 'Bob', text: 'hello' })
    bob.socket.close()
    expect(await json(ada)).toEqual({ from: 'Bob', event: 'left' })
    eve.send('anybody?')
    expect(await json(eve)).toEqual({ from: 'Eve', text: 'anybody?' })
    expect(ada.messages.size).toBe(0)
  })

  test('ticker: sends the prices that were asked for, while a client listens', async () => {
    const { address, running } = await start(engine, 'ticker.mjs', { INTERVAL: '20' })
    const client = await Client.open(address, '/prices')
    expect(JSON.parse(String(await client.ask('what?')))).toHaveProperty('error')
    client.send('+ACME')
    expect(await running.line('the first subscriber')).toBe('A client listens to ACME')
    for (let n = 0; n < 3; n++)
      expect(await json(client)).toEqual({ symbol: 'ACME', price: expect.stringMatching(/^\d+\.\d\d$/) })
    client.send('-ACME')
    expect(await running.line('the end of the prices')).toBe('No client listens to ACME any more')
    client.send('+NEXT')
    expect(await running.line('the next subscriber')).toBe('A client listens to NEXT')
    client.socket.terminate()
    expect(await running.line('the end of the client')).toBe('No client listens to NEXT any more')
  })

  test('upload: writes the file that was sent, and tells how far it is', async () => {
    const { address, running, line } = await start(engine, 'upload.mjs')
    const folder = line.slice(line.lastIndexOf(' ') + 1)
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
    expect(await refusal(address, '/files/..%2Fescape')).toBe(400)
    const client = await Client.open(address, '/files/picture.raw')
    const file = randomBytes(5 * 1024 * 1024 + 7)
    const size = 64 * 1024
    for (let at = 0; at < file.length; at += size) client.send(file.subarray(at, at + size))
    let received = 0
    while (received < file.length) {
      const progress = await json(client)
      expect(progress).toEqual({ received: expect.any(Number) })
      const { received: now } = progress as { received: number } // as has just been seen
      expect(now).toBeGreaterThan(received)
      received = now
    }
    client.socket.close()
    const [, path = '', bytes, hash] = /^(.+): (\d+) bytes, SHA-256 (\w+)$/.exec(await running.line('what was kept')) ?? []
    expect({ folder: dirname(path), bytes: Number(bytes) }).toEqual({ folder, bytes: file.length })
    expect(hash).toBe(createHash('sha256').update(file).digest('hex'))
    expect(readFileSync(path).equals(file)).toBe(true)
  })

  test('beside: serves WebSockets on the port of node:http, to those whom its middleware knows', async () => {
    const { address } = await start(engine, 'beside.mjs')
    expect(await refusal(address, '/visits')).toBe(401)
    expect(await refusal(address, '/elsewhere?name=Ada')).toBe(404)
    const client = await Client.open(address, '/visits?name=Ada')
    expect(await client.next()).toBe('hello Ada, 0 visits so far')
    expect(await (await fetch(address.httpUrl('/'))).text()).toBe('visit 1\n')
    expect(await client.next()).toBe('1')
  })

  test('hono: answers over HTTP, and tells over WebSocket', async () => {
    const { address } = await start(engine, 'hono.mjs')
    const watcher = await Client.open(address, '/live')
    const url = address.httpUrl('/api/notes')
    const note = { id: 1, text: 'water the plants' }
    const answer = await fetch(url, { method: 'POST', body: JSON.stringify({ text: note.text }) })
    expect([answer.status, await answer.json()]).toEqual([201, note])
    expect(await json(watcher)).toEqual(note)
    expect(await (await fetch(url)).json()).toEqual([note])
    expect((await fetch(address.httpUrl('/nowhere'))).status).toBe(404)
  })
  test('limits: counts connections by the address that a proxy tells, closes who talks too much, and slows uploads', async () => {
    const { address } = await start(engine, 'limits.mjs', { PROXY: '1', PER_ADDRESS: '1' })
    const connect = async (path: string, source: number[]) => {
      const client = await RawClient.connect({ ...address, host: '127.0.0.1' })
      client.write(proxyHeader({ body: tcp4(source) }), handshake({ path }))
      return { client, status: (await client.response()).status }
    }
    const talker = await connect('/chat', [192, 0, 2, 1])
    expect(talker.status).toBe(101)
    expect((await connect('/chat', [192, 0, 2, 1])).status).toBe(503)
    const uploader = await connect('/upload', [192, 0, 2, 2])
    expect(uploader.status).toBe(101)
    for (let count = 0; count < 21; count++) talker.client.write(frameOf(`${count}`))
    for (let count = 0; count < 20; count++) {
      expect((await talker.client.frame('what was said')).payload.toString()).toBe(`${count}`)
    }
    expect(closeCode(await talker.client.frame('the Close frame'))).toBe(1008)
    for (let count = 0; count < 3; count++) uploader.client.write(binary(Buffer.alloc(1_000_000)))
    for (let count = 0; count < 3; count++) {
      expect((await uploader.client.frame('the answer')).payload.toString()).toBe('1000000 taken')
    }
    const asking = await RawClient.connect({ ...address, host: '127.0.0.1' })
    asking.write(proxyHeader({ body: tcp4() }), 'GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n')
    expect(JSON.parse((await asking.response()).body.toString())).toMatchObject({
      upgradesRefusedByAddress: 1,
      rateLimitCloses: 1,
      rateLimitPauses: 2,
    })
  })

  test('proxy: hands requests and answers on, and leaves out what belongs to one connection', async () => {
    const seen: { method?: string | undefined; url?: string | undefined; fields: string[]; body: string }[] = []
    const upstream = createServer(async (request, response) => {
      const { method, url, headers } = request
      seen.push({ method, url, fields: Object.keys(headers), body: await text(request) })
      const body = gzipSync('squeezed')
      response.setHeaders(
        new Map([
          ['connection', 'x-hop, close'],
          ['x-hop', '1'],
          ['etag', '"1"'],
        ]),
      )
      if (url === '/moved') response.writeHead(302, { location: '/else' }).end()
      else response.writeHead(201, { 'content-encoding': 'gzip', 'content-length': body.length }).end(body)
    })
    await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => {
      upstream.close()
      upstream.closeAllConnections()
    })
    // A server that listens on a port has an address of this kind.
    const { port } = upstream.address() as AddressInfo
    const { address } = await start(engine, 'proxy.mjs', { UPSTREAM: `http://127.0.0.1:${port}` })

    const answer = await http(address, '//twice/7?since=3', {
      method: 'POST',
      headers: { connection: 'x-mine, keep-alive', 'x-mine': '1', 'x-kept': '1', te: 'trailers', 'transfer-encoding': 'chunked' },
      body: 'sent',
    })
    expect([answer.status, answer.body.toString(), answer.headers.etag]).toEqual([201, 'squeezed', '"1"'])
    expect(['x-hop', 'content-encoding'].filter((name) => name in answer.headers)).toEqual([])
    expect(seen[0]).toMatchObject({ method: 'POST', url: '//twice/7?since=3', body: 'sent' })
    expect(seen[0]?.fields).toEqual(expect.arrayContaining(['x-kept', 'x-forwarded-for', 'x-forwarded-host']))
    expect(seen[0]?.fields.filter((name) => ['x-mine', 'te'].includes(name))).toEqual([])

    const moved = await http(address, '/moved', { method: 'HEAD' })
    expect([moved.status, moved.headers.location]).toEqual([302, '/else'])
    const client = await Client.open(address, '/live')
    expect(String(await client.ask('still here?'))).toBe('still here?')
    upstream.close()
    upstream.closeAllConnections()
    expect((await http(address, '/')).status).toBe(502)
  })
})
