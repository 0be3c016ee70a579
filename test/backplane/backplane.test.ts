/** The `backplane` option: what goes out, what comes in, and its start, failures and end. */
import { BroadcastChannel } from 'node:worker_threads'
import { expect, onTestFinished, test } from 'vitest'
import { type Backplane, OptionError, type Socket, WebSocketServer } from '../../src/index.js'
import { Child } from '../support/child.js'
import { Client } from '../support/client.js'
import { addressOf, describeEngines, type EngineName, listen, makeServer, type Served } from '../support/engines.js'
import { Deferred, Queue, within } from '../support/waiting.js'

type Deliver = Parameters<Backplane['start']>[0]
type Published = Parameters<Backplane['publish']>

/** Remembers what it was given; what comes in is for the test to say. */
class Recorder implements Backplane {
  readonly published: Published[] = []
  readonly calls: string[] = []
  deliver: Deliver = () => {
    throw new Error('not started')
  }

  start(deliver: Deliver): void | Promise<void> {
    this.calls.push('start')
    this.deliver = deliver
  }

  publish(...message: Published): void | Promise<void> {
    this.published.push(message)
  }

  close(): void | Promise<void> {
    this.calls.push('close')
  }
}

/** A server whose sockets subscribe to "t" as they open. */
async function joined(
  engine: EngineName,
  backplane: Backplane,
  onError?: (error: Error) => void,
): Promise<{ served: Served; join: () => Promise<{ client: Client; socket: Socket }> }> {
  const opened = new Queue<Socket>()
  const server = makeServer(engine, { server: { backplane, ...(onError && { onError }) } }).ws('/*', {
    open(socket) {
      socket.subscribe('t')
      opened.push(socket)
    },
  })
  const served = await listen(server)
  const join = async () => ({ client: await Client.open(served), socket: await opened.next('open') })
  return { served, join }
}

