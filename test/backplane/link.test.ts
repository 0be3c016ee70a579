/** Servers behind an engine in memory: what the link adds to every engine. */
import { Buffer } from 'node:buffer'
import { expect, onTestFinished, test, vi } from 'vitest'
import { BackplaneError, OptionError, type ServerOptions, type Socket } from '../../src/index.js'
import { Client } from '../support/client.js'
import { describeEngines, type EngineName, listen, makeServer, type Served } from '../support/engines.js'
import { MemoryBroker, MemoryEngine } from '../support/memory-backplane.js'
import { Queue, turns, within } from '../support/waiting.js'

interface Member {
  readonly backplane: MemoryEngine
  readonly served: Served
  readonly errors: Queue<Error>
  /** A client that subscribes to these topics. */
  join(...topics: string[]): Promise<{ client: Client; socket: Socket }>
}

async function member(engine: EngineName, backplane: MemoryEngine, options: Pick<ServerOptions, 'health'> = {}): Promise<Member> {
  const opened = new Queue<Socket>()
  const errors = new Queue<Error>()
  const server = makeServer(engine, { server: { ...options, backplane, onError: (error) => errors.push(error) } })
  server.ws('/*', { open: (socket) => opened.push(socket) })
  const served = await listen(server)
  return {
    backplane,
    served,
    errors,
    join: async (...topics) => {
      const client = await Client.open(served)
      const socket = await opened.next('open')
      for (const topic of topics) socket.subscribe(topic)
      await turns()
      return { client, socket }
    },
  }
}

async function pair(engine: EngineName, settings: ConstructorParameters<typeof MemoryEngine>[1] = {}) {
  const broker = new MemoryBroker()
  const a = await member(engine, new MemoryEngine(broker, settings))
  const b = await member(engine, new MemoryEngine(broker, settings))
  // Until each has heard the other's hello: a greeting is replied to milliseconds later, among what a test
  // sends.
  const isKnown = ({ served }: Member) => served.server.backplaneMetrics()?.members === 2
  while (!isKnown(a) || !isKnown(b)) await turns(1)
  await turns()
  return { broker, a, b }
}

/** Codes and counts of the next errors of a member, in their order. */
async function told({ errors }: Member, count: number): Promise<unknown[]> {
  const next = await errors.take(count, 'errors')
  return next.map((error) => (error instanceof BackplaneError ? [error.code, error.count] : error))
}

