/**
 * `sendPings` with an interval, on real connections. The time that it takes is passed by a clock that is
 * turned by hand.
 */
import { afterEach, expect, test, vi } from 'vitest'
import type { Socket } from '../../src/index.js'
import { Client } from '../support/client.js'
import { takeTheClock } from '../support/clock.js'
import { describeEngines, serve } from '../support/engines.js'
import { closeFrame, OPCODE, RawClient } from '../support/raw-client.js'
import { Queue, turns } from '../support/waiting.js'

const MiB = 1024 * 1024

afterEach(() => vi.useRealTimers())

describeEngines('sendPings with an interval', (engine) => {
  test('pings at that pace whatever is sent, with idleTimeout 0, and each route at its own', async () => {
    takeTheClock()
    const echo = (socket: Socket, message: string | Buffer) => void socket.send(message)
    const served = await serve(
      engine,
      { idleTimeout: 0, sendPings: { interval: 10 }, message: echo },
      {
        path: '/ten',
        routes: (server) =>
          server.ws('/hour', { sendPings: { interval: 3600 }, message: echo }).ws('/none', { idleTimeout: 0, message: echo }),
      },
    )
    const [ten, hour, none] = [
      await Client.open(served, '/ten'),
      await Client.open(served, '/hour'),
      await Client.open(served, '/none'),
    ]
    vi.advanceTimersByTime(4000)
    const late = await Client.open(served, '/ten')
    for (let count = 1; count <= 3; count++) {
      vi.advanceTimersByTime(5999)
      for (const client of [ten, late, hour, none]) expect(await client.ask('traffic')).toBe('traffic')
      expect([ten.pings.size, late.pings.size]).toEqual([0, 0])
      vi.advanceTimersByTime(1)
      expect(await ten.pings.next('the Ping')).toEqual(Buffer.alloc(0))
      vi.advanceTimersByTime(4000)
      expect(await late.pings.next('the other Ping')).toEqual(Buffer.alloc(0))
    }
    for (const client of [ten, late, hour, none]) await client.ask('last')
    expect([ten, late, hour, none].map((client) => client.pings.size)).toEqual([0, 0, 0, 0])
  })

  test('sends a Ping also where a handler has just sent something in the same turn', async () => {
    takeTheClock()
    const sockets = new Queue<Socket>()
    const served = await serve(engine, {
      sendPings: { interval: 10 },
      open: (socket) => {
        sockets.push(socket)
        setTimeout(() => socket.send('ticks'), 10_000)
      },
    })
    const client = await Client.open(served)
    const socket = await sockets.next('open')
    setTimeout(() => socket.send('tocks'), 9999)
    vi.advanceTimersByTime(10_000)
    await client.pings.next('the Ping')
    expect((await client.messages.take(2, 'both')).sort()).toEqual(['ticks', 'tocks'])
  })

  test('leaves Pings out while bytes wait for the client, and goes on when it has read them', async () => {
    takeTheClock()
    const sockets = new Queue<Socket>()
    const drains = new Queue<number>()
    const served = await serve(engine, {
      idleTimeout: 0,
      sendPings: { interval: 10 },
      maxBackpressure: 1,
      open: (socket) => sockets.push(socket),
      drain: (socket) => drains.push(socket.bufferedAmount),
    })
    const client = await RawClient.open(served)
    client.pause()
    const socket = await sockets.next('open')
    socket.send(Buffer.alloc(16 * MiB))
    await turns(2)
    for (let n = 0; n < 5; n++) {
      const before = socket.bufferedAmount
      expect(before).toBeGreaterThan(MiB)
      vi.advanceTimersByTime(10_000)
      await turns(2)
      expect(socket.bufferedAmount).toBeLessThanOrEqual(before)
    }
    expect(socket.send('owes a drain')).toBe(0)
    client.resume()
    expect((await client.frame()).opcode).toBe(OPCODE.BINARY)
    await drains.next('drain')
    vi.advanceTimersByTime(10_000)
    expect(await client.frame('the Ping')).toMatchObject({ opcode: OPCODE.PING, payload: Buffer.alloc(0) })
    await turns(2)
    socket.send('.')
    expect((await client.frame()).opcode).toBe(OPCODE.TEXT)
  })

  test('sends none while the connection is closing, and is over with it', async () => {
    takeTheClock()
    const sockets = new Queue<Socket>()
    const served = await serve(engine, { sendPings: { interval: 10 }, open: (socket) => sockets.push(socket) })
    const client = await RawClient.open(served)
    const socket = await sockets.next('open')
    socket.close(4000)
    vi.advanceTimersByTime(20_000)
    expect((await client.frame()).opcode).toBe(OPCODE.CLOSE)
    client.write(closeFrame(4000))
    await client.closed()
    while (served.server.connections > 0) await turns(1)
    vi.advanceTimersByTime(20_000)
  })
})
