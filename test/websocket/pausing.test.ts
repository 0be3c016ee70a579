/** `pause()` and `resume()`: a client that is made to wait. */
import { once } from 'node:events'
import { expect, test } from 'vitest'
import type { Socket, WebSocketHandlers } from '../../src/index.js'
import {
  type Cleanup,
  describeEngines,
  describeEnginesAtOnce,
  type EngineName,
  type ServeOptions,
  serve,
} from '../support/engines.js'
import { binary, type ConnectOptions, closeCode, closeFrame, frame, OPCODE, RawClient, text } from '../support/raw-client.js'
import { Deferred, Queue, turns, within } from '../support/waiting.js'

const KiB = 1024
const MiB = 1024 * KiB

interface Connection {
  readonly client: RawClient
  readonly socket: Socket
  /** What reached a handler, in order. */
  readonly events: Queue<string>
  readonly closed: Deferred<string>
}

async function connection(
  engine: EngineName,
  handlers: WebSocketHandlers<undefined> = {},
  options: ServeOptions = {},
  connect: ConnectOptions = {},
): Promise<Connection> {
  const sockets = new Queue<Socket>()
  const events = new Queue<string>()
  const closed = new Deferred<string>()
  const served = await serve(
    engine,
    {
      message: (_socket, message) => events.push(`message ${message.length > 100 ? message.length : message}`),
      ping: (_socket, data) => events.push(`ping ${data}`),
      pong: (_socket, data) => events.push(`pong ${data}`),
      close: (_socket, code, reason) => {
        events.push(`close ${code}`)
        closed.resolve(`${code} ${reason}`)
      },
      ...handlers,
      open(socket) {
        sockets.push(socket)
        return handlers.open?.(socket)
      },
    },
    options,
  )
  const client = await RawClient.open(served, {}, connect)
  return { client, socket: await sockets.next('open'), events, closed }
}

