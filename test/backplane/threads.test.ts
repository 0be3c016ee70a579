/** `threads()`: the servers of all worker threads of one process, and one way for all to what is outside. */
import { createServer, type Socket as TcpSocket } from 'node:net'
import { createInterface } from 'node:readline'
import { expect, onTestFinished, test } from 'vitest'
import { threads } from '../../src/backplane/threads.js'
import { BackplaneError, OptionError } from '../../src/index.js'
import { Child } from '../support/child.js'
import { Client } from '../support/client.js'
import { addressOf, describeEngines, type EngineName, listen, makeServer } from '../support/engines.js'
import { MemoryBroker, MemoryEngine } from '../support/memory-backplane.js'
import { Queue, turns } from '../support/waiting.js'

let groups = 0
const newGroup = () => `group ${++groups} of ${process.pid}`

/** A server of this thread whose sockets subscribe to "t". */
async function joined(engine: EngineName, group: string, onError?: (error: Error) => void) {
  const backplane = threads({ group, engine, linger: 0 })
  const server = makeServer(engine, { server: { backplane, ...(onError && { onError }) } }).ws('/*', {
    open(socket) {
      socket.subscribe('t')
    },
    message(socket, message) {
      socket.publish('t', message)
    },
  })
  return await listen(server)
}

/** Publishes until the client has it: interest travels between threads, and takes its time. */
async function until(condition: () => boolean, act: () => void): Promise<void> {
  while (!condition()) {
    act()
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

/** Empties what came while servers learned of each other. */
async function settled(...clients: readonly Client[]): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 100))
  for (const client of clients) while (client.messages.size > 0) await client.next()
}

/** `count` servers in worker threads of a child process, and a client of each. */
async function workers(engine: EngineName, count: number, hubPort?: number) {
  const args = [engine, `${count}`, ...(hubPort === undefined ? [] : [`${hubPort}`])]
  const child = new Child('threads.mjs', { args })
  const clients: Client[] = []
  for (let index = 0; index < count; index++) clients.push(await Client.open(addressOf(Number(await child.line('a port')))))
  const end = async () => {
    for (const client of clients) client.socket.terminate()
    child.process.stdin?.write('all\n')
    child.process.stdin?.end()
    const { code, signal, stderr } = await child.result()
    expect({ code, signal, stderr }).toEqual({ code: 0, signal: null, stderr: '' })
  }
  return { child, clients, end }
}

