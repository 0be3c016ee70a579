/** Pings, pongs, and what becomes of silent clients. */
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import type { Socket, WebSocketServer } from '../../src/index.js'
import { Client } from '../support/client.js'
import { takeTheClock } from '../support/clock.js'
import { type Address, type Cleanup, describeEngines, describeEnginesAtOnce, serve } from '../support/engines.js'
import { closeFrame, frame, OPCODE, RawClient, text } from '../support/raw-client.js'
import { Deferred, Queue, turns, within } from '../support/waiting.js'

const MiB = 1024 * 1024

describeEngines('pings and pongs', (engine) => {
  const payloads = [
    Buffer.alloc(0),
    Buffer.from('x'),
    Buffer.from('grüße'),
    Buffer.from([0, 255, 128, 0]),
    Buffer.alloc(125, 'p'),
  ]

  test('a Ping is answered with its payload, and the handler sees it', async () => {
    const pings = new Queue<Buffer>()
    const client = await Client.open(await serve(engine, { ping: (_, data) => pings.push(data) }))
    for (const payload of payloads) {
      client.socket.ping(payload)
      expect(await client.pongs.next('the Pong')).toEqual(payload)
      const seen = await pings.next('the ping event')
      expect(seen).toBeInstanceOf(Buffer)
      expect(seen).toEqual(payload)
    }
  })

  test('a Ping is answered once, without any handler', async () => {
    const client = await RawClient.open(await serve(engine))
    client.write(frame({ opcode: OPCODE.PING, payload: 'once' }), closeFrame(1000))
    expect(await client.frame()).toMatchObject({ opcode: OPCODE.PONG, fin: true, masked: false, payload: Buffer.from('once') })
    expect(await client.frame()).toMatchObject({ opcode: OPCODE.CLOSE })
  })

  test('the server pings, and hears the pong', async () => {
    const pongs = new Queue<Buffer>()
    const sockets = new Queue<Socket>()
    const client = await Client.open(
      await serve(engine, { open: (socket) => sockets.push(socket), pong: (_, data) => pongs.push(data) }),
    )
    const socket = await sockets.next('open')
    for (const payload of payloads) {
      expect(socket.ping(payload)).not.toBe(0)
      expect(await client.pings.next('the Ping')).toEqual(payload)
      expect(await pongs.next('the pong event')).toEqual(payload)
    }
    expect(socket.ping()).not.toBe(0)
    expect(await pongs.next('the pong event')).toEqual(Buffer.alloc(0))
    socket.ping('text is UTF-8: é')
    expect((await pongs.next('the pong event')).toString()).toBe('text is UTF-8: é')
  })

  test('a Ping of more than 125 bytes is refused, and sends nothing', async () => {
    const errors = new Queue<unknown>()
    const served = await serve(engine, {
      open(socket) {
        for (const data of [Buffer.alloc(126), 'é'.repeat(63)]) {
          try {
            errors.push(socket.ping(data))
          } catch (error) {
            errors.push(error)
          }
        }
        socket.send('fine')
      },
    })
    const client = await Client.open(served)
    expect(await client.next()).toBe('fine')
    for (const error of await errors.take(2, 'errors')) {
      expect(error).toMatchObject({ name: 'OptionError', option: 'data' })
      expect(String(error)).toContain('125')
    }
    expect(client.pings.size).toBe(0)
  })

  test('an unsolicited Pong is an event like any other, and is not answered', async () => {
    const pongs = new Queue<Buffer>()
    const client = await RawClient.open(await serve(engine, { pong: (_, data) => pongs.push(data) }))
    for (const payload of payloads) {
      client.write(frame({ opcode: OPCODE.PONG, payload }))
      const seen = await pongs.next('the pong event')
      expect(seen).toBeInstanceOf(Buffer)
      expect(seen).toEqual(payload)
    }
    client.write(closeFrame(1000))
    expect(await client.frame()).toMatchObject({ opcode: OPCODE.CLOSE })
  })

  test('a Ping or Pong of more than 125 bytes ends the connection with 1002', async () => {
    const ended = new Queue<number>()
    const events = new Queue<Buffer>()
    const note = (_: unknown, data: Buffer) => events.push(data)
    const served = await serve(engine, { ping: note, pong: note, close: (_, code) => ended.push(code) })
    for (const opcode of [OPCODE.PING, OPCODE.PONG]) {
      const client = await RawClient.open(served)
      client.write(frame({ opcode, payload: Buffer.alloc(126) }))
      expect(await ended.next('close')).toBe(1002)
    }
    expect(events.size).toBe(0)
  })

  test('a ping can be sent from the ping and pong handlers, and from a socket that has just opened', async () => {
    const seen = new Queue<string>()
    const served = await serve(engine, {
      open: (socket) => void socket.ping('from open'),
      ping: (socket, data) => void socket.ping(data),
      pong: (_, data) => seen.push(String(data)),
    })
    const client = await Client.open(served)
    expect(await seen.next('the pong event')).toBe('from open')
    client.socket.ping('there and back')
    expect(await seen.next('the pong event')).toBe('there and back')
    expect(await client.pings.take(2, 'Pings')).toEqual([Buffer.from('from open'), Buffer.from('there and back')])
  })

  test('a ping answers 0 and does nothing once the socket is closing or closed', async () => {
    const ended = new Deferred<Socket>()
    const opened = new Deferred<Socket>()
    const served = await serve(engine, { open: (socket) => opened.resolve(socket), close: (socket) => ended.resolve(socket) })
    const client = await Client.open(served)
    const socket = await within(opened.promise, 'open')
    expect(socket.ping('before')).toBe(6)
    socket.close()
    expect(socket.ping('while closing')).toBe(0)
    await client.closed()
    expect((await within(ended.promise, 'close')).ping('closed')).toBe(0)
    expect(client.pings.size).toBe(1)
  })

  test('messages, pings and pongs reach the handlers in the order in which they came', async () => {
    const events = new Queue<string>()
    const served = await serve(engine, {
      message: (_, message) => events.push(`message ${message}`),
      ping: (_, data) => events.push(`ping ${data}`),
      pong: (_, data) => events.push(`pong ${data}`),
    })
    const client = await RawClient.open(served)
    const kinds = ['message', 'ping', 'pong', 'ping', 'message', 'pong']
    const sent: string[] = []
    const frames: Buffer[] = []
    for (let n = 0; n < 300; n++) {
      const kind = kinds[n % kinds.length] ?? ''
      sent.push(`${kind} ${n}`)
      frames.push(
        kind === 'message' ? text(`${n}`) : frame({ opcode: kind === 'ping' ? OPCODE.PING : OPCODE.PONG, payload: `${n}` }),
      )
    }
    client.write(...frames)
    expect(await events.take(300, 'events')).toEqual(sent)
  })

  test('kept ping payloads are not overwritten', async () => {
    const kept = new Queue<Buffer>()
    const client = await RawClient.open(await serve(engine, { ping: (_, data) => kept.push(data) }))
    const sent = Array.from({ length: 500 }, (_, n) => Buffer.alloc(100, n))
    client.write(...sent.map((payload) => frame({ opcode: OPCODE.PING, payload })))
    expect(await kept.take(500, 'pings')).toEqual(sent)
  })
})

