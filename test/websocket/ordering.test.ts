/**
 * When things happen: commands in the order in which they were given, from wherever they were given, without
 * waiting for traffic; promise jobs between batches; nothing from inside a call.
 */
import { expect, test } from 'vitest'
import type { Socket } from '../../src/index.js'
import { Client } from '../support/client.js'
import { describeEngines, type EngineName, serve } from '../support/engines.js'
import { RawClient, text } from '../support/raw-client.js'
import { Queue, turns } from '../support/waiting.js'

const MiB = 1024 * 1024

async function connected(engine: EngineName, tls = false): Promise<{ socket: Socket; client: Client }> {
  const sockets = new Queue<Socket>()
  const served = await serve(
    engine,
    { maxBackpressure: 256 * MiB, open: (socket) => sockets.push(socket) },
    tls ? { server: { tls: true } } : {},
  )
  const client = await Client.open(served)
  const socket = await sockets.next('open')
  await turns(20) // nothing is on its way any more
  return { socket, client }
}

describeEngines('a send leaves without further traffic', (engine) => {
  const origins: Record<string, (action: () => void) => void> = {
    'the main program': (action) => action(),
    setTimeout: (action) => setTimeout(action, 1),
    setImmediate: (action) => setImmediate(action),
    'process.nextTick': (action) => process.nextTick(action),
    'a promise': (action) => void Promise.resolve().then(action),
    queueMicrotask: (action) => queueMicrotask(action),
    'a promise job within a timer': (action) => setTimeout(() => void Promise.resolve().then(action), 1),
    'a tick within an immediate': (action) => setImmediate(() => process.nextTick(action)),
    'an immediate within an immediate': (action) => setImmediate(() => setImmediate(action)),
  }
  for (const tls of [false, true]) {
    for (const [origin, later] of Object.entries(origins)) {
      test(`when it comes from ${origin} (${tls ? 'TLS' : 'plain'})`, async () => {
        const { socket, client } = await connected(engine, tls)
        later(() => void socket.send(origin))
        expect(await client.next()).toBe(origin)
      })
    }
  }

  test('when it comes from a handler of another server', async () => {
    const { socket, client } = await connected(engine)
    const other = await serve(engine, { message: (_, message) => void socket.send(`relayed: ${message}`) })
    const otherClient = await Client.open(other)
    otherClient.send('hello')
    expect(await client.next()).toBe('relayed: hello')
  })

  test('when it comes from a handler of another socket', async () => {
    const sockets: Socket[] = []
    const served = await serve(engine, {
      open: (socket) => void sockets.push(socket),
      message: (_, message) => void sockets[0]?.send(message),
    })
    const first = await Client.open(served)
    const second = await Client.open(served)
    second.send('to the first')
    expect(await first.next()).toBe('to the first')
    expect(second.messages.size).toBe(0)
  })

  test('when it comes from a close handler', async () => {
    const { socket, client } = await connected(engine)
    const other = await serve(engine, { close: (_, code) => void socket.send(`another closed with ${code}`) })
    const otherClient = await Client.open(other)
    otherClient.socket.close(3333)
    expect(await client.next()).toBe('another closed with 3333')
  })

  test('and so do ping, publish, close and terminate', async () => {
    const ping = await connected(engine)
    setImmediate(() => ping.socket.ping('p'))
    expect((await ping.client.pings.next('the Ping')).toString()).toBe('p')
    const close = await connected(engine)
    setImmediate(() => close.socket.close(4000))
    expect((await close.client.closed()).code).toBe(4000)
    const cut = await connected(engine)
    setImmediate(() => cut.socket.terminate())
    expect((await cut.client.closed()).code).toBe(1006)
    const sockets = new Queue<Socket>()
    const served = await serve(engine, { open: (socket) => sockets.push(socket) })
    const client = await Client.open(served)
    const socket = await sockets.next('open')
    setImmediate(() => {
      socket.subscribe('t')
      served.server.publish('t', 'published')
    })
    expect(await client.next()).toBe('published')
  })
})

