/** How connections and servers end: every code, every order, at every moment. */
import { expect, test } from 'vitest'
import { ClosedError, OptionError, type Socket, type WebSocketServer } from '../../src/index.js'
import { Client } from '../support/client.js'
import { RSV1 } from '../support/deflate.js'
import { addressOf, describeEngines, makeServer, serve } from '../support/engines.js'
import { repeated } from '../support/floods.js'
import { http } from '../support/http.js'
import { binary, closeCode, closeFrame, frame, OPCODE, RawClient, text } from '../support/raw-client.js'
import { Deferred, Queue, turns, within } from '../support/waiting.js'

const MiB = 1024 * 1024

/** Handlers that keep the sockets and the ends of their connections. */
function recorder() {
  const sockets = new Queue<Socket>()
  const ends = new Queue<{ socket: Socket; code: number; reason: string }>()
  return {
    sockets,
    ends,
    handlers: {
      open: (socket: Socket) => sockets.push(socket),
      close: (socket: Socket, code: number, reason: string) => ends.push({ socket, code, reason }),
    },
  }
}

describeEngines('a client that closes', (engine) => {
  for (const [code, reason] of [
    [1000, ''],
    [1000, 'done'],
    [1001, 'going away'],
    [1011, ''],
    [3000, 'registered'],
    [4999, 'private: größer'],
    [4000, 'x'.repeat(123)],
  ] as const) {
    test(`with ${code} and ${reason.length === 0 ? 'no reason' : `a reason of ${Buffer.byteLength(reason)} bytes`} is understood, and answered`, async () => {
      const { handlers, ends } = recorder()
      const client = await Client.open(await serve(engine, handlers))
      client.socket.close(code, reason)
      expect(await ends.next('close')).toMatchObject({ code, reason })
      expect((await client.closed()).code).toBe(code)
    })
  }

  test('without a code is 1005', async () => {
    const { handlers, ends } = recorder()
    const client = await RawClient.open(await serve(engine, handlers))
    client.write(closeFrame())
    expect(closeCode(await client.frame())).toSatisfy((code: number) => code === 1005 || code === 1000)
    expect(await ends.next('close')).toMatchObject({ code: 1005, reason: '' })
    await client.closed()
  })

  test('finds its socket closed in the handler, and after it', async () => {
    const states: number[] = []
    const ended = new Deferred<Socket>()
    const served = await serve(engine, {
      open: (socket) => void states.push(socket.readyState),
      close: (socket) => {
        states.push(socket.readyState)
        ended.resolve(socket)
      },
    })
    const client = await Client.open(served)
    expect(served.server.connections).toBe(1)
    client.socket.close()
    const socket = await within(ended.promise, 'close')
    expect(states).toEqual([1, 3])
    expect(socket.readyState).toBe(3)
    expect(socket.remoteAddress).toBe('127.0.0.1')
    expect(served.server.connections).toBe(0)
  })

  test('by vanishing is 1006', async () => {
    const { handlers, ends } = recorder()
    const client = await RawClient.open(await serve(engine, handlers))
    client.vanish()
    expect(await ends.next('close')).toMatchObject({ code: 1006, reason: '' })
  })

  test('by a reset is 1006', async () => {
    const { handlers, ends } = recorder()
    const client = await RawClient.open(await serve(engine, handlers))
    client.reset()
    expect(await ends.next('close')).toMatchObject({ code: 1006, reason: '' })
  })

  for (const tls of [false, true]) {
    test(`by half-closing without a Close frame is 1006, and the server lets go (${tls ? 'TLS' : 'plain'})`, async () => {
      const { handlers, ends } = recorder()
      const client = await RawClient.open(
        await serve(engine, handlers, tls ? { server: { tls: true } } : {}),
        {},
        { allowHalfOpen: true },
      )
      client.end()
      expect(await ends.next('close')).toMatchObject({ code: 1006, reason: '' })
      await client.rest()
    })
  }

  test('by half-closing right after a message and a Close frame is heard in full', async () => {
    const messages = new Queue<unknown>()
    const { handlers, ends } = recorder()
    const served = await serve(engine, { ...handlers, message: (_, message) => messages.push(message) })
    const client = await RawClient.open(served, {}, { allowHalfOpen: true })
    client.write(text('last words'), closeFrame(3001, 'bye'))
    client.end()
    expect(await messages.next('the message')).toBe('last words')
    expect(await ends.next('close')).toMatchObject({ code: 3001, reason: 'bye' })
    expect(closeCode(await client.frame())).toBe(3001)
    await client.rest()
  })

  for (const tls of [false, true]) {
    test(`right behind its messages still gets the answers to them, then the Close frame (${tls ? 'TLS' : 'plain'})`, async () => {
      const { handlers, ends } = recorder()
      const echo = { ...handlers, message: (socket: Socket, message: string | Buffer) => void socket.send(message) }
      const client = await RawClient.open(await serve(engine, echo, tls ? { server: { tls: true } } : {}))
      client.write(text('one'), binary(Buffer.alloc(50_000)), text('three'), closeFrame(3002, 'done'))
      expect((await client.frame()).payload.toString()).toBe('one')
      expect((await client.frame()).payload.length).toBe(50_000)
      expect((await client.frame()).payload.toString()).toBe('three')
      expect(closeCode(await client.frame())).toBe(3002)
      expect(await ends.next('close')).toMatchObject({ code: 3002, reason: 'done' })
      await client.rest()
    })
  }

  test('in the middle of a frame is 1006, the half message is never seen, and no other client is disturbed', async () => {
    const messages = new Queue<unknown>()
    const { handlers, ends } = recorder()
    const served = await serve(engine, {
      ...handlers,
      message: (socket, message) => {
        messages.push(message)
        socket.send(message)
      },
    })
    const witness = await Client.open(served)
    const whole = binary(Buffer.alloc(100_000))
    for (const length of [1, 2, 3, 9, 13, 14, 50_000, whole.length - 1]) {
      for (const leave of ['vanish', 'reset', 'end'] as const) {
        const client = await RawClient.open(served)
        client.write(whole.subarray(0, length))
        await client.flushed()
        client[leave]()
        expect(await ends.next('close')).toMatchObject({ code: 1006 })
      }
    }
    expect(messages.size).toBe(0)
    expect(await witness.ask('undisturbed')).toBe('undisturbed')
  })

  test('has readyState say so as soon as send takes no more', async () => {
    const { handlers, ends, sockets } = recorder()
    const served = await serve(engine, handlers)
    for (let round = 0; round < 10; round++) {
      const client = await RawClient.open(served)
      const socket = await sockets.next('open')
      client.write(closeFrame(3003))
      const disagreements: number[] = []
      while (socket.readyState !== 3) {
        const { readyState } = socket
        if ((socket.send('more') !== 0) !== (readyState === 1)) disagreements.push(readyState)
        await turns(1)
      }
      expect(await ends.next('close')).toMatchObject({ code: 3003 })
      expect(disagreements).toEqual([])
    }
  })

  test('while the server sends to it harms no other client', async () => {
    const { handlers, ends, sockets } = recorder()
    const served = await serve(engine, handlers)
    const witness = await Client.open(served)
    const witnessSocket = await sockets.next('open')
    for (let round = 0; round < 10; round++) {
      const client = await RawClient.open(served)
      const socket = await sockets.next('open')
      client.reset()
      while (socket.readyState === 1) {
        socket.send(Buffer.alloc(50_000))
        await turns(1)
      }
      expect(await ends.next('close')).toMatchObject({ code: 1006 })
    }
    witnessSocket.send('undisturbed')
    expect(await witness.next()).toBe('undisturbed')
  })
})

