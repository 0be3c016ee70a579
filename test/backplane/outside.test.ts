/**
 * `threads({ outside })` from within: servers stand aside for hosts made by hand, and another thread for a
 * member that says what it is told to.
 */
import { expect, onTestFinished, test, vi } from 'vitest'
import type { BackplaneEnvelope, BackplaneHost, BackplaneStatus } from '../../src/backplane/contract.js'
import { Outbox } from '../../src/backplane/outbox.js'
import { type Frame, pack, type Reply, unpack } from '../../src/backplane/outside-frames.js'
import { threads } from '../../src/backplane/threads.js'
import { selectEngine } from '../../src/engine/select.js'
import { describeEngines, type EngineName } from '../support/engines.js'
import { MemoryBroker, MemoryEngine } from '../support/memory-backplane.js'
import { Queue, turns } from '../support/waiting.js'

let groups = 0
const newGroup = () => `group ${++groups} outside of ${process.pid}`

interface Sign {
  readonly say: string
  readonly topics?: readonly string[]
}

/** What a link does for an engine, as far as is needed here. */
class Host implements BackplaneHost {
  readonly wanted = new Set<string>([''])
  readonly delivered: string[] = []
  readonly statuses = new Queue<BackplaneStatus>()
  readonly problems = new Queue<string>()
  readonly dropped = new Queue<string>()
  droppedMessages = 0
  /** With each status: how long the outage was. */
  readonly outages: (number | undefined)[] = []
  readonly id: string

  constructor(id: string) {
    this.id = id
  }

  deliver(topic: string): void {
    this.delivered.push(topic)
  }

  onStatus(status: BackplaneStatus, _reason?: string, _envelopes?: number, milliseconds?: number): void {
    this.statuses.push(status)
    this.outages.push(milliseconds)
  }

  onDropped({ topic, messages }: BackplaneEnvelope, reason: string): void {
    this.droppedMessages += messages
    this.dropped.push(`${topic}: ${reason}`)
  }

  onProblem(reason: string): void {
    this.problems.push(reason)
  }

  topics(): Iterable<string> {
    return this.wanted
  }
}

/** As engines on a broker do, it reads all topics first, and ignores what is told before it is up. */
class SlowEngine extends MemoryEngine {
  readonly subscribed = new Set<string>()
  #isUp = false
  #topics: readonly string[] = []
  #resolve = () => {}

  override start(host: BackplaneHost): Promise<void> {
    super.start(host)
    this.#topics = [...host.topics()]
    return new Promise((resolve) => {
      this.#resolve = resolve
    })
  }

  connect(): void {
    this.#confirm()
    this.#resolve()
  }

  override goDown(reason: string): void {
    this.#isUp = false
    this.subscribed.clear()
    super.goDown(reason)
    this.#topics = [...(this.host?.topics() ?? [])]
  }

  override goUp(): void {
    this.#confirm()
    super.goUp()
  }

