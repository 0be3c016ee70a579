/** `close({ drain })`: balancers hear of it first, clients later. And liveness, which is another question. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { expect, onTestFinished, test } from 'vitest'
import { localhostCertificate } from '../support/certificates.js'
import { Client } from '../support/client.js'
import { describeEngines, makeServer, type Served, serve } from '../support/engines.js'
import { http } from '../support/http.js'
import { RawClient } from '../support/raw-client.js'
import { within } from '../support/waiting.js'

const echo = { message: (socket: { send(data: string | Buffer): number }, data: string | Buffer) => void socket.send(data) }

async function ask(served: Served, path: string): Promise<[number, string]> {
  const { status, body } = await http(served, path)
  return [status, body.toString()]
}

const READY = [200, '{"status":"healthy"}']
const DRAINING = [503, '{"status":"draining"}']
const ALIVE = [200, '{"status":"alive"}']

/** A TCP connection that nothing was sent on yet. */
async function connected({ port }: Served): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  onTestFinished(() => void socket.destroy())
  await once(socket, 'connect')
  return socket
}

describeEngines('draining', (engine) => {
  test('answers the health path with 503, and serves old and new clients as before', async () => {
    const served = await serve(engine, echo, { path: '/socket' })
    const before = await Client.open(served, '/socket')
    expect(await ask(served, '/health')).toEqual(READY)
    const closed = served.server.close({ drain: 60_000, reason: 'moving' })
    expect(await ask(served, '/health')).toEqual(DRAINING)
    expect(await ask(served, '/health/live')).toEqual(ALIVE)
    const during = await Client.open(served, '/socket')
    for (const client of [before, during]) expect(await client.ask('still here?')).toBe('still here?')
    // Without `drain`, a further call ends the wait.
    expect(served.server.close()).toBe(closed)
    for (const client of [before, during]) expect(await client.closed()).toEqual({ code: 1001, reason: 'moving' })
    await within(closed, 'close')
    await expect(RawClient.connect(served)).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  })

  test('ends by itself when its time is over, not before', async () => {
    const served = await serve(engine, echo, { path: '/socket' })
    const client = await Client.open(served, '/socket')
    const start = performance.now()
    const closed = served.server.close({ drain: 200 })
    expect(await ask(served, '/health')).toEqual(DRAINING)
    expect(await client.closed()).toMatchObject({ code: 1001 })
    // Timers of Node may be a millisecond early, by the clock.
    expect(performance.now() - start).toBeGreaterThanOrEqual(199)
    await within(closed, 'close')
  })

  test('TLS handshakes go on, and those that are not complete at the end are cut off', async () => {
    const served = await serve(engine, echo, { server: { tls: true } })
    const [early, silent, halfway] = [await connected(served), await connected(served), await connected(served)]
    const cut = [silent, halfway].map((socket) => once(socket.on('error', () => {}).resume(), 'close'))
    halfway.write(Buffer.of(0x16, 3, 1, 2, 0)) // the head of a record with a ClientHello
    const closed = served.server.close({ drain: 60_000 })
    for (const socket of [early, await connected(served)]) {
      const tls = connectTls({ socket, ca: localhostCertificate().cert, servername: 'localhost' })
      tls.on('error', () => {}).write('GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n')
      const [head] = (await within(once(tls, 'data'), 'a response')) as [Buffer]
      expect(head.toString()).toMatch(/^HTTP\/1\.1 503 /)
    }
    void served.server.close()
    await within(closed, 'close')
    await within(Promise.all(cut), 'the end of the handshakes')
  })

  test('a further call that drains too does not end the wait', async () => {
    const served = await serve(engine)
    const closed = served.server.close({ drain: true })
    expect(served.server.close({ drain: true })).toBe(closed)
    expect(await ask(served, '/health')).toEqual(DRAINING)
  })

  test('does not wait where nothing was ever listened on', async () => {
    await within(makeServer(engine).close({ drain: 60_000 }), 'close')
  })

  test('refuses to listen anew, and stopListening stops to accept at once', async () => {
    const { server, ...address } = await serve(engine, echo)
    const client = await Client.open(address)
    void server.close({ drain: 60_000 })
    await expect(server.listen()).rejects.toMatchObject({ code: 'ERR_CLOSED' })
    server.stopListening()
    await expect(RawClient.connect(address)).rejects.toMatchObject({ code: 'ECONNREFUSED' })
    expect(await client.ask('still here?')).toBe('still here?')
  })

  for (const options of [null, 'now', { drain: '5' }, { timeout: -1 }]) {
    test(`and a further call with ${JSON.stringify(options)} rejects with an OptionError, and changes nothing`, async () => {
      const { server, ...address } = await serve(engine, echo)
      const client = await Client.open(address)
      const closing = server.close({ drain: 60_000 })
      // The cast lets through what TypeScript would refuse and JavaScript would not.
      await expect(server.close(options as { drain: number })).rejects.toMatchObject({ code: 'ERR_OPTION' })
      expect(await client.ask('still here?')).toBe('still here?')
      void server.close()
      await within(closing, 'close')
    })
  }

  for (const drain of [-1, 0.5, Number.NaN, 2 ** 31, '5', null]) {
    test(`drain: ${typeof drain === 'string' ? `'${drain}'` : drain} is an OptionError, and closes nothing`, async () => {
      const served = await serve(engine)
      // The cast lets through what TypeScript would refuse and JavaScript would not.
      await expect(served.server.close({ drain: drain as number })).rejects.toMatchObject({ option: 'drain' })
      expect(await ask(served, '/health')).toEqual(READY)
    })
  }
})

