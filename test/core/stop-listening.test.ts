/** `stopListening`, which closes no connection, and listening again. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import type { Backplane } from '../../src/index.js'
import { Client } from '../support/client.js'
import { addressOf, describeEngines, makeServer, serve } from '../support/engines.js'
import { http } from '../support/http.js'
import { RawClient } from '../support/raw-client.js'
import { within } from '../support/waiting.js'

describeEngines('stopListening', (engine) => {
  test('refuses new connections and leaves the open ones alone', async () => {
    const { server, ...address } = await serve(engine, {
      open: (socket) => void socket.subscribe('news'),
      message: (socket, message) => void socket.send(message),
    })
    const client = await Client.open(address)
    server.stopListening()
    await expect(RawClient.connect(address)).rejects.toMatchObject({ code: 'ECONNREFUSED' })
    expect(await client.ask('still here?')).toBe('still here?')
    expect(server.publish('news', 'to all')).toBe(true)
    expect(await client.next()).toBe('to all')
    expect(server.connections).toBe(1)
    server.stopListening()
  })

  test('lets an HTTP connection end with its next response', async () => {
    const { server, ...address } = await serve(engine)
    const client = await RawClient.connect(address)
    client.write('GET /health HTTP/1.1\r\nHost: a\r\n\r\n')
    expect((await client.response()).header('connection')).not.toBe('close')
    server.stopListening()
    client.write('GET /health HTTP/1.1\r\nHost: a\r\n\r\n')
    expect((await client.response()).header('connection')).toBe('close')
    await client.closed()
    await server.listen({ port: address.port, host: address.host })
    const later = await RawClient.connect(address)
    later.write('GET /health HTTP/1.1\r\nHost: a\r\n\r\n')
    expect((await later.response()).header('connection')).not.toBe('close')
  })

  test.each([{ tls: false }, { tls: true }])(
    'comes before listening again, with topics and counters as they were: %o',
    async ({ tls }) => {
      const { server, ...address } = await serve(
        engine,
        { open: (socket) => void socket.subscribe('news'), message: (socket, message) => void socket.send(message) },
        { server: tls ? { tls: true } : {} },
      )
      const first = await Client.open(address)
      for (const word of ['once', 'twice']) {
        server.stopListening()
        expect(await server.listen({ port: address.port, host: address.host })).toEqual({
          port: address.port,
          host: address.host,
        })
        expect(await (await Client.open(address)).ask(word)).toBe(word)
      }
      expect(server.subscribers('news')).toBe(3)
      server.publish('news', 'to all')
      expect(await first.next()).toBe('to all')
      expect(server.metrics()).toMatchObject({ connectionsAccepted: 3, messagesReceived: 2, tcpConnections: 3 })
      await within(server.close({ timeout: 1000 }), 'close')
      expect(await first.closed()).toMatchObject({ code: 1001 })
    },
  )

  test('comes before listening elsewhere: on another port, on a unix socket', async () => {
    const { server, ...address } = await serve(engine)
    const directory = mkdtempSync(join(tmpdir(), 'nws-'))
    onTestFinished(() => rmSync(directory, { recursive: true }))
    const unix = join(directory, 'socket')
    server.stopListening()
    await server.listen({ unix })
    expect(existsSync(unix)).toBe(true)
    server.stopListening()
    expect(existsSync(unix)).toBe(false)
    const { port } = await server.listen({ port: 0, host: '127.0.0.1' })
    expect(port).not.toBe(address.port)
    expect((await http(addressOf(port), '/health')).status).toBe(200)
  })

  test('leaves a failed attempt to listen again without effect on what is open', async () => {
    const holder = await serve(engine)
    const { server, ...address } = await serve(engine, { message: (socket, message) => void socket.send(message) })
    const client = await Client.open(address)
    server.stopListening()
    await expect(server.listen({ port: holder.port, host: '127.0.0.1' })).rejects.toMatchObject({ code: 'EADDRINUSE' })
    expect(await client.ask('here?')).toBe('here?')
    await server.listen({ port: address.port, host: address.host })
    expect(await (await Client.open(address)).ask('there?')).toBe('there?')
  })

  test('rejects the call of listen that is under way, and the next one holds', async () => {
    const server = makeServer(engine)
    const first = server.listen({ port: 0, host: '127.0.0.1' })
    server.stopListening()
    const second = server.listen({ port: 0, host: '127.0.0.1' })
    await expect(first).rejects.toMatchObject({ code: 'ERR_CLOSED' })
    const { port } = await second
    expect((await http(addressOf(port), '/health')).status).toBe(200)
  })

  test('keeps the routes: none can be added, and listening twice is refused as before', async () => {
    const { server } = await serve(engine)
    server.stopListening()
    expect(() => server.ws('/late', {})).toThrow(expect.objectContaining({ code: 'ERR_LISTENING' }))
    expect(() => server.get('/late', () => new Response())).toThrow(expect.objectContaining({ code: 'ERR_LISTENING' }))
    await server.listen({ port: 0, host: '127.0.0.1' })
    await expect(server.listen()).rejects.toMatchObject({ code: 'ERR_LISTENING' })
  })

  test('starts a backplane once', async () => {
    let starts = 0
    const backplane: Backplane = { start: () => void starts++, publish: () => {}, close: () => {} }
    const { server } = await serve(engine, {}, { server: { backplane } })
    server.stopListening()
    await server.listen({ port: 0, host: '127.0.0.1' })
    expect(starts).toBe(1)
  })

  test('does nothing before listen and after close', async () => {
    const server = makeServer(engine)
    server.stopListening()
    await server.listen({ port: 0, host: '127.0.0.1' })
    await within(server.close(), 'close')
    server.stopListening()
    await expect(server.listen()).rejects.toMatchObject({ code: 'ERR_CLOSED' })
  })
})