describeEngines('threads()', (engine) => {
  test('reports why what is outside is down, and goes on between the threads', async () => {
    const group = newGroup()
    const outside = new MemoryEngine(new MemoryBroker())
    const errors = new Queue<Error>()
    const backplane = threads({ group, engine, outside: () => outside })
    const server = makeServer(engine, { server: { backplane, onError: (error) => errors.push(error) } })
    await listen(server)
    outside.goDown('the broker has not replied')
    const error = await errors.next('the error')
    expect(error).toBeInstanceOf(BackplaneError)
    expect(error).toMatchObject({ code: 'ERR_BACKPLANE', backplane: 'threads', count: 0 })
    expect(error.message).toContain('what is outside of the process is down: the broker has not replied')
    expect(server.backplaneMetrics()?.up).toBe(true)
  })

  test('has health that is 503 on each thread while the outside is down, and 200 before and after', async () => {
    const group = newGroup()
    const outside = new MemoryEngine(new MemoryBroker())
    const member = async (makes: MemoryEngine) => {
      const backplane = threads({ group, engine, outside: () => makes })
      return await listen(makeServer(engine, { server: { backplane, health: { backplane: true }, onError() {} } }))
    }
    const members = [await member(outside), await member(new MemoryEngine(new MemoryBroker()))]
    const states = async () =>
      await Promise.all(
        members.map(async (served) => [
          (await fetch(served.httpUrl('/health'))).status,
          served.server.backplaneMetrics()?.outsideUp,
          served.server.backplaneMetrics()?.up,
        ]),
      )
    const become = async (status: number, isUp: boolean) => {
      while ((await states()).some(([found]) => found !== status)) await new Promise((resolve) => setTimeout(resolve, 20))
      expect(await states()).toEqual([
        [status, isUp, true],
        [status, isUp, true],
      ])
    }
    await become(200, true)
    outside.goDown('the broker has not replied')
    await become(503, false)
    outside.goUp()
    await become(200, true)
    // The other thread takes over, with an outside of its own.
    outside.goDown('the broker has not replied')
    await become(503, false)
    const [first] = members.splice(0, 1)
    await first?.server.close()
    while ((await states()).some(([found]) => found !== 200)) await new Promise((resolve) => setTimeout(resolve, 20))
  })

  test('counts and tells once what the outside has not sent when it is closed', async () => {
    const outside = new MemoryEngine(new MemoryBroker())
    const promises: NonNullable<typeof outside.promises> = []
    outside.promises = promises
    outside.close = () => {
      for (const { reject } of promises) reject(new Error('the server was closed'))
    }
    const errors: Error[] = []
    const backplane = threads({ group: newGroup(), engine, outside: () => outside })
    const server = makeServer(engine, { server: { backplane, onError: (error) => errors.push(error) } })
    await listen(server)
    for (let n = 0; n < 3; n++) {
      server.publish('t', `${n}`)
      while (outside.batches.flat().filter(({ topic }) => topic === 't').length <= n) await turns(1)
    }
    await server.close()
    await turns()
    expect(errors).toEqual([expect.objectContaining({ code: 'ERR_BACKPLANE', count: 3 })])
    expect(server.backplaneMetrics()).toMatchObject({ published: 3, dropped: 3 })
  })

  test('tells when it is closed what it had only counted since the last error', async () => {
    const outside = new MemoryEngine(new MemoryBroker())
    const errors: Error[] = []
    const backplane = threads({ group: newGroup(), engine, outside: () => outside })
    const server = makeServer(engine, { server: { backplane, onError: (error) => errors.push(error) } })
    await listen(server)
    outside.goDown('the broker has not replied')
    for (let n = 0; n < 5; n++) {
      server.publish('t', `${n}`)
      while ((server.backplaneMetrics()?.dropped ?? 0) <= n) await turns(1)
    }
    await server.close()
    const drops = errors.filter((error): error is BackplaneError => error instanceof BackplaneError && error.count > 0)
    expect(drops.map(({ count }) => count)).toEqual([1, 4])
    expect(server.backplaneMetrics()?.dropped).toBe(5)
  })

  test('tells how many envelopes were lost of a publisher of which nothing had come', async () => {
    const group = newGroup()
    const errors = new Queue<Error>()
    const topics = Array.from({ length: 100 }, (_, n) => `topic ${n}`)
    const slow = threads({ group, engine, maxPendingBytes: 65_536 })
    const receiver = makeServer(engine, { server: { backplane: slow, onError: (error) => errors.push(error) } }).ws('/*', {
      open(socket) {
        for (const topic of topics) socket.subscribe(topic)
      },
    })
    const { port } = await listen(receiver)
    const client = await Client.open(addressOf(port))
    const publisher = makeServer(engine, { server: { backplane: threads({ group, engine }) } })
    await listen(publisher)
    await until(
      () => publisher.backplaneMetrics()?.members === 2 && receiver.backplaneMetrics()?.members === 2,
      () => {},
    )
    // All in one turn, in which the receiver cannot read.
    for (const topic of topics) publisher.publish(topic, 'x'.repeat(10_000))
    const { message } = await errors.next('the gap')
    const lost = Number(/a gap: (\d+) envelopes of others are missing$/.exec(message)?.[1])
    expect(lost).toBeGreaterThan(topics.length / 2)
    expect(lost + client.messages.size).toBe(topics.length)
    // Which numbers they had, those that came do not say.
    expect(receiver.backplaneMetrics()).toMatchObject({ missing: 0, gaps: 1 })
    client.socket.terminate()
  })

  test('carries messages of every kind between servers of one thread too, and not back', async () => {
    const group = newGroup()
    const [one, two, other] = [await joined(engine, group), await joined(engine, group), await joined(engine, newGroup())]
    const [here, there, elsewhere] = [await Client.open(one), await Client.open(two), await Client.open(other)]
    await until(
      () => there.messages.size > 0,
      () => one.server.publish('t', 'hello'),
    )
    await settled(here, there)
    one.server.publish('t', 'text é')
    one.server.publish('t', new Uint8Array([0, 255]))
    one.server.publish('t', 'x'.repeat(200_000))
    const expected = ['text é', Buffer.from([0, 255]), 'x'.repeat(200_000)]
    expect(await there.messages.take(3, 'messages')).toEqual(expected)
    expect(await here.messages.take(3, 'messages')).toEqual(expected)
    let reply = await two.server.subscribersEverywhere('t')
    // Two that begin at once may miss the first word of each other, and speak again after 5 seconds.
    while (reply.members < 2) {
      await new Promise((resolve) => setTimeout(resolve, 50))
      reply = await two.server.subscribersEverywhere('t')
    }
    expect(reply).toMatchObject({ count: 2, answered: 2, members: 2 })
    await settled()
    expect(here.messages.size + there.messages.size + elsewhere.messages.size).toBe(0)
    expect(one.server.backplaneMetrics()).toMatchObject({ up: true, dropped: 0, missing: 0, gaps: 0, foreign: 0 })
  })

  test('listens again after close of others, and publishes from within a message handler', async () => {
    const group = newGroup()
    const [one, two] = [await joined(engine, group), await joined(engine, group)]
    const [here, there] = [await Client.open(one), await Client.open(two)]
    await until(
      () => there.messages.size > 0,
      () => here.send('from a handler'),
    )
    expect(await there.next()).toBe('from a handler')
    await two.server.close()
    one.server.publish('t', 'to nobody')
    const three = await joined(engine, group)
    const late = await Client.open(three)
    await until(
      () => late.messages.size > 0,
      () => one.server.publish('t', 'again'),
    )
    expect(await late.next()).toBe('again')
  })

  test('carries messages between worker threads, and goes on when one is terminated', async () => {
    const { child, clients, end } = await workers(engine, 3)
    const [a, b, c] = clients as [Client, Client, Client]
    await until(
      () => b.messages.size > 0 && c.messages.size > 0,
      () => a.send('hello'),
    )
    await settled(a, b, c)
    for (let i = 0; i < 2000; i++) a.send(`${i}`)
    const expected = Array.from({ length: 2000 }, (_, i) => `${i}`)
    expect(await b.messages.take(2000, 'messages')).toEqual(expected)
    expect(await c.messages.take(2000, 'messages')).toEqual(expected)
    child.process.stdin?.write('1\n')
    expect(await child.line('that it was terminated')).toBe('terminated')
    for (let i = 0; i < 100; i++) c.send(`after ${i}`)
    expect(await a.messages.take(100, 'messages')).toEqual(Array.from({ length: 100 }, (_, i) => `after ${i}`))
    await end()
  })

  test('has one way to the outside for all threads, and another one when its thread ends', async () => {
    const hub = await Hub.start()
    const first = await workers(engine, 3, hub.port)
    const second = await workers(engine, 1, hub.port)
    const [a, b, c] = first.clients as [Client, Client, Client]
    const [far] = second.clients as [Client]
    expect(hub.connections).toBe(2)
    await until(
      () => [a, b, c].every(({ messages }) => messages.size > 0),
      () => far.send('hello'),
    )
    await until(
      () => far.messages.size > 0,
      () => b.send('hello'),
    )
    await settled(a, b, c, far)
    hub.passed.length = 0
    b.send('from a thread')
    expect(await far.next()).toBe('from a thread')
    expect(await a.next()).toBe('from a thread')
    expect(await c.next()).toBe('from a thread')
    far.send('from far')
    for (const client of [a, b, c]) expect(await client.next()).toBe('from far')
    expect(hub.passed.filter((topic) => topic === 't')).toEqual(['t', 't'])

    // The first thread is the oldest: it has the connection.
    first.child.process.stdin?.write('0\n')
    expect(await first.child.line('that it was terminated')).toBe('terminated')
    await until(
      () => b.messages.size > 0 && c.messages.size > 0,
      () => far.send('hello again'),
    )
    await settled(b, c, far)
    b.send('back again')
    expect(await far.next()).toBe('back again')
    expect(await c.next()).toBe('back again')
    expect(hub.connections).toBe(2)
    for (const { child, clients } of [first, second]) {
      for (const client of clients) client.socket.terminate()
      child.process.stdin?.end('all\n')
      expect(await child.result()).toMatchObject({ code: 0, signal: null })
    }
  })

  test('a gap of what is outside has what topics have lost on which nothing follows, on every thread', async () => {
    const broker = new MemoryBroker()
    /** Two servers of one process, which has one way to the broker. */
    const process = async () => {
      const group = newGroup()
      const outsides: MemoryEngine[] = []
      const outside = () => {
        const made = new MemoryEngine(broker)
        outsides.push(made)
        return made
      }
      const members = []
      for (let n = 0; n < 2; n++) {
        const errors = new Queue<Error>()
        const backplane = threads({ group, engine, outside })
        const server = makeServer(engine, { server: { backplane, onError: (error) => errors.push(error) } })
        server.ws('/*', { open: (socket) => void socket.subscribe('t') })
        members.push({ server, errors, client: await Client.open(await listen(server)) })
      }
      return { members, outsides }
    }
    const [here, there] = [await process(), await process()]
    const all = [...here.members, ...there.members]
    const [from] = here.members
    for (const { server } of [from, there.members[1]].filter((member) => member !== undefined)) {
      await until(
        () => all.every(({ client }) => client.messages.size > 0),
        () => server.publish('t', 'before'),
      )
      await settled(...all.map(({ client }) => client))
    }
    for (const outside of here.outsides) if (!outside.isClosed) outside.goDown('the connection was reset')
    for (let n = 0; n < 3; n++) there.members[1]?.server.publish('t', 'lost')
    for (let n = 0; n < 2; n++) from?.server.publish('t', 'lost here')
    await settled(...all.map(({ client }) => client))
    for (const outside of here.outsides) if (!outside.isClosed) outside.goUp()
    for (const [{ members }, missing] of [
      [here, 3],
      [there, 2],
    ] as const) {
      for (const { server, errors } of members) {
        let error = await errors.next('the gap')
        // The gateway says why the outside is away, and the publisher what it has not sent.
        while (!(error instanceof BackplaneError && error.code === 'ERR_BACKPLANE_GAP')) error = await errors.next('the gap')
        expect(error).toMatchObject({ count: missing })
        expect(server.backplaneMetrics()).toMatchObject({ missing, gaps: 1 })
      }
    }
  })
})

