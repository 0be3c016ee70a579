/** `maxConnectionsPerAddress`, on real connections: 127.0.0.0/8 has enough addresses to come from. */
import { mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { networkInterfaces, tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import type { UpgradeRequest } from '../../src/index.js'
import { Client, refusal } from '../support/client.js'
import { describeEngines, makeServer, serve } from '../support/engines.js'
import { http } from '../support/http.js'
import { proxyHeader, tcp4, tcp6, unixPaths } from '../support/proxy-header.js'
import { handshake, RawClient } from '../support/raw-client.js'
import { serveUndecided } from '../support/undecided-upgrades.js'
import { Queue, turns, within } from '../support/waiting.js'

const hasIpv6 = Object.values(networkInterfaces()).some((list) => list?.some(({ address }) => address === '::1'))

describeEngines('maxConnectionsPerAddress', (engine) => {
  test('refuses clients beyond it from one address with 503, on all routes, before any handler is asked', async () => {
    const ends = new Queue<number>()
    const asked: string[] = []
    const handlers = {
      upgrade({ remoteAddress }: UpgradeRequest) {
        asked.push(remoteAddress)
        return { data: undefined }
      },
      close: (_: unknown, code: number) => ends.push(code),
    }
    const served = await serve(engine, handlers, {
      path: '/a',
      server: { maxConnectionsPerAddress: 2, maxConnections: 4 },
      routes: (server) => server.ws('/b', handlers),
    })
    const first = await Client.open(served, '/a')
    await Client.open(served, '/b')
    expect(await refusal(served, '/a')).toBe(503)
    expect(await refusal(served, '/b')).toBe(503)
    const other = { localAddress: '127.0.0.2' }
    await Client.open(served, '/a', other)
    await Client.open(served, '/b', other)
    expect(await refusal(served, '/b', other)).toBe(503)
    expect(asked).toEqual(['127.0.0.1', '127.0.0.1', '127.0.0.2', '127.0.0.2'])
    // All places are taken: that is the other limit.
    expect(await refusal(served, '/a', { localAddress: '127.0.0.3' })).toBe(503)
    expect(served.server.metrics()).toMatchObject({
      upgradesRefused: 4,
      upgradesRefusedByAddress: 3,
      upgradesRefusedByLimit: 1,
      connectionsAccepted: 4,
    })
    first.socket.close()
    await ends.next('close')
    await Client.open(served, '/b')
    expect(await refusal(served, '/a')).toBe(503)
  })

  test('does not limit HTTP', async () => {
    const served = await serve(engine, {}, { server: { maxConnectionsPerAddress: 1 } })
    await Client.open(served)
    expect((await http(served, '/health')).status).toBe(200)
  })

  test('counts upgrades that are under way, however they end', async () => {
    const { served, wait } = await serveUndecided(engine, { maxConnectionsPerAddress: 1 })
    const refused = await wait()
    refused.gate.resolve(new Response(null, { status: 403 }))
    expect((await refused.client.response()).status).toBe(403)

    const streamed = await wait()
    const body = new ReadableStream({
      start(controller) {
        controller.enqueue(new TextEncoder().encode('no'))
        controller.close()
      },
    })
    streamed.gate.resolve(new Response(body, { status: 403 }))
    expect((await streamed.client.response()).status).toBe(403)

    const failed = await wait()
    failed.gate.reject(new Error('fails'))
    expect((await failed.client.response()).status).toBe(500)

    const wrong = await wait()
    wrong.gate.resolve({ data: undefined, protocol: 'never offered' })
    expect((await wrong.client.response()).status).toBe(500)

    const gone = await wait()
    const aborted = new Promise((resolve) => gone.signal.addEventListener('abort', resolve))
    gone.client.vanish()
    await within(aborted, 'the signal')

    // The handler of the one that has gone answers while another has the place.
    const accepted = await wait()
    gone.gate.resolve({ data: undefined })
    await turns()
    expect(await refusal(served, '/')).toBe(503)
    accepted.gate.resolve({ data: undefined })
    expect((await accepted.client.response()).status).toBe(101)
    expect(await refusal(served, '/')).toBe(503)
    expect(served.server.connections).toBe(1)
    expect(served.server.metrics().upgradesRefusedByAddress).toBe(8)
  })

  test('a connection gives its place back, however it ends', async () => {
    const closed = new Queue<number>()
    const served = await serve(
      engine,
      {
        message(socket, message) {
          if (message === 'close') socket.close()
          else if (message === 'terminate') socket.terminate()
          else throw new Error('thrown by a handler')
        },
        error: () => {},
        close: (_, code) => closed.push(code),
        maxPayloadLength: 1000,
      },
      { server: { maxConnectionsPerAddress: 1 } },
    )
    const endings: readonly ((client: Client) => void)[] = [
      (client) => client.socket.close(4000),
      (client) => client.socket.terminate(),
      (client) => client.send('close'),
      (client) => client.send('terminate'),
      (client) => client.send('throw'),
      (client) => client.send(Buffer.alloc(1001)),
    ]
    for (const end of endings) {
      const client = await Client.open(served)
      expect(await refusal(served, '/')).toBe(503)
      end(client)
      await closed.next('close')
    }
    // A handshake that is malformed takes no place.
    const malformed = await RawClient.connect(served)
    malformed.write(handshake({ key: 'short' }))
    expect((await malformed.response()).status).toBe(400)
    await Client.open(served)
    expect(await refusal(served, '/')).toBe(503)
  })

  test('holds in a rush of clients from several addresses', async () => {
    const served = await serve<undefined>(
      engine,
      {
        async upgrade() {
          await turns(2)
          return { data: undefined }
        },
      },
      { server: { maxConnectionsPerAddress: 3 } },
    )
    const from = (index: number) => `127.0.0.${2 + (index % 4)}`
    const statuses = await Promise.all(
      Array.from({ length: 40 }, async (_, index) => {
        const socket = connect({ port: served.port, host: served.host, localAddress: from(index) })
        onTestFinished(() => {
          socket.destroy()
        })
        socket.on('error', () => {})
        socket.write(handshake())
        const [line] = await new Promise<[string]>((resolve) => {
          socket.once('data', (chunk) => resolve([String(chunk).split('\r\n', 1)[0] ?? '']))
        })
        return `${from(index)} ${line.split(' ')[1]}`
      }),
    )
    for (let index = 0; index < 4; index++) {
      expect(statuses.filter((status) => status === `${from(index)} 101`).length).toBe(3)
      expect(statuses.filter((status) => status === `${from(index)} 503`).length).toBe(7)
    }
  })

  test.runIf(hasIpv6)('an IPv4 client of a socket that listens on both families is the same as ever', async () => {
    const served = await serve(engine, {}, { host: '::', server: { maxConnectionsPerAddress: 1 } })
    const four = { ...served, wsUrl: () => `ws://127.0.0.1:${served.port}/` }
    const six = { ...served, wsUrl: () => `ws://[::1]:${served.port}/` }
    await Client.open(four)
    await Client.open(six)
    expect(await refusal(four, '/')).toBe(503)
    expect(await refusal(six, '/')).toBe(503)
  })

  test('behind a proxy that tells addresses, those count: IPv6 by its first 64 bits, IPv4 in either spelling', async () => {
    const served = await serve(engine, {}, { server: { maxConnectionsPerAddress: 1, proxyProtocol: true } })
    const statusOf = async (header: Buffer) => {
      const client = await RawClient.connect(served)
      client.write(header, handshake())
      return (await client.response()).status
    }
    const six = (source: string) => proxyHeader({ family: 0x21, body: tcp6(source) })
    expect(await statusOf(proxyHeader({ body: tcp4([192, 0, 2, 7]) }))).toBe(101)
    expect(await statusOf(proxyHeader({ body: tcp4([192, 0, 2, 7]) }))).toBe(503)
    expect(await statusOf(six('00000000000000000000ffffc0000207'))).toBe(503)
    expect(await statusOf(proxyHeader({ body: tcp4([192, 0, 2, 8]) }))).toBe(101)
    expect(await statusOf(six('20010db8000000010000000000000001'))).toBe(101)
    expect(await statusOf(six('20010db800000001ffffffffffffffff'))).toBe(503)
    expect(await statusOf(six('20010db8000000020000000000000001'))).toBe(101)
    // Those of whom nothing is told are not limited.
    const local = proxyHeader({ command: 0x20, family: 0, body: Buffer.alloc(0) })
    for (const header of [local, local, proxyHeader({ family: 0x31, body: unixPaths() })]) {
      expect(await statusOf(header)).toBe(101)
    }
  })

  test('clients of a unix socket have no address, and are not limited', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'nws-test-address-'))
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
    const unix = join(folder, 'socket')
    const server = makeServer(engine, { server: { maxConnectionsPerAddress: 1 } })
    await server.ws('/*', {}).listen({ unix })
    const address = { wsUrl: () => `ws+unix:${unix}:/`, httpUrl: () => '', port: 0, host: '', secure: false }
    await Client.openMany(address, 3)
    expect(server.connections).toBe(3)
  })
})