  override interest(added: readonly string[], removed: readonly string[]): void {
    if (!this.#isUp) return
    for (const topic of added) this.subscribed.add(topic)
    for (const topic of removed) this.subscribed.delete(topic)
  }

  #confirm(): void {
    for (const topic of this.#topics) this.subscribed.add(topic)
    this.#isUp = true
  }
}

interface GatewayOptions {
  readonly required?: boolean
  readonly maxPendingBytes?: number
  readonly outside?: MemoryEngine
}

function gateway(
  name: EngineName,
  group: string,
  { required = true, maxPendingBytes = 1 << 20, outside = new MemoryEngine(new MemoryBroker()) }: GatewayOptions = {},
) {
  let made = 0
  const make = () => {
    made++
    return outside
  }
  const engine = threads({ engine: name, group, outside: make, required, maxPendingBytes, linger: 0 })
  onTestFinished(() => engine.close())
  return { engine, outside, host: new Host('a'), made: () => made }
}

/** A member beside the gateway: what it hears, and a way to say something. It is younger than the gateway. */
function beside(name: EngineName, group: string) {
  const heard = new Queue<Sign>()
  const frames = new Queue<Frame>()
  const replies = new Queue<Reply>()
  const member = selectEngine(name).engine.joinThreads(
    { hub: `signs of ${group}`, maxPendingBytes: 1 << 20 },
    {
      arrival: (topic, message) => {
        if (typeof message !== 'string') frames.push(unpack(message))
        else if (topic === 'signs') heard.push(JSON.parse(message) as Sign)
        else replies.push(JSON.parse(message) as Reply)
      },
      lost() {},
    },
  )
  member.addInterest('signs')
  member.addInterest('b')
  onTestFinished(() => member.close())
  const say = (sign: object) => {
    member.publish('signs', JSON.stringify({ id: 'b', born: Date.now() + 1e6, ...sign }), 0)
    member.flush()
  }
  /** To the member "a", as a gateway replies, or as a thread forwards. */
  const tell = (message: Reply | Uint8Array) => {
    const isFrame = message instanceof Uint8Array
    member.publish('a', isFrame ? message : JSON.stringify({ ...message, gateway: 'b' }), 0)
    member.flush()
  }
  const question = async () => {
    while ((await heard.next('a sign')).say !== 'who');
  }
  /** Leaves out what the gateway asked when it began: that nothing more comes is no event. */
  const settled = async () => {
    await new Promise((resolve) => setTimeout(resolve, 100))
    while (heard.size > 0) await heard.next('a sign')
  }
  return { ready: member.ready, say, tell, heard, frames, replies, question, settled }
}

/** An envelope of so many bytes. */
const envelope = (topic: string, sequence: number, length = 100, messages = 1): BackplaneEnvelope => ({
  topic,
  data: new Uint8Array(length),
  sequence,
  messages,
})

/** Topics and numbers of what the outside was given. */
const given = ({ batches }: MemoryEngine) => batches.flat().map(({ topic, sequence }) => `${topic} ${sequence}`)

/** The topics that were subscribed outside, and those that were given up again. */
/** A thread that was the gateway, and has left that to an older one, which does what the test says. */
async function behindAnother(name: EngineName) {
  const group = newGroup()
  const { engine, outside, host } = gateway(name, group)
  const { ready, say, tell, frames } = beside(name, group)
  await ready
  await engine.start(host)
  await until(() => {
    say({ say: 'alive', born: 0, outlook: { state: 'up', isReplayed: false } })
    return outside.isClosed
  })
  return { engine, outside, host, say, tell, frames }
}

function interestOf({ interests }: MemoryEngine) {
  return { added: interests.flatMap(({ added }) => added), removed: interests.flatMap(({ removed }) => removed) }
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5))
}

/** Signs of life, and how long one is silent, are in the hands of the test. */
function takeTheSigns(): void {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] })
  onTestFinished(() => void vi.useRealTimers())
}