test('threads() refuses other options', () => {
  const wrong: [object, string][] = [
    [{ group: '' }, 'group'],
    [{ group: 7 }, 'group'],
    [{ outside: {} }, 'outside'],
    [{ engine: 'other' }, 'engine'],
    [{ maxPendingBytes: 1 }, 'maxPendingBytes'],
    [{ linger: -1 }, 'linger'],
    [{ hub: 'x' }, 'hub'],
  ]
  for (const [options, option] of wrong) {
    expect(() => threads(options)).toThrow(OptionError)
    expect(() => threads(options)).toThrow(expect.objectContaining({ option }))
  }
})

/** What is outside: passes each line of one process on to the others that want its topic. */
class Hub {
  readonly #sockets = new Map<TcpSocket, Set<string>>()
  /** Topics of what was passed on. */
  readonly passed: string[] = []
  port = 0

  get connections(): number {
    return this.#sockets.size
  }

  static async start(): Promise<Hub> {
    const hub = new Hub()
    const server = createServer((socket) => {
      const wants = new Set<string>()
      hub.#sockets.set(socket, wants)
      socket.on('error', () => {}).on('close', () => hub.#sockets.delete(socket))
      createInterface({ input: socket }).on('line', (line) => {
        // What line-engine.mjs sends.
        const { topic, interest, removed } = JSON.parse(line) as { topic?: string; interest?: string[]; removed?: string[] }
        for (const name of interest ?? []) wants.add(name)
        for (const name of removed ?? []) wants.delete(name)
        if (topic === undefined) return
        hub.passed.push(topic)
        for (const [other, topics] of hub.#sockets) if (other !== socket && topics.has(topic)) other.write(`${line}\n`)
      })
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => {
      for (const socket of hub.#sockets.keys()) socket.destroy()
      server.close()
    })
    const address = server.address()
    if (address === null || typeof address === 'string') throw new Error('no port')
    hub.port = address.port
    return hub
  }
}
