/** How long a client may take over its TLS handshake on the portable engine. */
import { connect as connectTcp, createServer, type Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { connect as connectTls } from 'node:tls'
import { expect, onTestFinished, test, vi } from 'vitest'
import { MAX_PROLOGUE_TIME } from '../../../src/engine/portable/prologue.js'
import { PortableTls } from '../../../src/engine/portable/tls.js'
import { readTls } from '../../../src/tls/material.js'
import { localhostCertificate } from '../../support/certificates.js'
import { Deferred, within } from '../../support/waiting.js'

const tls = vi.hoisted(() => ({ createServer: vi.fn() }))
vi.mock('node:tls', async (original) => {
  const real = await original<typeof import('node:tls')>()
  tls.createServer.mockImplementation(real.createServer)
  return { ...real, createServer: tls.createServer }
})

/** A real ClientHello. */
async function clientHello(): Promise<Buffer> {
  const hello = new Deferred<Buffer>()
  const socket = new Duplex({ read() {}, write: (chunk) => hello.resolve(chunk) })
  const client = connectTls({ socket, servername: 'localhost' }).on('error', () => {})
  const bytes = await within(hello.promise, 'the ClientHello')
  client.destroy()
  return bytes
}

async function serveTls(handshakeTimeout: number): Promise<{ port: number; accepted: Promise<Socket> }> {
  const accepted = new Deferred<Socket>()
  const entries = new PortableTls(readTls([localhostCertificate()]), () => {}, handshakeTimeout)
  const server = createServer((socket) => {
    accepted.resolve(socket)
    entries.accept(socket)
  })
  onTestFinished(() => void server.close())
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  // It listens on TCP.
  return { port: (server.address() as { port: number }).port, accepted: accepted.promise }
}

test('a client that begins its TLS handshake and does not end it is cut after the time for it', async () => {
  const { port } = await serveTls(50)
  const client = connectTcp({ port, host: '127.0.0.1' })
  onTestFinished(() => void client.destroy())
  const closed = new Promise((resolve) => client.on('error', () => {}).once('close', resolve))
  client.write(await clientHello())
  await within(new Promise((resolve) => client.once('data', resolve)), 'the ServerHello')
  await within(closed, 'the server to cut the connection')
})

test('bytes that drip do not lengthen that time', async () => {
  const { port, accepted } = await serveTls(50)
  const client = connectTcp({ port, host: '127.0.0.1', noDelay: true })
  onTestFinished(() => void client.destroy())
  client.on('error', () => {})
  const closed = new Promise((resolve) => client.once('close', resolve))
  client.write(await clientHello())
  await within(new Promise((resolve) => client.once('data', resolve)), 'the ServerHello')
  const server = await within(accepted, 'the connection')
  client.write(Buffer.from([23, 3, 3, 0x40, 0])) // the head of a record of 16 KiB
  const drip = () => {
    if (!client.destroyed) client.write(Buffer.of(0), () => setTimeout(drip, 1))
  }
  drip()
  await within(closed, 'the server to cut the connection')
  expect(server.bytesRead).toBeLessThan(16 * 1024)
})

test('that time is ten seconds, for every entry', () => {
  tls.createServer.mockClear()
  const certificate = localhostCertificate()
  new PortableTls(readTls([certificate, { ...certificate, serverName: 'other.example' }]), () => {})
  const times = tls.createServer.mock.calls.map(([options]) => options.handshakeTimeout)
  expect(times).toEqual([MAX_PROLOGUE_TIME, MAX_PROLOGUE_TIME])
  expect(MAX_PROLOGUE_TIME).toBe(10_000)
})