for (const tls of [false, true]) {
  const options: ServeOptions = tls ? { server: { tls: true } } : {}
  describeEngines(`a paused socket over ${tls ? 'TLS' : 'plain TCP'}`, (engine) => {
    test('is written to, so that a handler may pause until what it has sent is drained', async () => {
      const total = 1000
      const large = Buffer.alloc(100_000, 'x')
      let received = 0
      const { client } = await connection(
        engine,
        {
          message(socket) {
            received += 1
            if (socket.send(large) <= 0) socket.pause()
          },
          drain: (socket) => socket.resume(),
        },
        options,
      )
      client.pause()
      client.write(Buffer.concat(Array.from({ length: total }, () => text('x'))))
      await client.flushed()
      await turns(50)
      expect(received).toBeLessThan(total)
      client.resume()
      for (let n = 0; n < total; n++) expect((await client.frame()).payload.length).toBe(large.length)
      expect(received).toBe(total)
    })

    test('has had all that came together with the end of its client, in order', async () => {
      const { client, events, closed } = await connection(engine, {}, options)
      const messages = Array.from({ length: 3000 }, (_, n) => `${n}`)
      client.socket.end(Buffer.concat(messages.map((message) => text(message))))
      expect(await closed.promise).toMatch(/^1006/)
      expect(await events.take(messages.length, 'the messages')).toEqual(messages.map((message) => `message ${message}`))
    })

    test('hears nothing until resume, and then everything in order', async () => {
      const { client, socket, events } = await connection(engine, {}, options)
      socket.pause()
      client.write(text('one'), frame({ opcode: OPCODE.PING, payload: 'two' }), text('three'))
      client.write(frame({ opcode: OPCODE.PONG, payload: 'four' }))
      await client.flushed()
      await turns(20)
      expect(events.size).toBe(0)
      socket.resume()
      expect(events.size).toBe(0)
      expect(await events.take(4, 'what was sent')).toEqual(['message one', 'ping two', 'message three', 'pong four'])
      client.write(text('five'))
      expect(await events.next('the next message')).toBe('message five')
    })

    test('keeps what had been read already, when a handler pauses in the middle, and gives it in order', async () => {
      const log: string[] = []
      const done = new Deferred()
      const { client, socket } = await connection(
        engine,
        {
          message(socket, message) {
            log.push(`message ${message}`)
            if (message === '99') done.resolve()
            if (Number(message) % 10 === 3) {
              socket.pause()
              log.push('paused')
              setImmediate(() => {
                log.push('resumed')
                socket.resume()
              })
            }
          },
          ping: (_socket, data) => void log.push(`ping ${data}`),
        },
        options,
      )
      const frames = Array.from({ length: 100 }, (_, index) =>
        index % 10 === 4 ? frame({ opcode: OPCODE.PING, payload: `${index}` }) : text(`${index}`),
      )
      client.write(...frames)
      await within(done.promise, 'the last message')
      const expected: string[] = []
      for (let index = 0; index < 100; index++) {
        expected.push(`${index % 10 === 4 ? 'ping' : 'message'} ${index}`)
        if (index % 10 === 3) expected.push('paused', 'resumed')
      }
      expect(log).toEqual(expected)
      expect(socket.readyState).toBe(1)
    })

    test('makes the client wait: only what the network holds leaves it', async () => {
      const { client, socket, events } = await connection(engine, {}, options)
      socket.pause()
      const count = 64
      for (let index = 0; index < count; index++) client.write(frame({ opcode: OPCODE.BINARY, payload: Buffer.alloc(MiB) }))
      let isFlushed = false
      void client.flushed().then(() => {
        isFlushed = true
      })
      await turns(200)
      expect(isFlushed).toBe(false)
      expect(events.size).toBe(0)
      socket.resume()
      expect(await events.take(count, 'the messages', 30_000)).toEqual(Array(count).fill(`message ${MiB}`))
    })

    test('can be sent to, more than the client takes at once, and still hears nothing', async () => {
      const { client, socket, events } = await connection(engine, {}, options)
      client.pause()
      socket.pause()
      client.write(text('unheard'))
      while (socket.bufferedAmount < 4 * MiB) {
        socket.send(Buffer.alloc(256 * KiB))
        await turns(1)
      }
      client.resume()
      await within(socket.drained(), 'the client to have read all of it')
      await turns(10)
      expect(events.size).toBe(0)
      socket.resume()
      expect(await events.next('the message')).toBe('message unheard')
    })

    test('is closed soon after its client has reset the connection, with unread messages or without', async () => {
      for (const unread of [[], [text('unread')]]) {
        const { client, socket, closed } = await connection(engine, {}, options)
        socket.pause()
        client.write(...unread)
        await client.flushed()
        client.reset()
        expect(await within(closed.promise, 'the close')).toBe('1006 ')
      }
    })

    test('answers the Close frame of its client after resume, and messages before it first', async () => {
      const { client, socket, events, closed } = await connection(
        engine,
        { message: (socket, message) => void socket.send(`echo ${message}`) },
        options,
      )
      socket.pause()
      client.write(text('last words'), closeFrame(4001, 'bye'))
      await client.flushed()
      await turns(20)
      expect([socket.readyState, events.size]).toEqual([1, 0])
      socket.resume()
      expect(String((await client.frame('the answer')).payload)).toBe('echo last words')
      expect(closeCode(await client.frame('the Close frame'))).toBe(4001)
      expect(await within(closed.promise, 'the close')).toBe('4001 bye')
    })
  })
}