describeEngines('a backplane', (engine) => {
  test('gets everything that is published here, whether or not a socket here subscribes', async () => {
    const backplane = new Recorder()
    const { served, join } = await joined(engine, backplane)
    const { socket, client } = await join()
    expect(served.server.publish('t', 'by the server')).toBe(true)
    expect(socket.publish('t', 'by the only subscriber')).toBe(false)
    expect(served.server.publish('elsewhere', 'x')).toBe(false)
    expect(served.server.publish('t', Buffer.from([0, 255]))).toBe(true)
    expect(backplane.published).toEqual([
      ['t', 'by the server', false],
      ['t', 'by the only subscriber', false],
      ['elsewhere', 'x', false],
      ['t', new Uint8Array([0, 255]), true],
    ])
    expect(await client.messages.take(2, 'messages')).toEqual(['by the server', Buffer.from([0, 255])])
  })

  test('may keep the bytes, which are its own', async () => {
    const backplane = new Recorder()
    const { served } = await joined(engine, backplane)
    const memory = new Uint8Array([1, 2, 3, 4])
    served.server.publish('t', memory.subarray(1, 3))
    served.server.publish('t', new DataView(memory.buffer, 2))
    memory.fill(9)
    const [first, second] = backplane.published.map(([, data]) => data)
    expect(first).toEqual(new Uint8Array([2, 3]))
    expect(second).toEqual(new Uint8Array([3, 4]))
    // Each has memory of its own, and can be transferred whole.
    expect((first as Uint8Array).buffer.byteLength).toBe(2) // bytes were published
  })

  test('delivers to the subscribers here, and not back to itself', async () => {
    const backplane = new Recorder()
    const { join } = await joined(engine, backplane)
    const [one, two] = [await join(), await join()]
    backplane.deliver('t', 'text', false)
    backplane.deliver('t', new Uint8Array([1, 2]), true)
    backplane.deliver('t', Buffer.from('\uFEFFbytes of text: é'), false)
    backplane.deliver('t', 'binary string: é', true)
    backplane.deliver('nobody', 'x', false)
    for (const { client } of [one, two]) {
      expect(await client.messages.take(4, 'messages')).toEqual([
        'text',
        Buffer.from([1, 2]),
        '\uFEFFbytes of text: é',
        Buffer.from('binary string: é'),
      ])
    }
    expect(backplane.published).toEqual([])
  })

  test('is told when it delivers what cannot be a message', async () => {
    const backplane = new Recorder()
    await joined(engine, backplane)
    const wrong: [unknown, unknown, unknown, string][] = [
      ['', 'x', false, 'topic'],
      [7, 'x', false, 'topic'],
      ['t', 7, false, 'data'],
      ['t', undefined, true, 'data'],
      ['t', 'x', 'no', 'isBinary'],
      ['t', 'x', undefined, 'isBinary'],
    ]
    for (const [topic, data, isBinary, option] of wrong) {
      // The casts let through what TypeScript would refuse and JavaScript would not.
      const deliver = () => backplane.deliver(topic as string, data as string, isBinary as boolean)
      expect(deliver).toThrow(expect.objectContaining({ name: 'OptionError', option }))
    }
  })

  test('starts before the port opens, and closes after the last close handler', async () => {
    const started = new Deferred()
    const closed = new Deferred()
    const events: string[] = []
    const backplane = new Recorder()
    backplane.start = (deliver) => {
      backplane.deliver = deliver
      return started.promise
    }
    backplane.close = async () => {
      events.push('backplane closes')
      await closed.promise
      events.push('backplane has closed')
    }
    const opened = new Queue<Socket>()
    const server = makeServer(engine, { server: { backplane } }).ws('/*', {
      open(socket) {
        socket.subscribe('t')
        opened.push(socket)
      },
      close: () => {
        events.push('close handler')
        server.publish('t', 'last words')
      },
    })
    const listening = listen(server).then((served) => {
      events.push('listening')
      return served
    })
    backplane.deliver('t', 'nobody is here yet', false)
    events.push('starting')
    started.resolve()
    const served = await listening
    const client = await Client.open(served)
    await opened.next('open')
    const closing = server.close().then(() => events.push('server has closed'))
    await client.closed()
    closed.resolve()
    await within(closing, 'the server to close')
    expect(events).toEqual([
      'starting',
      'listening',
      'close handler',
      'backplane closes',
      'backplane has closed',
      'server has closed',
    ])
    expect(backplane.published).toEqual([['t', 'last words', false]])
    backplane.deliver('t', 'too late', false)
    server.publish('t', 'too late')
    expect(backplane.published.length).toBe(1)
  })

  const starts: Record<string, () => Promise<void>> = {
    throws: () => {
      throw new Error('no broker')
    },
    rejects: async () => {
      throw new Error('no broker')
    },
  }
  for (const [kind, fail] of Object.entries(starts)) {
    test(`whose start ${kind} makes listen reject, and is started anew by the next listen`, async () => {
      const backplane = new Recorder()
      backplane.start = fail
      const server = makeServer(engine, { server: { backplane } }).ws('/*', {})
      const failed = { name: 'WebSocketServerError', code: 'ERR_BACKPLANE', message: expect.stringContaining('no broker') }
      await expect(server.listen({ host: '127.0.0.1' })).rejects.toMatchObject(failed)
      await expect(server.listen({ host: '127.0.0.1' })).rejects.toMatchObject({ cause: { message: 'no broker' } })
      backplane.start = Recorder.prototype.start
      await Client.open(await listen(server))
      expect(backplane.calls).toEqual(['start'])
      await server.close()
      expect(backplane.calls).toEqual(['start', 'close'])
    })
  }

  test('that has started is not started again when the port was taken', async () => {
    const taken = await listen(makeServer(engine).ws('/*', {}))
    const backplane = new Recorder()
    const server = makeServer(engine, { server: { backplane } }).ws('/*', {})
    await expect(server.listen({ host: '127.0.0.1', port: taken.port })).rejects.toMatchObject({ code: 'EADDRINUSE' })
    await listen(server)
    await server.close()
    expect(backplane.calls).toEqual(['start', 'close'])
  })

  test('is not closed when it never started', async () => {
    const backplane = new Recorder()
    const server = makeServer(engine, { server: { backplane } })
    server.publish('t', 'before listen')
    await server.close()
    expect(backplane.calls).toEqual([])
    expect(backplane.published).toEqual([])
  })

  test('that never finishes its start does not keep the server from closing', async () => {
    const backplane = new Recorder()
    backplane.start = () => new Promise(() => {})
    const server = makeServer(engine, { server: { backplane } }).ws('/*', {})
    server.listen({ host: '127.0.0.1' }).catch(() => {})
    await Promise.resolve()
    await within(server.close(), 'the server to close')
    expect(backplane.calls).toEqual(['close'])
  })

  test('that starts after the server was closed leaves it closed', async () => {
    for (const outcome of ['resolve', 'reject'] as const) {
      const started = new Deferred()
      const backplane = new Recorder()
      backplane.start = () => started.promise
      const server = makeServer(engine, { server: { backplane } }).ws('/*', {})
      const listening = server.listen({ host: '127.0.0.1' })
      const refused = expect(listening).rejects.toMatchObject({ code: 'ERR_CLOSED' })
      await within(server.close(), 'the server to close')
      started[outcome](undefined)
      await refused
      expect(backplane.calls).toEqual(['close'])
    }
  })

  test('that fails to publish reaches onError, and the subscribers here have the message', async () => {
    const errors = new Queue<Error>()
    const backplane = new Recorder()
    const { served, join } = await joined(engine, backplane, (error) => errors.push(error))
    const { client, socket } = await join()
    backplane.publish = () => {
      throw new Error('thrown')
    }
    expect(served.server.publish('t', 'one')).toBe(true)
    expect(await errors.next('the error')).toMatchObject({ code: 'ERR_BACKPLANE', cause: { message: 'thrown' } })
    backplane.publish = async () => {
      throw new Error('rejected')
    }
    expect(socket.publish('t', 'nobody else here')).toBe(false)
    expect(await errors.next('the error')).toMatchObject({ code: 'ERR_BACKPLANE', cause: { message: 'rejected' } })
    expect(served.server.publish('t', 'two')).toBe(true)
    expect(await errors.next('the error')).toMatchObject({ code: 'ERR_BACKPLANE' })
    expect(await client.messages.take(2, 'messages')).toEqual(['one', 'two'])
  })

  test('that fails to close reaches onError, and the server is closed all the same', async () => {
    const errors = new Queue<Error>()
    const backplane = new Recorder()
    const { served } = await joined(engine, backplane, (error) => errors.push(error))
    backplane.close = async () => {
      throw new Error('stuck')
    }
    await served.server.close()
    expect(await errors.next('the error')).toMatchObject({ code: 'ERR_BACKPLANE', cause: { message: 'stuck' } })
  })

  test('joins two servers: each client gets each message once, in the order of its publisher', async () => {
    class Memory implements Backplane {
      static readonly all = new Set<Memory>()
      #deliver: Deliver = () => {}
      start(deliver: Deliver) {
        this.#deliver = deliver
        Memory.all.add(this)
      }
      publish(...message: Published) {
        for (const other of Memory.all) if (other !== this) other.#deliver(...message)
      }
      close() {
        Memory.all.delete(this)
      }
    }
    const [a, b] = [await joined(engine, new Memory()), await joined(engine, new Memory())]
    const [one, two, three] = [await a.join(), await b.join(), await b.join()]
    const sent = Array.from({ length: 200 }, (_, n) => `${n}`)
    for (const message of sent) one.socket.publish('t', message)
    two.socket.publish('t', 'from two')
    a.served.server.publish('t', 'to all')
    expect(await one.client.messages.take(2, 'messages')).toEqual(['from two', 'to all'])
    expect(await two.client.messages.take(201, 'messages')).toEqual([...sent, 'to all'])
    expect(await three.client.messages.take(202, 'messages')).toEqual([...sent, 'from two', 'to all'])
  })

  test('may be a BroadcastChannel', async () => {
    class Channel implements Backplane {
      #channel: BroadcastChannel | undefined
      start(deliver: Deliver) {
        this.#channel = new BroadcastChannel('a backplane')
        // What the channel carries is what `publish` below has put in.
        this.#channel.onmessage = (event) => deliver(...((event as MessageEvent).data as Published))
      }
      publish(...message: Published) {
        this.#channel?.postMessage(message)
      }
      close() {
        this.#channel?.close()
      }
    }
    const [a, b] = [await joined(engine, new Channel()), await joined(engine, new Channel())]
    const [one, two] = [await a.join(), await b.join()]
    a.served.server.publish('t', 'text')
    a.served.server.publish('t', Buffer.alloc(100_000, 'b'))
    for (const { client } of [one, two]) {
      expect(await client.messages.take(2, 'messages')).toEqual(['text', Buffer.alloc(100_000, 'b')])
    }
  })

  test('joins servers of two processes over TCP', async () => {
    // Plain JavaScript, because the child process runs it too.
    const { startHub, NetBackplane } = await import('../fixtures/net-backplane.mjs' as string)
    const hub = await startHub()
    onTestFinished(() => hub.close())
    const child = new Child('backplane-server.mjs', { args: [engine, String(hub.port)] })
    const there = addressOf(Number(await child.line('its port')))
    const here = await joined(engine, new NetBackplane(hub.port))
    const [near, far] = [await here.join(), await Client.open(there)]
    expect(await far.next()).toBe('ready')
    here.served.server.publish('t', 'from here: é')
    expect(await near.client.next()).toBe('from here: é')
    expect(await far.next()).toBe('from here: é')
    here.served.server.publish('t', new Uint8Array([0, 255]))
    expect(await far.next()).toEqual(Buffer.from([0, 255]))
    far.send('from there')
    expect(await near.client.messages.take(2, 'messages')).toEqual([Buffer.from([0, 255]), 'from there'])
    child.process.stdin?.end()
    expect(await child.line('that it has closed')).toBe('closed')
    const { stderr } = await child.result()
    expect(stderr.match(/DeprecationWarning/g)).toEqual(['DeprecationWarning'])
    expect(stderr.trim().split('\n').length).toBe(2)
  })
})

test('an object that is no backplane is an OptionError', () => {
  const whole = new Recorder()
  const wrong: [unknown, string][] = [
    [null, 'backplane'],
    ['redis', 'backplane'],
    [() => {}, 'backplane'],
    [[], 'backplane'],
    [{}, 'backplane.start'],
    [{ start: whole.start, publish: 'x', close: whole.close }, 'backplane.publish'],
    [{ start: whole.start, publish: whole.publish }, 'backplane.close'],
  ]
  for (const [backplane, option] of wrong) {
    // The cast lets through what TypeScript would refuse and JavaScript would not.
    const make = () => new WebSocketServer({ engine: 'portable', backplane: backplane as Backplane })
    expect(make).toThrow(OptionError)
    expect(make).toThrow(expect.objectContaining({ option }))
  }
  new WebSocketServer({ engine: 'portable', backplane: whole })
})