describeEngines('the gateway of threads()', (name) => {
  test('counts a topic of its own once, whether the change was told before or after it became the gateway', async () => {
    const { engine, outside, host } = gateway(name, newGroup())
    host.wanted.add('given up')
    const started = engine.start(host)
    // As a link has it that has not told these yet.
    host.wanted.add('early')
    host.wanted.delete('given up')
    await started
    engine.interest(['early'], ['given up'])
    expect(interestOf(outside)).toEqual({ added: ['early'], removed: ['given up'] })
    engine.interest([], ['early'])
    expect(interestOf(outside)).toEqual({ added: ['early'], removed: ['given up', 'early'] })
  })

  test('tells the outside when it is up which topics have changed while it was connecting', async () => {
    const outside = new SlowEngine(new MemoryBroker())
    const { engine, host } = gateway(name, newGroup(), { outside })
    host.wanted.add('given up')
    const started = engine.start(host)
    await until(() => outside.host !== undefined)
    engine.interest(['wanted', 'for a moment'], ['given up'])
    engine.interest([], ['for a moment'])
    outside.connect()
    await started
    expect([...outside.subscribed]).toEqual(['', 'wanted'])
    outside.goDown('the connection was reset')
    engine.interest(['wanted in the outage'], ['wanted'])
    outside.goUp()
    expect([...outside.subscribed]).toEqual(['', 'wanted in the outage'])
  })

  test('gives up a topic for itself alone where another thread wants it too', async () => {
    const group = newGroup()
    const { engine, outside, host } = gateway(name, group)
    const { ready, say } = beside(name, group)
    await ready
    await engine.start(host)
    say({ say: 'alive', topics: ['t'] })
    await until(() => interestOf(outside).added.includes('t'))
    // Never counted here.
    engine.interest([], ['t'])
    expect(interestOf(outside).removed).toEqual([])
    say({ say: 'alive', topics: [] })
    await until(() => interestOf(outside).removed.includes('t'))
  })

  test('asks a member that it does not know for all of its topics, whatever that says first', async () => {
    const group = newGroup()
    const { engine, outside, host } = gateway(name, group)
    const { ready, say, question, settled } = beside(name, group)
    await ready
    await engine.start(host)
    await settled()
    say({ say: 'interest', added: ['new'], removed: [] })
    await question()
    say({ say: 'alive', topics: ['old', 'new'] })
    await until(() => interestOf(outside).added.length === 2)
    expect(interestOf(outside)).toEqual({ added: ['new', 'old'], removed: [] })
  })

  test('asks all members again when signs of one may have been dropped', async () => {
    const group = newGroup()
    const { engine, outside, host } = gateway(name, group, { maxPendingBytes: 65_536 })
    const { ready, say, question, settled } = beside(name, group)
    await ready
    await engine.start(host)
    say({ say: 'alive', topics: [] })
    await settled()
    // In one turn: nothing can be read meanwhile.
    const long = ['x', 'y', 'z'].map((letter) => letter.repeat(50_000))
    for (const topic of long) say({ say: 'interest', added: [topic], removed: [] })
    await question()
    expect(interestOf(outside).added.length).toBeLessThan(3)
    say({ say: 'alive', topics: ['dropped'] })
    await until(() => interestOf(outside).added.includes('dropped'))
  })

  test('does not begin where it was closed while it joined the others', async () => {
    const { engine, host, made } = gateway(name, newGroup())
    const started = engine.start(host)
    await engine.close()
    await started
    expect(made()).toBe(0)
  })

  test('has signs that no group of another name can hear', async () => {
    const group = newGroup()
    const other = threads({ engine: name, group: `${group} outside` })
    onTestFinished(() => other.close())
    const host = new Host('c')
    host.wanted.add('signs')
    await other.start(host)
    const { engine, host: own } = gateway(name, group)
    await engine.start(own)
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(host.delivered).toEqual([])
  })

  test('tells once why what is outside is down, and again for the next outage', async () => {
    const { engine, outside, host } = gateway(name, newGroup())
    await engine.start(host)
    for (const reason of ['the broker has not replied', 'the connection was reset']) {
      outside.goDown(reason)
      outside.goDown(reason)
      expect(await host.problems.next('a problem')).toContain(reason)
      outside.goUp()
    }
    expect(host.problems.size).toBe(0)
  })

  test('tells once that it cannot connect, where the outside is not required', async () => {
    const { engine, outside, host, made } = gateway(name, newGroup(), { required: false })
    outside.beforeStart = () => {
      if (made() < 3) throw new Error('no broker')
    }
    await engine.start(host)
    expect(await host.problems.next('a problem')).toContain('no broker')
    await until(() => outside.host !== undefined)
    expect(made()).toBe(3)
    expect(host.problems.size).toBe(0)
  })

  test('sends to the threads whether the outside takes anything or not; the oldest waits for it, and is dropped', async () => {
    const group = newGroup()
    const { engine, outside, host } = gateway(name, group, { maxPendingBytes: 100_000 })
    outside.promises = []
    await engine.start(host)
    const sibling = threads({ engine: name, group })
    onTestFinished(() => sibling.close())
    const other = new Host('b')
    other.wanted.add('t')
    await sibling.start(other)
    // As the link has it: nothing to wait for.
    for (let n = 1; n <= 5; n++) {
      expect(engine.publish([envelope('t', n, 40_000, n), envelope('', n)])).toBeUndefined()
      await until(() => other.delivered.length === 2 * n)
    }
    const ofUsers = () => given(outside).filter((each) => each.startsWith('t'))
    expect(ofUsers()).toEqual(['t 1'])
    for (let n = 0; n < 3; n++) expect(await host.dropped.next('a drop')).toContain('t: what is outside of the process is too')
    // The second to the fourth, in the order of their age.
    expect(host.droppedMessages).toBe(2 + 3 + 4)
    outside.promises[0]?.resolve()
    await until(() => ofUsers().length === 2)
    expect(ofUsers()).toEqual(['t 1', 't 5'])
    // Those without a topic are said again.
    for (const { reject } of outside.promises) reject(new Error('the connection was reset'))
    expect(await host.dropped.next('a drop')).toContain('t: what is outside of the process may not have sent it: the connection')
    expect(host.dropped.size).toBe(0)
    expect(host.droppedMessages).toBe(2 + 3 + 4 + 5)
  })

  test('gives to the outside what was published before it was connected, in order', async () => {
    const outside = new SlowEngine(new MemoryBroker())
    const { engine, host } = gateway(name, newGroup(), { outside })
    const started = engine.start(host)
    await until(() => outside.host !== undefined)
    for (let n = 1; n <= 3; n++) engine.publish([envelope('t', n), envelope('', n)])
    expect(outside.batches).toEqual([])
    outside.connect()
    await started
    expect(given(outside)).toEqual(['t 1', 't 2', 't 3'])
    expect(host.dropped.size).toBe(0)
  })

  test('drops and counts what is published while an outside is down that replays nothing, and keeps it for one that does', async () => {
    for (const isReplayed of [false, true]) {
      const { engine, outside, host } = gateway(name, newGroup())
      outside.isReplayed = isReplayed
      await engine.start(host)
      outside.goDown('the connection was reset')
      engine.publish([envelope('t', 1, 100, 7), envelope('', 1)])
      expect(host.droppedMessages).toBe(isReplayed ? 0 : 7)
      outside.goUp()
      expect(given(outside)).toEqual(isReplayed ? ['t 1'] : [])
      engine.publish([envelope('t', 8)])
      expect(given(outside)).toEqual(isReplayed ? ['t 1', 't 8'] : ['t 8'])
    }
  })

  test('sends to another gateway, and again by itself what that one has not done with when it ends', async () => {
    const { engine, outside, host, say, tell, frames } = await behindAnother(name)
    outside.isClosed = false
    for (let n = 1; n <= 3; n++) engine.publish([envelope('t', n, 100, n)])
    const sent = await frames.take(3, 'frames')
    expect(sent.map(({ from, isFirst, envelope: { sequence } }) => [from, isFirst, sequence])).toEqual([
      ['a', true, 1],
      ['a', false, 2],
      ['a', false, 3],
    ])
    const [one, two] = sent as [Frame, Frame, Frame]
    tell({ say: 'taken', number: one.number })
    tell({ say: 'refused', number: two.number, messages: 2, why: 'has refused it' })
    expect(await host.dropped.next('the drop')).toContain('has refused it')
    expect(host.droppedMessages).toBe(2)
    say({ say: 'bye', born: 0 })
    await until(() => outside.batches.length > 0)
    engine.publish([envelope('t', 6)])
    expect(given(outside)).toEqual(['t 3', 't 6'])
    expect(host.dropped.size).toBe(0)
  })

  test('keeps what is published while no thread is the gateway, up to the limit', async () => {
    const group = newGroup()
    const { engine, outside, host } = gateway(name, group, { maxPendingBytes: 100_000 })
    const { ready, say } = beside(name, group)
    await ready
    await engine.start(host)
    // It will be the gateway, as the oldest, and has not said so.
    await until(() => {
      say({ say: 'alive', born: 0 })
      return outside.isClosed
    })
    for (let n = 1; n <= 5; n++) engine.publish([envelope('t', n, 40_000, n)])
    expect(host.droppedMessages).toBe(1 + 2 + 3)
    say({ say: 'bye', born: 0 })
    await until(() => outside.batches.length > 0)
    expect(given(outside)).toEqual(['t 4', 't 5'])
    expect(host.droppedMessages).toBe(1 + 2 + 3)
  })

  test('asks a thread for what has not come, and says what is done with', async () => {
    const group = newGroup()
    const { engine, outside, host } = gateway(name, group)
    const { ready, tell, replies } = beside(name, group)
    await ready
    outside.promises = []
    await engine.start(host)
    const send = (number: number, sequence: number, isFirst = false) =>
      tell(pack({ from: 'b', number, isFirst, isUrgent: false, envelope: envelope('t', sequence) }))
    send(1, 1, true)
    send(2, 2)
    send(4, 4)
    send(5, 5)
    expect(await replies.next('a reply')).toMatchObject({ say: 'again' })
    expect(given(outside)).toEqual(['t 1', 't 2'])
    for (let sequence = 3; sequence <= 5; sequence++) send(sequence + 3, sequence, sequence === 3)
    await until(() => given(outside).length === 5)
    expect(given(outside)).toEqual(['t 1', 't 2', 't 3', 't 4', 't 5'])
    expect(replies.size).toBe(0)
    for (const { resolve } of outside.promises) resolve()
    const numbers: number[] = []
    while (!numbers.includes(8)) numbers.push(((await replies.next('what is taken')) as Reply & { say: 'taken' }).number)
    expect(host.droppedMessages).toBe(0)
  })

  test('tells a thread of its own messages that the outside refuses, and counts them not here', async () => {
    const group = newGroup()
    const { engine, outside, host } = gateway(name, group)
    const { ready, tell, replies } = beside(name, group)
    await ready
    await engine.start(host)
    outside.publish = (envelopes) => {
      for (const each of envelopes) outside.host?.onDropped(each, 'it is too long')
    }
    tell(pack({ from: 'b', number: 1, isFirst: true, isUrgent: true, envelope: envelope('t', 1, 100, 7) }))
    expect(await replies.next('the refusal')).toMatchObject({ say: 'refused', number: 1, messages: 7 })
    expect(await replies.next('that it is done with')).toMatchObject({ say: 'taken', number: 1 })
    expect(host.droppedMessages).toBe(0)
  })

  test('gives the outside no envelope longer than it takes, also where another one takes over that takes less', async () => {
    const outbox = new Outbox(Buffer.alloc(8), 1 << 20)
    for (let n = 0; n < 100; n++) outbox.add('t', `${n}`.padEnd(500), true, undefined, 1 << 20)
    const envelopes = outbox.take(1 << 20)
    const { engine, outside, host } = gateway(name, newGroup())
    outside.maxEnvelopeBytes = 16_384
    await engine.start(host)
    engine.publish(envelopes)
    const [parts = []] = outside.batches
    expect(parts.length).toBeGreaterThan(3)
    for (const { data } of parts) expect(data.length).toBeLessThanOrEqual(16_384)
    expect(parts.reduce((sum, { messages }) => sum + messages, 0)).toBe(100)
    outside.maxEnvelopeBytes = 600
    engine.publish(envelopes)
    expect(outside.batches[1]?.length).toBe(100)
    expect(host.dropped.size).toBe(0)
  })

  test('waits, when it is closed, until the gateway has what was published last', async () => {
    const { engine, host, tell, frames } = await behindAnother(name)
    engine.publish([envelope('t', 1)])
    const closing = Promise.resolve(engine.close())
    let isClosed = false
    void closing.then(() => {
      isClosed = true
    })
    const { number } = await frames.next('the frame')
    await turns(5)
    expect(isClosed).toBe(false)
    tell({ say: 'taken', number })
    await closing
    expect(host.droppedMessages).toBe(0)
  })

  test('waits for a slow gateway when it is closed, as long as that takes something', async () => {
    const { engine, host, tell, frames } = await behindAnother(name)
    const patience = vi.spyOn(globalThis, 'setTimeout')
    onTestFinished(() => patience.mockRestore())
    engine.publish([envelope('t', 1), envelope('t', 2), envelope('t', 3)])
    const numbers = (await frames.take(3, 'frames')).map(({ number }) => number)
    const closing = engine.close()
    for (const number of numbers) {
      // It gives half a second again after each.
      while (patience.mock.calls.filter(([, time]) => time === 500).length <= numbers.indexOf(number)) {
        await new Promise((resolve) => setImmediate(resolve))
      }
      tell({ say: 'taken', number })
    }
    await closing
    expect(host.droppedMessages).toBe(0)
  })

  test('sends all that waits for its own outside when it is closed as the gateway', async () => {
    const { engine, outside, host } = gateway(name, newGroup())
    const promises: NonNullable<typeof outside.promises> = []
    await engine.start(host)
    outside.promises = promises
    // More than may be on its way.
    for (let n = 1; n <= 12; n++) engine.publish([envelope('t', n, 60_000)])
    expect(outside.batches.flat().length).toBeLessThan(12)
    const closing = engine.close()
    while (outside.batches.flat().length < 12) {
      for (const { resolve } of promises.splice(0)) resolve()
      await turns(1)
    }
    for (const { resolve } of promises.splice(0)) resolve()
    await closing
    expect(host.droppedMessages).toBe(0)
  })

  test('loses nothing where all threads are closed at once, and more waits than may be on its way', async () => {
    const group = newGroup()
    const members = ['a', 'b', 'c'].map((id) => {
      const outside = new MemoryEngine(new MemoryBroker())
      outside.promises = []
      return { outside, host: new Host(id), engine: threads({ engine: name, group, outside: () => outside }) }
    })
    for (const { engine, host } of members) await engine.start(host)
    members.forEach(({ engine }, index) => {
      for (let n = 1; n <= 100; n++) engine.publish([envelope(`t${index}`, n, 60_000)])
    })
    let isClosed = false
    const closing = Promise.all(members.map(async ({ engine }) => await engine.close())).finally(() => {
      isClosed = true
    })
    // A broker that takes what it has been given every now and then.
    while (!isClosed) {
      for (const { outside } of members) for (const { resolve } of outside.promises?.splice(0) ?? []) resolve()
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
    await closing
    expect(members.map(({ host }) => host.droppedMessages)).toEqual([0, 0, 0])
    expect(new Set(members.flatMap(({ outside }) => given(outside))).size).toBe(300)
  })

  test('counts what no gateway has taken when it is closed', async () => {
    const group = newGroup()
    const { engine, outside, host } = gateway(name, group)
    const { ready, say } = beside(name, group)
    await ready
    await engine.start(host)
    await until(() => {
      say({ say: 'alive', born: 0, outlook: { state: 'up', isReplayed: false } })
      return outside.isClosed
    })
    engine.publish([envelope('t', 1, 100, 3), envelope('', 1)])
    await engine.close()
    expect(host.droppedMessages).toBe(3)
    // The gateway may have it, as far as this thread knows.
    expect(await host.dropped.next('the drop')).toContain('t: what is outside of the process has not confirmed it in time')
  })

  test.each([
    ['required', false],
    ['maxPendingBytes', 1 << 22],
    ['linger', 5000],
  ] as const)('refuses an outside that has a value of %s of its own, which would have no effect', async (option, value) => {
    const outside = new MemoryEngine(new MemoryBroker(), { [option]: value })
    for (const required of [true, false]) {
      if (option === 'required' && !required) continue
      const { engine, host } = gateway(name, newGroup(), { outside, required })
      await expect(async () => await engine.start(host)).rejects.toMatchObject({ option: `outside.${option}` })
    }
    const same = threads({ engine: name, group: newGroup(), outside: () => outside, [option]: value })
    onTestFinished(() => same.close())
    await same.start(new Host('a'))
  })

  test('tells that the function that makes the outside has thrown', async () => {
    const fails = () => {
      throw new Error('no such file')
    }
    const engine = threads({ engine: name, group: newGroup(), outside: fails, required: false })
    onTestFinished(() => engine.close())
    const host = new Host('a')
    await engine.start(host)
    expect(await host.problems.next('a problem')).toContain('no such file')
  })

  test('tells every thread of a gap, and none that it is down', async () => {
    const group = newGroup()
    const { engine, outside, host } = gateway(name, group)
    await engine.start(host)
    const sibling = threads({ engine: name, group, outside: () => new MemoryEngine(new MemoryBroker()) })
    onTestFinished(() => sibling.close())
    const other = new Host('b')
    await sibling.start(other)
    // Again, until the threads have found each other.
    while (other.statuses.size === 0) {
      outside.goDown('the connection was reset')
      await new Promise((resolve) => setTimeout(resolve, 20))
      outside.goUp()
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    for (const each of [host, other]) expect(await each.statuses.next('a status')).toBe('gap')
    // A thread that has found the gateway while its outside was away does not know since when.
    expect(host.outages[0]).toBeGreaterThan(15)
  })

  test('tells every thread of a gap when it takes over from another one', async () => {
    const group = newGroup()
    const { engine, outside, host } = gateway(name, group)
    const { ready, say, heard } = beside(name, group)
    await ready
    await engine.start(host)
    // The older one is the gateway from now on.
    await until(() => {
      say({ say: 'alive', born: 0 })
      return outside.isClosed
    })
    say({ say: 'bye', born: 0 })
    expect(await host.statuses.next('a status')).toBe('gap')
    while ((await heard.next('the gap')).say !== 'gap');
  })

  test('keeps the topics of a thread that is blocked for less than 30 seconds', async () => {
    takeTheSigns()
    const group = newGroup()
    const { engine, outside, host } = gateway(name, group)
    const { ready, say } = beside(name, group)
    await ready
    await engine.start(host)
    say({ say: 'alive', topics: ['t'] })
    await until(() => interestOf(outside).added.includes('t'))
    vi.advanceTimersByTime(29_000)
    expect(interestOf(outside).removed).toEqual([])
    vi.advanceTimersByTime(2000)
    expect(interestOf(outside).removed).toEqual(['t'])
  })

  test('takes over from a thread that is blocked, and subscribes to its topics', async () => {
    takeTheSigns()
    const group = newGroup()
    const { engine, outside, host, made } = gateway(name, group)
    const { ready, say } = beside(name, group)
    await ready
    await engine.start(host)
    await until(() => {
      say({ say: 'alive', born: 0, topics: ['t'] })
      vi.advanceTimersByTime(200)
      return outside.isClosed
    })
    const before = made()
    vi.advanceTimersByTime(1400)
    expect(made()).toBe(before + 1)
    expect([...(outside.host?.topics() ?? [])]).toEqual(['', 't'])
  })

  test('rejects where the outside is required and cannot be reached, and tells nothing beside', async () => {
    const { engine, outside, host } = gateway(name, newGroup())
    outside.beforeStart = () => {
      throw new Error('no broker')
    }
    await expect(async () => await engine.start(host)).rejects.toThrow('no broker')
    expect(host.problems.size).toBe(0)
  })
})