/** Reads a MiB each second, 14 times, and then says something. */
async function readSlowly(address: Address, cleanup: Cleanup): Promise<void> {
  const reader = await RawClient.open(address, { path: '/behind' }, { cleanup })
  let read = 0
  reader.socket.on('data', (chunk) => {
    read += chunk.length
    if (read > MiB) reader.pause()
  })
  let pieces = 0
  const enough = new Deferred()
  const reading = setInterval(() => {
    read = 0
    reader.resume()
    if (++pieces === 14) enough.resolve()
  }, 1000)
  cleanup(() => clearInterval(reading))
  await enough.promise
  reader.write(text('still here'))
}

describeEnginesAtOnce('silent clients', (engine) => {
  test.concurrent('none is dropped before its time, with pings and without', { timeout: 60_000 }, async ({ onTestFinished }) => {
    const cleanup: Cleanup = (action) => onTestFinished(async () => action())
    const served = await serve(
      engine,
      { idleTimeout: 8 },
      { path: '/8', cleanup, routes: (server) => server.ws('/9', { idleTimeout: 9, sendPings: false }) },
    )
    // Each comes at another time of the server's clock, which has steps of seconds.
    const silences = Array.from({ length: 12 }, async (_, index) => {
      const idleTimeout = 8 + (index % 2)
      await sleep(index * 350)
      const begin = performance.now()
      const client = await RawClient.open(served, { path: `/${idleTimeout}` }, { cleanup })
      await client.closed('the silent client to be dropped', 30_000)
      return performance.now() - begin - idleTimeout * 1000
    })
    expect(Math.min(...(await Promise.all(silences)))).toBeGreaterThanOrEqual(0)
  })

  // Real seconds must pass here; the cases share them.
  test.concurrent('one without pings is dropped, and one that answers or sends stays', { timeout: 60_000 }, async ({
    onTestFinished,
  }) => {
    const cleanup: Cleanup = (action) => onTestFinished(async () => action())
    const dropped = new Deferred<[code: number, readyState: number]>()
    const surviving = new Queue<string>()
    const deaf = new Deferred<number>()
    const heard = new Queue<string | Buffer>()
    const behind = (server: WebSocketServer) =>
      server.ws('/behind', {
        idleTimeout: 8,
        maxBackpressure: 64 * MiB,
        open: (socket) => void socket.send(Buffer.alloc(64 * MiB)),
        message: (_, message) => heard.push(message),
      })
    const served = await serve(
      engine,
      {
        idleTimeout: 8,
        sendPings: false,
        message: (socket, message) => void socket.send(message),
        close: (socket, code) => dropped.resolve([code, socket.readyState]),
      },
      {
        path: '/silent',
        cleanup,
        routes: (server) =>
          behind(server)
            .ws('/pinged', {
              idleTimeout: 8,
              pong: () => surviving.push('pong'),
              message: (socket, message) => void socket.send(message),
            })
            .ws('/deaf', { idleTimeout: 8, close: (_, code) => deaf.resolve(code) })
            .ws('/patient', { idleTimeout: 0, sendPings: true, message: (socket, message) => void socket.send(message) }),
      },
    )
    const silent = await Client.open(served, '/silent', { cleanup })
    const pinged = await Client.open(served, '/pinged', { cleanup })
    const patient = await Client.open(served, '/patient', { cleanup })
    // Its pings are read and never answered.
    const unanswering = await Client.open(served, '/deaf', { cleanup, autoPong: false })
    const busy = await Client.open(served, '/pinged', { cleanup, autoPong: false })
    // Sends one long message, a piece at a time: no whole frame comes for longer than the timeout.
    const slow = await RawClient.open(served, { path: '/pinged' }, { cleanup })
    const long = text('x'.repeat(40))
    let sent = 0
    const outlived = new Deferred()
    const dripping = setInterval(() => {
      slow.write(long.subarray(sent, ++sent))
      if (sent === 13) outlived.resolve()
    }, 1000)
    cleanup(() => clearInterval(dripping))
    // What is behind a long message, a Ping too, its client sees much later.
    const readers = [served, await serve(engine, {}, { server: { tls: true }, routes: behind, cleanup })]
    const hasReadLong = readers.map((address) => readSlowly(address, cleanup))
    const chatter = setInterval(() => busy.send('busy'), 2000)
    cleanup(() => clearInterval(chatter))

    expect(await within(dropped.promise, 'the silent client to be dropped', 30_000)).toEqual([1006, 3])
    expect((await silent.closed()).code).toBe(1006)
    expect(await within(deaf.promise, 'the client that answers no ping to be dropped', 40_000)).toBe(1006)
    expect((await unanswering.closed()).code).toBe(1006)
    expect(await surviving.next('a pong', 30_000)).toBe('pong')
    await surviving.next('another pong', 30_000)
    expect(await pinged.ask('still here')).toBe('still here')
    busy.messages.push('mark')
    busy.send('last')
    for (let message = await busy.next(); message !== 'last'; message = await busy.next());
    expect(await patient.ask('still here')).toBe('still here')
    expect(patient.pings.size).toBe(0)
    await within(outlived.promise, 'well over 8 seconds without a whole frame', 30_000)
    await within(Promise.all(hasReadLong), 'well over 8 seconds of reading', 30_000)
    const messages = await heard.take(readers.length, 'messages from the clients that are behind')
    expect(messages).toEqual(readers.map(() => 'still here'))
    clearInterval(dripping)
    slow.write(long.subarray(sent))
    let answer = await slow.frame()
    while (answer.opcode === OPCODE.PING) answer = await slow.frame()
    expect(answer.payload.toString()).toBe('x'.repeat(40))
  })
})

// The steps of the native engine are counted in native/test/timeouts_test.cpp: that clock is not
// JavaScript's.
describe('silent clients, on the portable engine', () => {
  test('are dropped at the first look at them after their time, and are looked at each second', async () => {
    takeTheClock({ intervals: true })
    onTestFinished(() => void vi.useRealTimers())
    const closes = new Queue<number>()
    const served = await serve('portable', { idleTimeout: 8, sendPings: false, close: (_, code) => closes.push(code) })
    for (const phase of [0, 1, 400, 999]) {
      vi.advanceTimersByTime(phase)
      const client = await RawClient.open(served)
      vi.advanceTimersByTime(7999)
      await turns(20)
      expect(closes.size, `before its time, at ${phase} ms`).toBe(0)
      vi.advanceTimersByTime(1001)
      expect(await closes.next('close')).toBe(1006)
      await client.closed()
    }
  })
})