describeEngines('a server that closes a socket', (engine) => {
  test('with a code and a reason gives them to the client, and hears the answer', async () => {
    const { handlers, ends, sockets } = recorder()
    const client = await Client.open(await serve(engine, handlers))
    const socket = await sockets.next('open')
    socket.close(4321, 'grund: ö')
    expect(socket.readyState).toBe(2)
    expect(await client.closed()).toEqual({ code: 4321, reason: 'grund: ö' })
    expect(await ends.next('close')).toMatchObject({ code: 4321 })
    expect(socket.readyState).toBe(3)
  })

  test('without a code sends an empty Close frame, and both sides see 1005', async () => {
    const { handlers, sockets, ends } = recorder()
    const served = await serve(engine, handlers)
    const client = await Client.open(served)
    const socket = await sockets.next('open')
    socket.close()
    expect(await client.closed()).toEqual({ code: 1005, reason: '' })
    expect(await ends.next('close')).toMatchObject({ code: 1005, reason: '' })
    const raw = await RawClient.open(served)
    ;(await sockets.next('open')).close()
    expect(await raw.frame()).toMatchObject({ opcode: OPCODE.CLOSE, payload: Buffer.alloc(0) })
  })

  test('with a reason alone gives 1000 with it', async () => {
    const { handlers, sockets } = recorder()
    const client = await Client.open(await serve(engine, handlers))
    const socket = await sockets.next('open')
    socket.close(undefined, 'done')
    expect(await client.closed()).toEqual({ code: 1000, reason: 'done' })
  })

  for (const code of [1000, 1001, 1003, 1007, 1008, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]) {
    test(`may use ${code}`, async () => {
      const { handlers, sockets } = recorder()
      const client = await Client.open(await serve(engine, handlers))
      const socket = await sockets.next('open')
      socket.close(code)
      expect((await client.closed()).code).toBe(code)
    })
  }

  for (const code of [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, -1, 1000.5, Number.NaN, '1000', null]) {
    test(`may not use ${typeof code === 'string' ? `'${code}'` : code}, and stays open`, async () => {
      const { handlers, sockets } = recorder()
      const client = await Client.open(await serve(engine, handlers))
      const socket = await sockets.next('open')
      // The cast lets through what TypeScript would refuse and JavaScript would not.
      expect(() => socket.close(code as number)).toThrow(OptionError)
      expect(socket.readyState).toBe(1)
      socket.send('open')
      expect(await client.next()).toBe('open')
    })
  }

  test('may not give a reason of more than 123 bytes, and stays open', async () => {
    const { handlers, sockets } = recorder()
    const client = await Client.open(await serve(engine, handlers))
    const socket = await sockets.next('open')
    for (const reason of ['x'.repeat(124), 'é'.repeat(62)]) {
      expect(() => socket.close(1000, reason)).toThrow(expect.objectContaining({ name: 'OptionError', option: 'reason' }))
    }
    socket.close(1000, `${'é'.repeat(61)}x`)
    expect(await client.closed()).toEqual({ code: 1000, reason: `${'é'.repeat(61)}x` })
  })

  test('at the same time as the client: each sees the other’s code', async () => {
    const { handlers, ends, sockets } = recorder()
    const client = await RawClient.open(await serve(engine, handlers))
    const socket = await sockets.next('open')
    socket.close(4001, 'from the server')
    client.write(closeFrame(3001, 'from the client'))
    const received = await client.frame()
    expect(closeCode(received)).toBe(4001)
    expect(received.payload.subarray(2).toString()).toBe('from the server')
    expect(await ends.next('close')).toMatchObject({ code: 3001, reason: 'from the client' })
    expect((await client.rest()).length).toBe(0) // one Close frame, no second one
  })

  test('twice is once, and the first code counts', async () => {
    const { handlers, ends, sockets } = recorder()
    const client = await Client.open(await serve(engine, handlers))
    const socket = await sockets.next('open')
    socket.close(4001, 'first')
    socket.close(4002, 'second')
    expect(await client.closed()).toEqual({ code: 4001, reason: 'first' })
    expect(await ends.next('close')).toMatchObject({ code: 4001 })
    socket.close(4003)
    socket.terminate()
    await turns()
    expect(ends.size).toBe(0)
  })

  test('and then cuts it gives 1006, once', async () => {
    const { handlers, ends, sockets } = recorder()
    const client = await RawClient.open(await serve(engine, handlers))
    const socket = await sockets.next('open')
    socket.close(4001)
    socket.terminate()
    socket.terminate()
    expect(await ends.next('close')).toMatchObject({ code: 1006 })
    await client.closed()
    await turns()
    expect(ends.size).toBe(0)
  })

  test('by terminate gives 1006 on both sides', async () => {
    const { handlers, ends, sockets } = recorder()
    const client = await Client.open(await serve(engine, handlers))
    const socket = await sockets.next('open')
    socket.terminate()
    expect(socket.readyState).not.toBe(1)
    expect(socket.send('x')).toBe(0)
    expect((await client.closed()).code).toBe(1006)
    expect(await ends.next('close')).toMatchObject({ code: 1006 })
  })

  test('hears no message any more', async () => {
    const messages: unknown[] = []
    const { handlers, ends } = recorder()
    const served = await serve(engine, {
      ...handlers,
      message: (socket, message) => {
        messages.push(message)
        socket.close(4000)
      },
    })
    const client = await RawClient.open(served)
    client.write(text('one'), text('two'), text('three'))
    expect(closeCode(await client.frame())).toBe(4000)
    client.write(text('four'), closeFrame(4000))
    expect(await ends.next('close')).toMatchObject({ code: 4000 })
    expect(messages).toEqual(['one'])
  })

  test('from each of its own handlers, twice, is fine', async () => {
    const { sockets, handlers, ends } = recorder()
    const leave = (socket: Socket): void => {
      socket.close(4000)
      socket.close(4000)
    }
    const served = await serve(
      engine,
      { close: handlers.close },
      {
        path: '/none',
        routes: (server) =>
          server
            .ws('/open', { ...handlers, open: leave })
            .ws('/message', { ...handlers, message: leave })
            .ws('/ping', { ...handlers, ping: leave })
            .ws('/pong', { ...handlers, pong: leave })
            .ws('/close', {
              open: handlers.open,
              close(socket, code, reason) {
                leave(socket)
                socket.terminate()
                handlers.close(socket, code, reason)
              },
            }),
      },
    )
    for (const path of ['/open', '/message', '/ping', '/pong', '/close']) {
      const client = await Client.open(served, path)
      if (path === '/message') client.send('x')
      if (path === '/ping') client.socket.ping()
      if (path === '/pong') client.socket.pong()
      if (path === '/close') client.socket.close(4000)
      expect((await client.closed()).code).toBe(4000)
      expect(await ends.next('close')).toMatchObject({ code: 4000 })
    }
    expect(ends.size).toBe(0)
    expect(sockets.size).toBe(4)
  })

  test('delivers the 10 MiB that wait before the Close frame', async () => {
    const { handlers, sockets } = recorder()
    const client = await RawClient.open(await serve(engine, { ...handlers, maxBackpressure: 64 * MiB }))
    client.pause()
    const socket = await sockets.next('open')
    for (let n = 0; n < 10; n++) expect(socket.send(Buffer.alloc(MiB, n))).not.toBe(0)
    socket.close(4000, 'all said')
    expect(socket.send('too late')).toBe(0)
    await turns()
    client.resume()
    for (let n = 0; n < 10; n++) {
      const { opcode, payload } = await client.frame()
      expect(opcode).toBe(OPCODE.BINARY)
      expect(payload.equals(Buffer.alloc(MiB, n))).toBe(true)
    }
    const last = await client.frame()
    expect(closeCode(last)).toBe(4000)
    expect(last.payload.subarray(2).toString()).toBe('all said')
  })

  test('hears drain when the last of what waits before the Close frame is written, and not if it never is', async () => {
    const drains = new Queue<number>()
    const { handlers, sockets, ends } = recorder()
    const served = await serve(engine, { ...handlers, drain: (socket) => void drains.push(socket.bufferedAmount) })
    for (const reads of [true, false]) {
      const client = await RawClient.open(served)
      client.pause()
      const socket = await sockets.next('open')
      // Of the first, a part waits for the client, and the rest behind it.
      while (socket.send(Buffer.alloc(8 * MiB)) > 0);
      socket.close(1000)
      await turns(20)
      expect(drains.size).toBe(0)
      if (reads) {
        client.resume()
        expect(await drains.next('drain')).toBe(0)
        expect(ends.size).toBe(0)
      }
      client.reset()
      expect(await ends.next('close')).toMatchObject({ code: 1006 })
      expect(drains.size).toBe(0)
    }
  })

  test('whose queue is full still sends the Close frame', async () => {
    const { handlers, sockets } = recorder()
    const client = await RawClient.open(await serve(engine, { ...handlers, maxBackpressure: MiB }))
    client.pause()
    const socket = await sockets.next('open')
    let taken = 0
    while (socket.send(Buffer.alloc(50_000)) !== 0) taken++
    socket.close(1013, 'too slow')
    client.resume()
    for (let n = 0; n < taken; n++) expect((await client.frame()).payload.length).toBe(50_000)
    expect(closeCode(await client.frame())).toBe(1013)
  })
})