describeEngines('a server behind an engine', (engine) => {
  test('sends in one call what a turn has published, and each client gets each message once, in order', async () => {
    const { a, b } = await pair(engine)
    const [near, far] = [await a.join('t', 'u'), await b.join('t', 'u')]
    const calls = a.backplane.batches.length
    const sent = Array.from({ length: 500 }, (_, n) => `${n}: é`)
    for (const text of sent) a.served.server.publish('t', text)
    near.socket.publish('t', Buffer.from([0, 255]))
    a.served.server.publish('u', Buffer.from('text as bytes'), { binary: false })
    expect(await far.client.messages.take(502, 'messages')).toEqual([...sent, Buffer.from([0, 255]), 'text as bytes'])
    expect(await near.client.messages.take(501, 'messages')).toEqual([...sent, 'text as bytes'])
    expect(a.backplane.batches.length).toBe(calls + 1)
    expect(a.backplane.batches.at(-1)?.map(({ topic, messages }) => [topic, messages])).toEqual([
      ['t', 501],
      ['u', 1],
    ])
    expect(a.served.server.backplaneMetrics()).toMatchObject({
      up: true,
      published: 502,
      dropped: 0,
      pendingBytes: 0,
      members: 2,
    })
    expect(b.served.server.backplaneMetrics()).toMatchObject({ published: 0, delivered: 502, missing: 0, foreign: 0 })
  })

  test('copies the bytes before `publish` returns', async () => {
    const { a, b } = await pair(engine)
    const { client } = await b.join('t')
    const bytes = Buffer.from('before')
    a.served.server.publish('t', bytes)
    bytes.fill(0)
    expect(await client.next()).toEqual(Buffer.from('before'))
  })

  test('tells its interest once a turn: with the first subscriber, and a while after the last', async () => {
    const { a } = await pair(engine, { linger: 0 })
    const [one, two] = [await a.join('t', 'u'), await a.join('t')]
    expect(a.backplane.interests).toEqual([{ added: ['t', 'u'], removed: [] }])
    one.socket.unsubscribe('t')
    one.socket.unsubscribe('u')
    one.socket.subscribe('v')
    await turns()
    expect(a.backplane.interests.slice(1)).toEqual([{ added: ['v'], removed: ['u'] }])
    two.client.socket.close()
    await two.client.closed()
    await turns()
    expect(a.backplane.interests.slice(2)).toEqual([{ added: [], removed: ['t'] }])
    expect([...(a.backplane.host?.topics() ?? [])]).toEqual(['', 'v'])
  })

  test('tells 10,000 topics of a turn in one call', async () => {
    const { a } = await pair(engine)
    const { socket } = await a.join()
    for (let n = 0; n < 10_000; n++) socket.subscribe(`topic ${n}`)
    await turns()
    expect(a.backplane.interests.map(({ added }) => added.length)).toEqual([10_000])
  })

  test('tells once that it is down, and once what was lost', async () => {
    const { a, b } = await pair(engine)
    const { client } = await b.join('t')
    a.served.server.publish('t', 'before')
    expect(await client.next()).toBe('before')
    const near = await a.join('t')
    a.backplane.goDown('killed')
    for (let n = 0; n < 1000; n++) a.served.server.publish('t', 'while down')
    expect(a.served.server.backplaneMetrics()).toMatchObject({ up: false, dropped: 1000, pendingBytes: 0 })
    expect((await near.client.messages.take(1000, 'messages here')).length).toBe(1000)
    a.backplane.goUp()
    a.served.server.publish('t', 'after')
    expect(await client.next()).toBe('after')
    const [down, gap] = await a.errors.take(2, 'errors')
    expect(down).toMatchObject({ name: 'BackplaneError', code: 'ERR_BACKPLANE_DOWN', backplane: 'memory', address: 'here' })
    expect(down?.message).toContain('killed')
    expect(gap).toMatchObject({ code: 'ERR_BACKPLANE_GAP', count: 1000 })
    expect(a.errors.size).toBe(0)
    expect(a.served.server.backplaneMetrics()).toMatchObject({ up: true, reconnects: 1, gaps: 1 })
    // The others were never down, and know all the same what they have missed.
    expect(await b.errors.next('the gap there')).toMatchObject({ code: 'ERR_BACKPLANE_GAP', count: 1000 })
    expect(b.served.server.backplaneMetrics()).toMatchObject({ missing: 1000, gaps: 1, reconnects: 0 })
  })

  test('tells by one gap what busy and quiet topics have lost while their publisher was down', async () => {
    const { a, b } = await pair(engine)
    const { client } = await b.join('busy', 'quiet', 'new')
    const { server } = a.served
    for (const topic of ['busy', 'quiet']) server.publish(topic, 'before')
    await client.messages.take(2, 'messages')
    a.backplane.goDown('killed')
    for (const topic of ['busy', 'quiet', 'quiet', 'new']) server.publish(topic, 'lost')
    a.backplane.goUp()
    server.publish('busy', 'after')
    expect(await b.errors.next('the gap')).toMatchObject({ code: 'ERR_BACKPLANE_GAP', count: 3 })
    for (const topic of ['quiet', 'new']) server.publish(topic, 'after')
    // The first message of the new topic was lost: only the server that has dropped it knows.
    expect(await client.messages.take(3, 'messages')).toEqual(['after', 'after', 'after'])
    expect(b.served.server.backplaneMetrics()).toMatchObject({ missing: 3, gaps: 1, delivered: 5 })
    await a.errors.next('down')
    expect(await a.errors.next('its own gap')).toMatchObject({ code: 'ERR_BACKPLANE_GAP', count: 4 })
    expect(server.backplaneMetrics()).toMatchObject({ dropped: 4 })
  })

  test('tells by one gap what topics have lost while a receiver was down, on which nothing follows', async () => {
    const { broker, a, b } = await pair(engine)
    const c = await member(engine, new MemoryEngine(broker))
    const { client } = await b.join('one', 'other', 'still')
    const publishers = [a, c].map(({ served }) => served.server)
    for (const server of publishers) for (const topic of ['one', 'other', 'still']) server.publish(topic, 'before')
    await client.messages.take(6, 'messages')
    b.backplane.goDown('killed')
    for (const server of publishers) for (const topic of ['one', 'other', 'other']) server.publish(topic, 'lost')
    await turns()
    b.backplane.goUp()
    expect(await b.errors.next('down')).toMatchObject({ code: 'ERR_BACKPLANE_DOWN' })
    expect(await b.errors.next('the gap')).toMatchObject({ code: 'ERR_BACKPLANE_GAP', count: 6 })
    expect(b.served.server.backplaneMetrics()).toMatchObject({ missing: 6, gaps: 1, delivered: 6 })
    expect(client.messages.size).toBe(0)
    for (const server of publishers) expect(server.backplaneMetrics()).toMatchObject({ published: 6, dropped: 0, foreign: 0 })
  })

  test('tells a gap for each outage, also when the next one begins before it is told', async () => {
    const { a, b } = await pair(engine)
    const { client } = await b.join('t')
    const { server } = a.served
    server.publish('t', 'before')
    await client.next()
    for (const lost of [1, 2, 3]) {
      b.backplane.goDown('killed')
      for (let n = 0; n < lost; n++) server.publish('t', 'lost')
      await turns()
      b.backplane.goUp()
      server.publish('t', 'after')
      expect(await client.next()).toBe('after')
    }
    expect(await told(b, 6)).toEqual(
      [1, 2, 3].flatMap((count) => [
        ['ERR_BACKPLANE_DOWN', 0],
        ['ERR_BACKPLANE_GAP', count],
      ]),
    )
    expect(b.served.server.backplaneMetrics()).toMatchObject({ missing: 6, gaps: 3, reconnects: 3 })
  })

  test('tells what has come before `up` with the gap behind it, also when the engine fails once more', async () => {
    const { a, b } = await pair(engine)
    const { client } = await b.join('t')
    const { server } = a.served
    server.publish('t', 'before')
    await client.next()
    b.backplane.goDown('killed')
    server.publish('t', 'lost')
    await turns()
    // Subscribed already, and not yet up.
    b.backplane.isDown = false
    server.publish('t', 'early')
    expect(await client.next()).toBe('early')
    b.backplane.goDown('failed to subscribe to the rest')
    server.publish('t', 'lost')
    await turns()
    b.backplane.goUp()
    expect(await b.errors.next('down')).toMatchObject({ code: 'ERR_BACKPLANE_DOWN' })
    expect(await b.errors.next('the gap')).toMatchObject({ code: 'ERR_BACKPLANE_GAP', count: 2 })
    expect(b.served.server.backplaneMetrics()).toMatchObject({ missing: 2, gaps: 1, reconnects: 1 })
  })

  test('tells what was lost in a long outage, though the next one begins before others have told their numbers', async () => {
    const { a, b } = await pair(engine)
    const { client } = await b.join('t')
    const { server } = a.served
    server.publish('t', 'before')
    await client.next()
    b.backplane.goDown('killed')
    server.publish('t', 'lost')
    await turns()
    vi.useFakeTimers({ toFake: ['Date', 'performance'] })
    onTestFinished(() => void vi.useRealTimers())
    vi.advanceTimersByTime(600_000)
    b.backplane.goUp()
    b.backplane.goDown('killed again')
    b.backplane.goUp()
    expect(await told(b, 4)).toEqual([
      ['ERR_BACKPLANE_DOWN', 0],
      ['ERR_BACKPLANE_GAP', 0],
      ['ERR_BACKPLANE_DOWN', 0],
      ['ERR_BACKPLANE_GAP', 1],
    ])
  })

  test('asks for the whole of an outage behind its engine, which has not told that it is down', async () => {
    const { a, b } = await pair(engine)
    const { client } = await b.join('t')
    a.served.server.publish('t', 'before')
    await client.next()
    b.backplane.isDown = true
    a.served.server.publish('t', 'lost')
    await turns()
    b.backplane.isDown = false
    vi.useFakeTimers({ toFake: ['Date', 'performance'] })
    onTestFinished(() => void vi.useRealTimers())
    vi.advanceTimersByTime(600_000)
    b.backplane.host?.onStatus('gap', undefined, 0, 600_000)
    expect(await b.errors.next('the gap')).toMatchObject({ code: 'ERR_BACKPLANE_GAP', count: 1 })
    expect(b.served.server.backplaneMetrics()).toMatchObject({ missing: 1, gaps: 1 })
  })

  test('tells a gap in time though the clock is set back meanwhile', async () => {
    const { a, b } = await pair(engine)
    const { client } = await b.join('t')
    a.served.server.publish('t', 'before')
    await client.next()
    b.backplane.goDown('killed')
    b.backplane.goUp()
    expect(await b.errors.next('down')).toMatchObject({ code: 'ERR_BACKPLANE_DOWN' })
    expect(await b.errors.next('the gap of the outage')).toMatchObject({ code: 'ERR_BACKPLANE_GAP', count: 0 })
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() - 3_600_000 })
    onTestFinished(() => void vi.useRealTimers())
    b.backplane.isDown = true
    a.served.server.publish('t', 'lost')
    await turns()
    b.backplane.isDown = false
    a.served.server.publish('t', 'after')
    expect(await b.errors.next('the gap')).toMatchObject({ code: 'ERR_BACKPLANE_GAP', count: 1 })
  })

  test('what comes while a topic is given up and wanted again within a turn is not missing', async () => {
    const { a, b } = await pair(engine, { linger: 0 })
    const { client, socket } = await b.join('t')
    a.served.server.publish('t', 'one')
    expect(await client.next()).toBe('one')
    a.served.server.publish('t', 'two')
    socket.unsubscribe('t')
    const sent = new Promise((resolve) => {
      // In the turn in which the engine of `a` sends, and before that of `b` is told.
      const { publish } = a.backplane
      a.backplane.publish = (envelopes) => {
        publish.call(a.backplane, envelopes)
        socket.subscribe('t')
        resolve(undefined)
      }
    })
    await sent
    await turns()
    a.served.server.publish('t', 'three')
    expect(await client.next()).toBe('three')
    expect(b.served.server.backplaneMetrics()).toMatchObject({ missing: 0, gaps: 0 })
  })

  test('asks nothing that waited while the broker was away, where its engine replays', async () => {
    const { a, b } = await pair(engine)
    a.backplane.isReplayed = true
    const { client } = await b.join('t')
    a.backplane.promises = []
    for (let n = 0; n < 10_000; n++) a.served.server.publish(`t${n}`, 'fills what may be on its way')
    await turns()
    const asked = a.served.server.disconnectEverywhere({ topic: 't' }, 4000, '', { timeout: 100 })
    await turns()
    a.backplane.goDown('killed')
    for (const { reject } of a.backplane.promises) reject(new Error('connection lost'))
    expect(await asked).toMatchObject({ count: 0, answered: 1 })
    a.backplane.promises = undefined
    a.backplane.goUp()
    a.served.server.publish('t', 'after')
    expect(await client.next()).toBe('after')
    expect(a.served.server.backplaneMetrics()).toMatchObject({ dropped: 0, pendingBytes: 0 })
    const said = a.backplane.batches.flat().filter(({ topic }) => topic === '')
    expect(said.some(({ data }) => Buffer.from(data).includes('disconnect'))).toBe(false)
  })

  test('counts what has not come by the numbers of what comes next', async () => {
    const { a, b } = await pair(engine)
    const { client } = await b.join('t')
    for (const [text, isLost] of [
      ['1', false],
      ['2', true],
      ['3', true],
      ['4', false],
    ] as const) {
      b.backplane.isDown = isLost
      a.served.server.publish('t', text)
      await turns()
    }
    expect(await client.messages.take(2, 'messages')).toEqual(['1', '4'])
    expect(await b.errors.next('the error')).toMatchObject({ code: 'ERR_BACKPLANE_GAP', count: 2 })
    expect(b.served.server.backplaneMetrics()).toMatchObject({ missing: 2, gaps: 1, delivered: 2 })
  })

  test('keeps what was not sent where the engine replays, and leaves out what comes twice', async () => {
    const { a, b } = await pair(engine)
    a.backplane.isReplayed = true
    const { client } = await b.join('t')
    a.backplane.promises = []
    for (const text of ['1', '2', '3']) {
      a.served.server.publish('t', text)
      await turns()
    }
    // The first two have arrived, though the engine does not know.
    const sent = a.backplane.batches.flat().filter(({ topic }) => topic === 't')
    expect(sent.length).toBe(3)
    a.backplane.send(sent.slice(0, 2))
    a.backplane.goDown('killed')
    for (const { reject } of a.backplane.promises) reject(new Error('connection lost'))
    a.backplane.promises = undefined
    a.served.server.publish('t', '4')
    await turns()
    a.backplane.goUp()
    expect(await client.messages.take(4, 'messages')).toEqual(['1', '2', '3', '4'])
    expect(a.served.server.backplaneMetrics()).toMatchObject({ dropped: 0, pendingBytes: 0 })
    expect(b.served.server.backplaneMetrics()).toMatchObject({ delivered: 4, missing: 0 })
  })

  test('gives a slow engine few envelopes at a time, however small and many they are, and all of them in order', async () => {
    const { a } = await pair(engine)
    const { backplane } = a
    await turns()
    const before = backplane.batches.length
    backplane.promises = []
    for (let n = 0; n < 10_000; n++) a.served.server.publish(`t${n}`, 'small')
    const waiting = () => backplane.promises?.length ?? 0
    let most = 0
    while (backplane.batches.slice(before).reduce((sum, batch) => sum + batch.length, 0) < 10_000) {
      await turns()
      const unsent = backplane.batches.slice(backplane.batches.length - waiting())
      most = Math.max(
        most,
        unsent.reduce((sum, batch) => sum + batch.length, 0),
      )
      backplane.promises?.shift()?.resolve()
    }
    const batches = backplane.batches.slice(before)
    expect(Math.max(...batches.map((batch) => batch.length))).toBe(1000)
    expect(most).toBe(4000)
    expect(batches.flat().map(({ topic }) => topic)).toEqual(Array.from({ length: 10_000 }, (_, n) => `t${n}`))
  })

  test('limits what waits for a slow engine, and tells so in few errors', async () => {
    const { a, b } = await pair(engine, { maxPendingBytes: 100_000 })
    const { client } = await b.join('t')
    a.backplane.promises = []
    for (let turn = 0; turn < 20; turn++) {
      for (let n = 0; n < 10; n++) a.served.server.publish('t', `${turn * 10 + n} ${'x'.repeat(10_000)}`)
      await turns(1)
      expect(a.served.server.backplaneMetrics()?.pendingBytes).toBeLessThan(150_000)
    }
    const dropped = a.served.server.backplaneMetrics()?.dropped ?? 0
    expect(dropped).toBeGreaterThan(100)
    expect(await a.errors.next('the error')).toMatchObject({
      code: 'ERR_BACKPLANE',
      message: expect.stringContaining('maxPendingBytes'),
    })
    expect(a.errors.size).toBe(0)
    const waiting = a.backplane.batches.slice(-a.backplane.promises.length)
    for (const { resolve } of a.backplane.promises) resolve()
    a.backplane.promises = undefined
    for (const batch of waiting) a.backplane.send(batch)
    await turns()
    // The newest is among what was kept.
    const kept = await client.messages.take(200 - dropped, 'messages')
    expect(kept.at(-1)).toMatch(/^199 /)
    expect(a.served.server.backplaneMetrics()?.pendingBytes).toBe(0)
  })

  test('tells by one gap what was dropped beyond the limit, also of topics on which nothing follows', async () => {
    for (const isReplayed of [false, true]) {
      const { a, b } = await pair(engine, { maxPendingBytes: 65_536 })
      a.backplane.isReplayed = isReplayed
      b.backplane.isReplayed = isReplayed
      const { client } = await b.join('quiet', 'busy')
      const { server } = a.served
      for (const topic of ['quiet', 'busy']) server.publish(topic, 'before')
      await client.messages.take(2, 'messages')
      // What waits is kept where the engine replays; in one turn it is the same for all.
      if (isReplayed) a.backplane.goDown('killed')
      server.publish('quiet', 'lost')
      for (let n = 0; n < 10; n++) server.publish('busy', 'x'.repeat(10_000))
      if (isReplayed) a.backplane.goUp()
      const dropped = server.backplaneMetrics()?.dropped ?? 0
      expect(dropped).toBeGreaterThan(1)
      expect(await b.errors.next('the gap')).toMatchObject({ code: 'ERR_BACKPLANE_GAP', count: dropped })
      expect(b.served.server.backplaneMetrics()).toMatchObject({ missing: dropped, gaps: 1 })
    }
  })

  test('tells that a message was dropped which is larger than the limit, and came back unsent', async () => {
    const { a } = await pair(engine, { maxPendingBytes: 65_536 })
    a.backplane.isReplayed = true
    a.backplane.promises = []
    a.served.server.publish('t', 'x'.repeat(100_000))
    await turns()
    a.backplane.goDown('killed')
    for (const { reject } of a.backplane.promises) reject(new Error('connection lost'))
    expect(await a.errors.next('down')).toMatchObject({ code: 'ERR_BACKPLANE_DOWN' })
    expect(await a.errors.next('the drop')).toMatchObject({ code: 'ERR_BACKPLANE', count: 1 })
    expect(a.served.server.backplaneMetrics()).toMatchObject({ dropped: 1 })
  })

  test('names topic and size of a message that is too large, and sends the rest', async () => {
    const { a, b } = await pair(engine)
    a.backplane.maxEnvelopeBytes = 1000
    const [near, far] = [await a.join('t'), await b.join('t')]
    for (const size of [10, 5000, 20]) a.served.server.publish('t', 'x'.repeat(size))
    expect(await far.client.messages.take(2, 'messages')).toEqual(['x'.repeat(10), 'x'.repeat(20)])
    expect((await near.client.messages.take(3, 'messages')).length).toBe(3)
    const { message } = await a.errors.next('the error')
    expect(message).toContain('5000')
    expect(message).toContain('"t"')
    expect(b.served.server.backplaneMetrics()).toMatchObject({ missing: 0 })
  })

  test('counts once what its engine has refused, of a call that fails afterwards', async () => {
    for (const isReplayed of [false, true]) {
      const { a } = await pair(engine)
      const { server } = a.served
      a.backplane.isReplayed = isReplayed
      a.backplane.promises = []
      for (const topic of ['refused', 'lost']) server.publish(topic, 'x')
      await turns()
      // A greeting may be replied to meanwhile.
      const [refused, lost] = a.backplane.batches
        .slice(-2)
        .flat()
        .filter(({ topic }) => topic !== '')
      if (refused === undefined || lost === undefined) throw new Error('not published in one call')
      a.backplane.host?.onDropped(refused, 'no right to it')
      a.backplane.goDown('killed')
      for (const { reject } of a.backplane.promises) reject(new Error('killed'))
      await turns()
      a.backplane.promises = undefined
      // Too late, and counted already, where it is not to be given again.
      if (!isReplayed) a.backplane.host?.onDropped(lost, 'no right to it')
      expect(server.backplaneMetrics()).toMatchObject({ published: 2, dropped: isReplayed ? 1 : 2 })
      const calls = a.backplane.batches.length
      a.backplane.goUp()
      await turns()
      const again = a.backplane.batches
        .slice(calls)
        .flat()
        .map(({ topic }) => topic)
      expect(again.filter((topic) => topic !== '')).toEqual(isReplayed ? ['lost'] : [])
      await server.close()
    }
  })

  test('drops foreign messages, and tells of them in few errors', async () => {
    const { broker, a, b } = await pair(engine)
    const { client } = await a.join('t')
    const ofOther = broker.sent.find(({ data }) => Buffer.from(data).toString('hex', 4, 12) === b.backplane.host?.id)
    const deliver = (topic: string, data: Uint8Array) => a.backplane.host?.deliver(topic, data)
    for (let n = 0; n < 100; n++) deliver('t', Buffer.from('hello'))
    const other = Buffer.from(ofOther?.data ?? [])
    other[2] = 2
    deliver('t', other)
    // A control message on a topic of the user, and messages that are none on the link's own.
    deliver('t', Buffer.from(ofOther?.data ?? []))
    deliver('', Buffer.from('hello'))
    deliver('not subscribed', Buffer.from('hello'))
    const [foreign, version] = await a.errors.take(2, 'errors')
    expect(foreign?.message).toContain('no envelopes')
    expect(version?.message).toContain('version 2')
    expect(a.errors.size).toBe(0)
    expect(a.served.server.backplaneMetrics()?.foreign).toBe(103)
    a.served.server.publish('t', 'goes on')
    expect(await client.next()).toBe('goes on')
  })

  test('a question does not run out while its thread is blocked, and cannot read the replies', async () => {
    const { a, b } = await pair(engine)
    await b.join('t')
    const asked = a.served.server.subscribersEverywhere('t', { timeout: 150 })
    const end = performance.now() + 400
    while (performance.now() < end);
    expect(await asked).toMatchObject({ count: 1, answered: 2, members: 2 })
  })

  test('asks everywhere, and says who has replied', async () => {
    const { broker, a, b } = await pair(engine)
    await a.join('t')
    const [two, three] = [await b.join('t'), await b.join('t', 'u')]
    const { server } = a.served
    expect(await server.subscribersEverywhere('t')).toMatchObject({ count: 3, answered: 2, members: 2 })
    expect(await server.subscribersEverywhere('none')).toMatchObject({ count: 0, answered: 2, members: 2 })
    expect(await server.disconnectEverywhere({ socketId: three.socket.id }, 4000, 'bye')).toMatchObject({ count: 1, answered: 2 })
    expect(await three.client.closed()).toMatchObject({ code: 4000, reason: 'bye' })
    expect(await server.disconnectEverywhere({ topic: 't' })).toMatchObject({ count: 2, answered: 2 })
    expect(await two.client.closed()).toMatchObject({ code: 1000 })

    b.backplane.isDown = true
    const partial = await server.subscribersEverywhere('t', { timeout: 50 })
    expect(partial).toMatchObject({ count: 0, answered: 1, members: 2 })
    expect(partial.age).toBeGreaterThanOrEqual(49)
    b.backplane.isDown = false
    await within(b.served.server.close(), 'the server to close')
    await turns()
    expect(broker.members.size).toBe(1)
    expect(await server.subscribersEverywhere('t', { timeout: 60_000 })).toMatchObject({ answered: 1, members: 1 })
  })

  test('asks everywhere nothing that cannot be', async () => {
    const { a } = await pair(engine)
    const { server } = a.served
    await expect(server.subscribersEverywhere('')).rejects.toThrow(OptionError)
    await expect(server.subscribersEverywhere('t', { timeout: 0 })).rejects.toThrow(OptionError)
    await expect(server.disconnectEverywhere({ topic: 't' }, 99)).rejects.toThrow(OptionError)
    // The casts let through what TypeScript would refuse and JavaScript would not.
    for (const target of [{}, { topic: 't', socketId: 'x' }, { socketId: 7 }, 't'] as unknown as { topic: string }[]) {
      await expect(server.disconnectEverywhere(target)).rejects.toThrow(OptionError)
    }
    const alone = makeServer(engine)
    expect(await alone.subscribersEverywhere('t')).toEqual({ count: 0, answered: 1, members: 1, age: 0 })
    expect(alone.backplaneMetrics()).toBeUndefined()
  })

  test('has it for itself: a second server with the same object is refused, also when the first is closed', async () => {
    const backplane = new MemoryEngine(new MemoryBroker())
    const { served } = await member(engine, backplane)
    const second = () => makeServer(engine, { server: { backplane } })
    expect(second).toThrow(OptionError)
    await served.server.close()
    expect(second).toThrow(/^backplane must be .*: one object serves one server/)
  })

  test('does not listen without an engine that is required, and retries one that is not', async () => {
    const refuse = () => {
      throw new Error('connection refused')
    }
    const required = new MemoryEngine(new MemoryBroker())
    required.beforeStart = refuse
    const listening = makeServer(engine, { server: { backplane: required } }).listen({ host: '127.0.0.1' })
    await expect(listening).rejects.toThrow(BackplaneError)
    await expect(listening).rejects.toMatchObject({
      code: 'ERR_BACKPLANE',
      message: expect.stringContaining('here failed to start: connection refused'),
    })

    const optional = new MemoryEngine(new MemoryBroker(), { required: false })
    optional.beforeStart = refuse
    const { served, errors, join } = await member(engine, optional, { health: { backplane: true } })
    const health = async () => (await fetch(served.httpUrl('/health'))).status
    expect(await errors.next('the error')).toMatchObject({ code: 'ERR_BACKPLANE' })
    expect(await health()).toBe(503)
    const { client } = await join('t')
    served.server.publish('t', 'here')
    expect(await client.next()).toBe('here')
    await new Promise<void>((resolve) => {
      optional.beforeStart = resolve
    })
    await turns()
    expect(await health()).toBe(200)
    expect(errors.size).toBe(0)
  })

  test('tells when it closes how much it had kept for a broker that is down', async () => {
    const { a } = await pair(engine)
    a.backplane.isReplayed = true
    a.backplane.goDown('killed')
    expect(await a.errors.next('down')).toMatchObject({ code: 'ERR_BACKPLANE_DOWN' })
    for (let n = 0; n < 1000; n++) a.served.server.publish('t', 'kept')
    await within(a.served.server.close(), 'the server to close')
    expect(await a.errors.next('the error')).toMatchObject({ code: 'ERR_BACKPLANE', count: 1000 })
    expect(a.errors.size).toBe(0)
    expect(a.served.server.backplaneMetrics()).toMatchObject({ dropped: 1000, pendingBytes: 0 })
  })

  test('tells when it closes what it has dropped while the broker was down', async () => {
    const { a } = await pair(engine)
    a.backplane.goDown('killed')
    expect(await a.errors.next('down')).toMatchObject({ code: 'ERR_BACKPLANE_DOWN' })
    for (let n = 0; n < 1000; n++) a.served.server.publish('t', 'dropped')
    await within(a.served.server.close(), 'the server to close')
    expect(await a.errors.next('the error')).toMatchObject({ code: 'ERR_BACKPLANE', count: 1000 })
    expect(a.errors.size).toBe(0)
    expect(a.served.server.backplaneMetrics()).toMatchObject({ dropped: 1000 })
  })

  test('does not say of what the broker may have that it was not sent, when it closes', async () => {
    const { a } = await pair(engine)
    a.backplane.promises = []
    a.served.server.publish('t', 'perhaps')
    const { promises } = a.backplane
    while (promises.length === 0) await turns(1)
    a.backplane.close = () => {
      for (const { reject } of promises) reject(new Error('the server was closed'))
    }
    await within(a.served.server.close(), 'the server to close')
    const error = await a.errors.next('the error')
    expect(error).toMatchObject({ code: 'ERR_BACKPLANE', count: 1 })
    expect(error.message).toContain('was closed before 1 messages were sent and confirmed')
  })

  test('tells when it closes what the gap has that was about to be told', async () => {
    const { a, b } = await pair(engine)
    const { client } = await a.join('t')
    b.served.server.publish('t', 'before')
    expect(await client.next()).toBe('before')
    a.backplane.goDown('killed')
    expect(await a.errors.next('down')).toMatchObject({ code: 'ERR_BACKPLANE_DOWN' })
    a.served.server.publish('t', 'dropped')
    for (let n = 0; n < 2; n++) {
      b.served.server.publish('t', 'missed')
      await turns()
    }
    a.backplane.goUp()
    b.served.server.publish('t', 'after')
    expect(await client.messages.take(2, 'messages')).toEqual(['dropped', 'after'])
    await within(a.served.server.close(), 'the server to close')
    expect(await a.errors.next('the gap')).toMatchObject({ code: 'ERR_BACKPLANE_GAP', count: 3 })
    expect(a.errors.size).toBe(0)
  })

  test('sends what is published in close handlers, and closes its engine', async () => {
    const { a, b } = await pair(engine)
    const { client } = await b.join('t')
    a.served.server.publish('t', 'last words')
    await within(a.served.server.close(), 'the server to close')
    expect(await client.next()).toBe('last words')
    expect(a.backplane.isClosed).toBe(true)
    a.served.server.publish('t', 'too late')
    await turns()
    expect(client.messages.size).toBe(0)
  })
})