describeEngines('order', (engine) => {
  test('100,000 messages of one turn arrive, in order', async () => {
    const { socket, client } = await connected(engine)
    for (let n = 0; n < 100_000; n++) socket.send(`${n}`)
    for (let n = 0; n < 100_000; n++) if ((await client.next()) !== `${n}`) throw new Error(`message ${n} is out of order`)
    expect(client.messages.size).toBe(0)
  })

  test('100,000 messages of one turn to 50 sockets by turns arrive, in order', async () => {
    const sockets: Socket[] = []
    const served = await serve(engine, { maxBackpressure: 64 * MiB, open: (socket) => void sockets.push(socket) })
    const clients: Client[] = []
    for (let n = 0; n < 50; n++) clients.push(await Client.open(served))
    for (let n = 0; n < 2000; n++) for (const socket of sockets) socket.send(`${n}`)
    for (const client of clients) {
      for (let n = 0; n < 2000; n++) if ((await client.next()) !== `${n}`) throw new Error(`message ${n} is out of order`)
    }
  })

  for (const size of [100, 60_000, 1_000_000]) {
    test(`messages of ${size} bytes of one turn arrive, in order, among small ones`, async () => {
      const { socket, client } = await connected(engine)
      const count = Math.min(Math.ceil((40 * MiB) / size), 50_000)
      const filler = 'x'.repeat(size)
      for (let n = 0; n < count; n++) {
        socket.send(`${n} ${filler}`)
        if (n % 7 === 0) socket.send(`small ${n}`)
      }
      for (let n = 0; n < count; n++) {
        const message = String(await client.next())
        if (message.length !== `${n} ${filler}`.length || !message.startsWith(`${n} `))
          throw new Error(`message ${n} is out of order`)
        if (n % 7 === 0) expect(await client.next()).toBe(`small ${n}`)
      }
    })
  }

  test('messages of every size from 0 to 4,000 bytes in one turn arrive, whole and in order', async () => {
    const { socket, client } = await connected(engine)
    for (let size = 0; size <= 4000; size++) socket.send(Buffer.alloc(size, size & 255))
    for (let size = 0; size <= 4000; size++) {
      const message = await client.next()
      if (!Buffer.alloc(size, size & 255).equals(Buffer.from(message as Buffer)))
        throw new Error(`message ${size} is not as it was sent`)
    }
  })

  test('text, binary, pings and the close keep the order in which they were called', async () => {
    const { socket, client } = await connected(engine)
    const seen: string[] = []
    client.socket.on('message', (data, isBinary) => seen.push(`${isBinary ? 'binary' : 'text'} ${data}`))
    client.socket.on('ping', (data) => seen.push(`ping ${data}`))
    socket.send('1')
    socket.ping('2')
    socket.send(Buffer.from('3'))
    socket.ping('4')
    socket.send('5')
    socket.close(4006)
    expect((await client.closed()).code).toBe(4006)
    expect(seen).toEqual(['text 1', 'ping 2', 'binary 3', 'ping 4', 'text 5'])
  })

  test('open comes before the first message, and close after the last', async () => {
    const events = new Queue<string>()
    const served = await serve(engine, {
      open: (socket) => events.push(`open ${socket.readyState}`),
      message: (socket, message) => events.push(`${message} ${socket.readyState}`),
      close: (socket) => events.push(`close ${socket.readyState}`),
    })
    for (let round = 0; round < 20; round++) {
      const client = await Client.open(served)
      client.send('a')
      client.send('b')
      client.socket.close(1000)
      expect(await events.take(4, 'events')).toEqual(['open 1', 'a 1', 'b 1', 'close 3'])
    }
  })

  test('a message sent by open arrives before an answer to the first message', async () => {
    const served = await serve(engine, {
      open: (socket) => void socket.send('welcome'),
      message: (socket, message) => void socket.send(message),
    })
    for (let round = 0; round < 20; round++) {
      const client = await Client.open(served)
      client.send('hello')
      expect(await client.messages.take(2, 'messages')).toEqual(['welcome', 'hello'])
    }
  })
})