describeEngines('closing the server', (engine) => {
  for (const tls of [false, true]) {
    test(`closes every client with 1001, and resolves when all have gone (${tls ? 'TLS' : 'plain'})`, async () => {
      const { handlers, ends } = recorder()
      const served = await serve(engine, handlers, tls ? { server: { tls: true } } : {})
      const clients = await Client.openMany(served, 20)
      const closed = served.server.close()
      const seen = await Promise.all(clients.map((client) => client.closed()))
      expect(seen.map(({ code }) => code)).toEqual(Array(20).fill(1001))
      await within(closed, 'close')
      expect(ends.size).toBe(20)
      expect(served.server.connections).toBe(0)
    })
  }

  test('uses the code and reason that it is given', async () => {
    const { handlers } = recorder()
    const served = await serve(engine, handlers)
    const client = await Client.open(served)
    await within(served.server.close({ code: 4444, reason: 'maintenance' }), 'close')
    expect(await client.closed()).toEqual({ code: 4444, reason: 'maintenance' })
  })

  test('cuts a peer that never answers the Close frame, after the timeout', async () => {
    const { handlers, ends } = recorder()
    const served = await serve(engine, handlers)
    const stubborn = await RawClient.open(served)
    const polite = await Client.open(served)
    const closed = served.server.close({ timeout: 200 })
    expect(closeCode(await stubborn.frame())).toBe(1001)
    expect((await polite.closed()).code).toBe(1001)
    await within(closed, 'close')
    await stubborn.closed()
    const codes = (await ends.take(2, 'close')).map(({ code }) => code)
    expect(codes.sort()).toEqual([1001, 1006])
  })

  test('cuts a peer that does not read, after the timeout', async () => {
    const { handlers, ends, sockets } = recorder()
    const served = await serve(engine, handlers)
    const client = await RawClient.open(served)
    client.pause()
    const socket = await sockets.next('open')
    while (socket.send(Buffer.alloc(100_000)) !== 0);
    await within(served.server.close({ timeout: 200 }), 'close')
    expect(await ends.next('close')).toMatchObject({ code: 1006 })
  })

  test('inflates nothing more once its timeout has cut the clients, and tells the close handlers of all of them', async () => {
    const [ends, clients] = [new Queue<number>(), 60]
    let receivedAtFirstEnd = 0
    const served = await serve(engine, {
      compression: {},
      close: (_socket, code) => {
        if (ends.size === 0) receivedAtFirstEnd = served.server.metrics().messagesReceived
        ends.push(code)
      },
    })
    const headers = ['Sec-WebSocket-Extensions: permessage-deflate']
    const flooders = await Promise.all(Array.from({ length: clients }, () => RawClient.open(served, { headers })))
    const flood = repeated(frame({ opcode: OPCODE.BINARY, payload: Buffer.alloc(1), reserved: RSV1 }), 20_000)
    for (const flooder of flooders) flooder.write(flood)
    while (served.server.metrics().messagesReceived === 0) await turns(1)
    await within(served.server.close({ timeout: 100 }), 'close')
    expect(await ends.take(clients, 'the close events')).toEqual(Array(clients).fill(1006))
    expect(served.server.metrics()).toMatchObject({ connectionsOpen: 0, messagesReceived: receivedAtFirstEnd })
  })

  test('twice gives the same end twice', async () => {
    const { handlers, ends } = recorder()
    const served = await serve(engine, handlers)
    const client = await Client.open(served)
    const both = Promise.all([served.server.close(), served.server.close({ code: 4000 })])
    expect((await client.closed()).code).toBe(1001)
    await within(both, 'both calls of close')
    await within(served.server.close(), 'a call of close after the end')
    expect(ends.size).toBe(1)
  })

  test('is possible from every handler', async () => {
    for (const event of ['open', 'message', 'ping', 'close'] as const) {
      const closed = new Deferred()
      const served = await serve(engine, {
        [event]: () => {
          served.server.close().then(() => closed.resolve(), closed.reject)
        },
      })
      const bystander = event === 'open' ? undefined : await Client.open(served)
      const client = await Client.open(served)
      if (event === 'message') client.send('x')
      if (event === 'ping') client.socket.ping()
      if (event === 'close') client.socket.close(1000)
      expect((await client.closed(`the end after ${event}`)).code).toBe(event === 'close' ? 1000 : 1001)
      if (bystander !== undefined) expect((await bystander.closed()).code).toBe(1001)
      await within(closed.promise, `close from ${event}`)
    }
  })

  test('is possible from an HTTP handler, whose answer still arrives', async () => {
    const closed = new Deferred()
    const served = await serve(
      engine,
      {},
      {
        path: '/socket',
        routes: (server) =>
          server.get('/stop', () => {
            server.close().then(() => closed.resolve(), closed.reject)
            return new Response('stopping')
          }),
      },
    )
    expect((await http(served, '/stop')).body.toString()).toBe('stopping')
    await within(closed.promise, 'close')
  })

  test('waits for an HTTP request that is being answered', async () => {
    const started = new Deferred()
    const gate = new Deferred()
    const served = await serve(
      engine,
      {},
      {
        path: '/socket',
        routes: (server) =>
          server.get('/slow', async () => {
            started.resolve()
            await gate.promise
            return new Response('answered')
          }),
      },
    )
    const answer = http(served, '/slow')
    await within(started.promise, 'the request')
    let done = false
    const closed = served.server.close().then(() => {
      done = true
    })
    await turns()
    expect(done).toBe(false)
    gate.resolve()
    expect((await answer).body.toString()).toBe('answered')
    await within(closed, 'close')
  })

  test('cuts an HTTP request that is not answered, after the timeout', async () => {
    const started = new Deferred()
    const aborted = new Deferred()
    const served = await serve(
      engine,
      {},
      {
        path: '/socket',
        routes: (server) =>
          server.get('/never', ({ signal }) => {
            signal.addEventListener('abort', () => aborted.resolve())
            started.resolve()
            return new Promise(() => {})
          }),
      },
    )
    const client = await RawClient.connect(served)
    client.write('GET /never HTTP/1.1\r\nHost: x\r\n\r\n')
    await within(started.promise, 'the request')
    await within(served.server.close({ timeout: 200 }), 'close')
    await client.closed()
    await within(aborted.promise, 'the abort signal')
  })

  test('does not wait for connections that are idle, silent, or in the middle of a request', async () => {
    const served = await serve(engine, {}, { path: '/socket' })
    const silent = await RawClient.connect(served)
    const idle = await RawClient.connect(served)
    idle.write('GET /health HTTP/1.1\r\nHost: x\r\n\r\n')
    await idle.response()
    await within(served.server.close({ timeout: 60_000 }), 'close')
    await Promise.all([silent, idle].map((client) => client.closed()))
  })

  for (const tls of [false, true]) {
    test(`while 50 clients connect leaves none behind (${tls ? 'TLS' : 'plain'})`, async () => {
      for (let round = 0; round < 4; round++) {
        const opened = new Queue<Socket>()
        const ended = new Queue<number>()
        const served = await serve(
          engine,
          { open: (socket) => opened.push(socket), close: (_, code) => ended.push(code) },
          tls ? { server: { tls: true } } : {},
        )
        const attempts = Array.from({ length: 50 }, () =>
          Client.open(served).then(
            (client) => client.closed(),
            () => 'refused',
          ),
        )
        // Rounds stop at different moments: at once, and when some clients are through.
        if (round > 0) await opened.take(round * 8, 'open')
        await within(served.server.close({ timeout: 2000 }), 'close')
        await Promise.all(attempts)
        expect(ended.size).toBe(opened.size + round * 8)
        expect(served.server.connections).toBe(0)
      }
    })
  }

  test('refuses handshakes on connections that were open before', async () => {
    const { handlers } = recorder()
    const served = await serve(engine, handlers, { path: '/socket' })
    const holdout = await RawClient.open(served, { path: '/socket' })
    const half = await RawClient.connect(served)
    half.write('GET /socket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n')
    await half.flushed()
    await http(served, '/health') // by now the server has read the half request, too
    const closed = served.server.close({ timeout: 2000 })
    await holdout.frame()
    half.write('Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n')
    expect((await half.response()).status).toBe(503)
    holdout.vanish()
    await within(closed, 'close')
  })

  test('before it listens is final: listening is a ClosedError', async () => {
    const server = makeServer(engine)
    await within(server.close(), 'close')
    await expect((async () => server.listen({ port: 0 }))()).rejects.toBeInstanceOf(ClosedError)
  })

  test('after it listened is final: listening is a ClosedError', async () => {
    const { server } = await serve(engine)
    await server.close()
    await expect((async () => server.listen({ port: 0 }))()).rejects.toMatchObject({ code: 'ERR_CLOSED' })
  })

  test('while it starts to listen leaves no open port', async () => {
    const server = makeServer(engine)
    const listening = server.listen({ port: 0, host: '127.0.0.1' }).then(
      ({ port }) => port,
      (error: unknown) => error,
    )
    await within(server.close(), 'close')
    const port = await within(listening, 'listen')
    if (typeof port === 'number') {
      await expect(RawClient.connect({ host: '127.0.0.1', port, secure: false })).rejects.toMatchObject({ code: 'ECONNREFUSED' })
    } else {
      expect(port).toBeInstanceOf(ClosedError)
    }
  })

  test('leaves every later call defined', async () => {
    const { handlers, sockets } = recorder()
    const served = await serve(engine, handlers)
    await Client.open(served)
    const socket = await sockets.next('open')
    await within(served.server.close({ timeout: 500 }), 'close')
    const { server } = served
    expect(server.publish('t', 'x')).toBe(false)
    expect(server.subscribers('t')).toBe(0)
    expect(server.connections).toBe(0)
    expect(server.engine).toBe(engine)
    expect(server.ref().unref()).toBe(server)
    expect([socket.send('x'), socket.ping(), socket.publish('t', 'x'), socket.subscribe('t')]).toEqual([0, 0, false, false])
    socket.close()
    socket.terminate()
    expect(socket.readyState).toBe(3)
  })

  test('happens at the end of an "await using" block', async () => {
    let client: Client
    let disposed: WebSocketServer
    {
      await using server = makeServer(engine).ws('/', {})
      const { port } = await server.listen({ host: '127.0.0.1' })
      client = await Client.open(addressOf(port))
      disposed = server
    }
    expect((await client.closed()).code).toBe(1001)
    expect(disposed.connections).toBe(0)
    await expect((async () => disposed.listen())()).rejects.toBeInstanceOf(ClosedError)
  })

  test('while its handlers are at work lets them end: what they send by then is refused', async () => {
    const started = new Deferred()
    const gate = new Deferred()
    const sent = new Deferred<number>()
    const served = await serve(engine, {
      async message(socket) {
        started.resolve()
        await gate.promise
        sent.resolve(socket.send('too late'))
      },
    })
    const client = await Client.open(served)
    client.send('x')
    await within(started.promise, 'the message')
    await within(served.server.close(), 'close')
    expect((await client.closed()).code).toBe(1001)
    gate.resolve()
    expect(await within(sent.promise, 'the handler')).toBe(0)
  })

  for (const [option, value] of [
    ['code', 1005],
    ['code', 'x'],
    ['reason', 'x'.repeat(124)],
    ['timeout', -1],
    ['timeout', '5'],
    ['timeout', Number.NaN],
  ] as const) {
    test(`with ${option} ${String(value).slice(0, 9)} is an OptionError, and closes nothing`, async () => {
      const served = await serve(engine, { message: (socket, message) => void socket.send(message) })
      // The cast lets through what TypeScript would refuse and JavaScript would not.
      const options = { [option]: value } as { timeout: number }
      await expect((async () => served.server.close(options))()).rejects.toMatchObject({ name: 'OptionError', option })
      const client = await Client.open(served)
      expect(await client.ask('open')).toBe('open')
    })
  }
})

describeEngines('nothing is lost', (engine) => {
  test('of a large answer that is on its way when the server closes', async () => {
    const asked = new Deferred<void>()
    const server = makeServer(engine)
    server.get('/large', () => {
      asked.resolve()
      return new Response(new Uint8Array(32 * MiB).fill(7))
    })
    const { port } = await server.listen({ host: '127.0.0.1' })
    const answer = http(addressOf(port), '/large')
    await within(asked.promise, 'the request')
    await server.close()
    expect((await answer).body.length).toBe(32 * MiB)
  })

  test('of what waits for a client that has already said goodbye', async () => {
    const { handlers, ends } = recorder()
    const served = await serve(engine, {
      ...handlers,
      maxBackpressure: 64 * MiB,
      message(socket) {
        for (let i = 0; i < 20; i++) socket.send(Buffer.alloc(MiB, i))
      },
    })
    const client = await RawClient.open(served)
    client.write(Buffer.concat([text('go'), closeFrame(3000)]))
    for (let i = 0; i < 20; i++) expect((await client.frame()).payload.equals(Buffer.alloc(MiB, i))).toBe(true)
    expect(closeCode(await client.frame())).toBe(3000)
    expect((await ends.next('the end')).code).toBe(3000)
  })
})