describeEngines('liveness', (engine) => {
  const serveWith = (health: NonNullable<Parameters<typeof serve>[2]>['server']) =>
    serve(engine, {}, { path: '/socket', server: { ...health } })

  test('is told whatever the check says, and asks no check', async () => {
    let checks = 0
    const served = await serveWith({
      health: {
        check() {
          checks++
          return false
        },
      },
    })
    expect(await ask(served, '/health/live')).toEqual(ALIVE)
    expect(checks).toBe(0)
    expect((await ask(served, '/health'))[0]).toBe(503)
  })

  test('is behind the health path, or elsewhere, or nowhere', async () => {
    const moved = await serveWith({ health: '/up' })
    expect([await ask(moved, '/up/live'), (await ask(moved, '/health/live'))[0]]).toEqual([ALIVE, 404])
    const root = await serveWith({ health: '/' })
    expect(await ask(root, '/live')).toEqual(ALIVE)
    const elsewhere = await serveWith({ health: { live: '/livez' } })
    expect([await ask(elsewhere, '/livez'), await ask(elsewhere, '/health')]).toEqual([ALIVE, READY])
    expect((await ask(elsewhere, '/health/live'))[0]).toBe(404)
    expect((await ask(await serveWith({ health: { live: false } }), '/health/live'))[0]).toBe(404)
    expect((await ask(await serveWith({ health: false }), '/health/live'))[0]).toBe(404)
  })

  test('gives way to a route of the same path', async () => {
    const routes = (server: ReturnType<typeof makeServer>) => server.get('/health/live', () => new Response('mine'))
    expect(await ask(await serve(engine, {}, { path: '/socket', routes }), '/health/live')).toEqual([200, 'mine'])
  })

  test('is told while the server closes, on a connection that is open', async () => {
    const served = await serve(engine, {}, { path: '/socket' })
    const stubborn = await RawClient.open(served, { path: '/socket' })
    const client = await RawClient.connect(served)
    client.write('GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n')
    expect((await client.response()).status).toBe(200)
    const closed = served.server.close({ timeout: 60_000 })
    await stubborn.frame()
    client.write('GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n')
    const { status, body } = await client.response()
    expect([status, body.toString()]).toEqual(ALIVE)
    stubborn.vanish()
    await within(closed, 'close')
  })
})