describeEngines('a paused socket', (engine) => {
  test('may be paused in open, before anything was heard', async () => {
    const { client, socket, events } = await connection(engine, { open: (socket) => socket.pause() })
    client.write(text('hello'))
    await client.flushed()
    await turns(20)
    expect(events.size).toBe(0)
    socket.resume()
    expect(await events.next('the message')).toBe('message hello')
  })

  test('can be closed: the handshake is heard, and nothing that was kept is delivered', async () => {
    const { client, socket, events, closed } = await connection(engine)
    socket.pause()
    client.write(text('never heard'))
    await client.flushed()
    socket.close(4000, 'enough')
    expect(closeCode(await client.frame('the Close frame'))).toBe(4000)
    client.write(closeFrame(4000, 'enough'))
    expect(await within(closed.promise, 'the close')).toBe('4000 enough')
    expect(events.size).toBe(1)
  })

  test('can be terminated', async () => {
    const { client, socket, closed } = await connection(engine)
    socket.pause()
    socket.terminate()
    expect(await within(closed.promise, 'the close')).toBe('1006 ')
    await client.closed()
  })

  test('whose client has gone finds out when it cannot be written to, and gets what was kept before close', async () => {
    const log: string[] = []
    const done = new Deferred()
    const { client, socket } = await connection(engine, {
      message(socket, message) {
        if (message === 'first') socket.pause()
        log.push(`message ${message}`)
      },
      close(_socket, code) {
        log.push(`close ${code}`)
        done.resolve()
      },
    })
    client.write(text('first'), text('second'), text('third'))
    while (log.length === 0) await turns(1)
    client.reset()
    await client.closed()
    while (socket.readyState === 1) {
      socket.send('are you there?')
      await turns(2)
    }
    await within(done.promise, 'the close')
    expect(log).toEqual(['message first', 'message second', 'message third', 'close 1006'])
  })

  test('whose client has reset the connection is closed soon, gets what was read, and not what was not', async () => {
    const { client, socket, events, closed } = await connection(engine, {
      message(socket, message) {
        if (message === 'first') socket.pause()
        events.push(`message ${message}`)
      },
    })
    client.write(text('first'), text('second'))
    expect(await events.next('the first message')).toBe('message first')
    // More than either engine reads ahead: the kernel has the rest.
    const unread = binary(Buffer.alloc(MiB))
    client.write(unread)
    await turns(20)
    client.reset()
    expect(await within(closed.promise, 'the close')).toBe('1006 ')
    expect(await events.take(2, 'what was kept, and the close')).toEqual(['message second', 'close 1006'])
    expect(socket.readyState).toBe(3)
  })

  test('whose client has ended its side, and then reset the connection, is closed soon', async () => {
    const { client, socket, closed } = await connection(engine, {}, {}, { allowHalfOpen: true })
    socket.pause()
    client.write(text('never heard'))
    client.end()
    await within(once(client.socket, 'finish'), 'the client to end its side')
    client.reset()
    expect(await within(closed.promise, 'the close')).toBe('1006 ')
  })

  test('whose client has gone finds out after resume at the latest', async () => {
    const { client, socket, closed } = await connection(engine)
    socket.pause()
    client.reset()
    await client.closed()
    await turns(10)
    socket.resume()
    expect(await within(closed.promise, 'the close')).toBe('1006 ')
  })

  test('pauses and resumes any number of times; calls on a closed one do nothing', async () => {
    const { client, socket, events, closed } = await connection(engine)
    socket.resume()
    socket.pause()
    socket.pause()
    socket.resume()
    socket.resume()
    socket.pause()
    socket.resume()
    client.write(text('heard'))
    expect(await events.next('the message')).toBe('message heard')
    socket.terminate()
    socket.pause()
    socket.resume()
    await within(closed.promise, 'the close')
    socket.pause()
    socket.resume()
  })
})

describeEnginesAtOnce('a paused socket, which says nothing', (engine) => {
  test('is not dropped for its silence, but after resume it is', async ({ onTestFinished }) => {
    const cleanup: Cleanup = (action) => onTestFinished(async () => action())
    const handlers = { idleTimeout: 8, sendPings: false }
    const { client, socket, closed } = await connection(engine, handlers, { cleanup }, { cleanup })
    socket.pause()
    const paused = Date.now()
    await new Promise((resolve) => setTimeout(resolve, 14_000))
    expect(socket.readyState).toBe(1)
    socket.resume()
    expect(await within(closed.promise, 'the timeout', 20_000)).toBe('1006 ')
    expect(Date.now() - paused).toBeGreaterThan(14_000 + 3000)
    await client.closed()
  }, 45_000)
})