describeEngines('promise jobs', (engine) => {
  test('of a handler run before the events that come later', async () => {
    const events = new Queue<string>()
    const served = await serve(engine, {
      message(_, message) {
        events.push(`message ${message}`)
        process.nextTick(() => events.push(`tick ${message}`))
        void Promise.resolve().then(() => events.push(`job ${message}`))
      },
    })
    const client = await Client.open(served)
    for (const name of ['a', 'b', 'c']) {
      client.send(name)
      // The next message is sent only when this one has arrived, so that it is in a later batch.
      expect(await events.take(3, 'events')).toEqual([`message ${name}`, `tick ${name}`, `job ${name}`])
    }
  })

  test('run without any further event', async () => {
    const done = new Queue<string>()
    const served = await serve(engine, {
      async message(socket, message) {
        await null
        await new Promise((resolve) => process.nextTick(resolve))
        await new Promise((resolve) => setImmediate(resolve))
        socket.send(`late ${message}`)
        done.push('sent')
      },
    })
    const client = await Client.open(served)
    expect(await client.ask('x')).toBe('late x')
    expect(await done.next('the end of the handler')).toBe('sent')
  })

  test('do not hold up the next message: handlers start in order, and go on in order', async () => {
    const events = new Queue<string>()
    const served = await serve(engine, {
      async message(_, message) {
        events.push(`start ${message}`)
        await turns(3)
        events.push(`end ${message}`)
      },
    })
    const client = await RawClient.open(served)
    client.write(text('1'), text('2'))
    const seen = await events.take(4, 'events')
    expect(seen.filter((event) => event.startsWith('start'))).toEqual(['start 1', 'start 2'])
    expect(seen.filter((event) => event.startsWith('end'))).toEqual(['end 1', 'end 2'])
  })
})

describeEngines('re-entrancy', (engine) => {
  test('no handler runs inside a call', async () => {
    const trace: string[] = []
    const ended = new Queue<true>()
    const served = await serve(engine, {
      maxBackpressure: MiB,
      message(socket) {
        trace.push('message starts')
        while (socket.send('x'.repeat(50_000)) !== 0);
        socket.close(4000)
        socket.terminate()
        trace.push('message ends')
      },
      drain: () => void trace.push('drain'),
      close() {
        trace.push('close')
        ended.push(true)
      },
    })
    const client = await Client.open(served)
    client.send('go')
    await ended.next('close')
    expect(trace).toEqual(['message starts', 'message ends', 'close'])
  })

  test('a socket may be closed by the handler of another while both have messages in the same batch', async () => {
    const sockets = new Map<string, Socket>()
    const seen: string[] = []
    const ended = new Queue<number>()
    const served = await serve(engine, {
      message(socket, message) {
        const [verb, name] = String(message).split(' ')
        if (verb === 'name') sockets.set(name ?? '', socket)
        else if (verb === 'cut') for (const [other, victim] of sockets) if (other !== name) victim.terminate()
        seen.push(String(message))
        socket.send(`did ${message}`)
      },
      close: (_, code) => ended.push(code),
    })
    const [a, b, c] = [await RawClient.open(served), await RawClient.open(served), await RawClient.open(served)]
    for (const [client, name] of [
      [a, 'a'],
      [b, 'b'],
      [c, 'c'],
    ] as const) {
      client.write(text(`name ${name}`))
      expect((await client.frame()).payload.toString()).toBe(`did name ${name}`)
    }
    b.write(text('b1'), text('b2'))
    a.write(text('cut a'), text('a2'))
    c.write(text('c1'), text('c2'))
    expect((await a.frame()).payload.toString()).toBe('did cut a')
    expect((await a.frame()).payload.toString()).toBe('did a2')
    expect(await ended.take(2, 'close')).toEqual([1006, 1006])
    const after = seen.slice(seen.indexOf('cut a') + 1)
    expect(after).toEqual(['a2'])
  })

  test('a call on a closed connection never reaches one that came later', async () => {
    const sockets = new Queue<Socket>()
    const served = await serve(engine, { open: (socket) => sockets.push(socket) })
    const old: Socket[] = []
    for (let round = 0; round < 50; round++) {
      const client = await Client.open(served)
      const socket = await sockets.next('open')
      for (const gone of old) {
        gone.send('ghost')
        gone.subscribe('ghost')
        gone.close(4004, 'ghost')
        gone.terminate()
      }
      socket.send('alive')
      expect(await client.next()).toBe('alive')
      expect(socket.readyState).toBe(1)
      client.socket.terminate()
      while (socket.readyState !== 3) await turns(1)
      old.push(socket)
    }
    expect(served.server.subscribers('ghost')).toBe(0)
  })
})
