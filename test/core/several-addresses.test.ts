/** `listen` on a list of addresses: all of them, or none. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { networkInterfaces, tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { Client } from '../support/client.js'
import { addressOf, describeEngines, makeServer } from '../support/engines.js'
import { http } from '../support/http.js'
import { RawClient } from '../support/raw-client.js'
import { within } from '../support/waiting.js'

const hasIpv6 = Object.values(networkInterfaces()).some((list) => list?.some(({ address }) => address === '::1'))
const HOST = '127.0.0.1'

/** Ports that were free a moment ago. */
async function freePorts(count: number): Promise<number[]> {
  const holders = Array.from({ length: count }, () => createServer())
  const ports: number[] = []
  for (const holder of holders) {
    await new Promise<void>((resolve) => holder.listen(0, HOST, resolve))
    const { port } = holder.address() as { port: number } // it listens on TCP
    ports.push(port)
  }
  for (const holder of holders) await new Promise((resolve) => holder.close(resolve))
  return ports
}

async function held(port: number): Promise<Server> {
  const holder = createServer()
  await new Promise<void>((resolve) => holder.listen(port, HOST, resolve))
  return holder
}

function unixPath(): string {
  const folder = mkdtempSync(join(tmpdir(), 'nws-test-several-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return join(folder, 'app.sock')
}

async function expectRefused(...ports: number[]): Promise<void> {
  for (const port of ports) {
    await expect(RawClient.connect(addressOf(port))).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  }
}

describeEngines('listening on several addresses', (engine) => {
  for (const tls of [false, true]) {
    test(`serves one set of sockets and topics on all of them (${tls ? 'TLS' : 'plain'})`, async () => {
      const server = makeServer(engine, tls ? { server: { tls: true } } : {})
      server.ws('/*', { open: (socket) => void socket.subscribe('news') })
      const hosts = hasIpv6 ? [HOST, HOST, '::1'] : [HOST, HOST]
      const places = await server.listen(hosts.map((host) => ({ port: 0, host })))
      expect(places).toEqual(hosts.map((host) => ({ port: expect.any(Number), host })))
      const addresses = places.map(({ port = 0, host }) => addressOf(port, host, tls))
      const clients = await Promise.all(addresses.map((address) => Client.open(address)))
      expect(server.subscribers('news')).toBe(hosts.length)
      server.publish('news', 'to all')
      for (const client of clients) expect(await client.next()).toBe('to all')
      server.stopListening()
      for (const address of addresses) await expect(RawClient.connect(address)).rejects.toMatchObject({ code: 'ECONNREFUSED' })
      expect(server.connections).toBe(hosts.length)
      await server.listen(places.map(({ port = 0, host = HOST }) => ({ port, host })))
      for (const address of addresses) expect((await http(address, '/health')).status).toBe(200)
    })
  }

  test('serves a port and a unix socket, which is gone after close', async () => {
    const unix = unixPath()
    const server = makeServer(engine)
    const places = await server.listen([{ host: HOST }, { unix }])
    expect(places).toEqual([{ port: expect.any(Number), host: HOST }, { unix }])
    expect(existsSync(unix)).toBe(true)
    await server.close()
    expect(existsSync(unix)).toBe(false)
  })

  test('a list of one gives a list of one', async () => {
    expect(await makeServer(engine).listen([{ host: HOST }])).toEqual([{ port: expect.any(Number), host: HOST }])
  })

  test('without a host, every address is among them', async () => {
    const server = makeServer(engine)
    const [all, one] = await server.listen([{}, { host: HOST }])
    for (const place of [all, one]) expect((await http(addressOf(place?.port ?? 0), '/health')).status).toBe(200)
  })

  test('opens none when the last is taken, and may be tried again', async () => {
    const [first = 0, second = 0] = await freePorts(2)
    const unix = unixPath()
    const holder = await held(second)
    const server = makeServer(engine)
    const places = [{ port: first, host: HOST }, { unix }, { port: second, host: HOST }]
    await expect(server.listen(places)).rejects.toMatchObject({ code: 'EADDRINUSE', port: second, host: HOST })
    await expectRefused(first)
    expect(existsSync(unix)).toBe(false)
    await new Promise((resolve) => holder.close(resolve))
    expect(await server.listen(places)).toEqual(places)
    expect((await http(addressOf(first), '/health')).status).toBe(200)
  })

  test('opens none when it is listening again, with clients, and the last is taken', async () => {
    const [first = 0, second = 0] = await freePorts(2)
    const holder = await held(second)
    onTestFinished(() => void holder.close())
    const server = makeServer(engine).ws('/*', { message: (socket, message) => void socket.send(message) })
    const { port } = await server.listen({ host: HOST })
    const client = await Client.open(addressOf(port))
    server.stopListening()
    const places = [first, second].map((wanted) => ({ port: wanted, host: HOST }))
    await expect(server.listen(places)).rejects.toMatchObject({ code: 'EADDRINUSE', port: second })
    await expectRefused(first, port)
    expect(await client.ask('still here?')).toBe('still here?')
    await server.listen({ port: first, host: HOST })
    expect((await http(addressOf(first), '/health')).status).toBe(200)
  })

  test('the same address twice is taken by itself', async () => {
    const [port = 0] = await freePorts(1)
    const place = { port, host: HOST }
    await expect(makeServer(engine).listen([place, place])).rejects.toMatchObject({ code: 'EADDRINUSE', port })
    await expectRefused(port)
  })

  for (const end of ['close', 'stopListening'] as const) {
    test(`${end} while it begins to listen leaves none open`, async () => {
      const ports = await freePorts(3)
      const server = makeServer(engine)
      const attempt = server.listen(ports.map((port) => ({ port, host: HOST })))
      const refused = expect(attempt).rejects.toMatchObject({ code: 'ERR_CLOSED' })
      await within(Promise.resolve(server[end]()), end)
      await refused
      await expectRefused(...ports)
    })
  }

  test('no address, and addresses that are none, are OptionErrors', async () => {
    const server = makeServer(engine)
    await expect(server.listen([])).rejects.toMatchObject({ code: 'ERR_OPTION', option: 'options' })
    await expect(server.listen([{ host: HOST }, { port: 65_536 }])).rejects.toMatchObject({ option: 'port' })
    // The cast lets through what TypeScript would refuse and JavaScript would not.
    await expect(server.listen({ fd: 3, port: 80 } as never)).rejects.toMatchObject({ option: 'port' })
    for (const fd of [-1, 1.5, '3', null]) {
      await expect(server.listen({ fd: fd as number })).rejects.toMatchObject({ code: 'ERR_OPTION', option: 'fd' })
    }
  })
})
