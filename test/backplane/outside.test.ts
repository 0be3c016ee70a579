/**
 * `threads({ outside })` from within: servers stand aside for hosts made by hand, and another thread for a
 * member that says what it is told to.
 */
import { expect, onTestFinished, test, vi } from 'vitest'
import type { BackplaneEnvelope, BackplaneHost, BackplaneStatus } from '../../src/backplane/contract.js'
import { threads } from '../../src/backplane/threads.js'
import { selectEngine } from '../../src/engine/select.js'
import { describeEngines, type EngineName } from '../support/engines.js'
import { MemoryBroker, MemoryEngine } from '../support/memory-backplane.js'
import { Queue } from '../support/waiting.js'

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
  readonly id: string

  constructor(id: string) {
    this.id = id
  }

  deliver(topic: string): void {
    this.delivered.push(topic)
  }

  onStatus(status: BackplaneStatus): void {
    this.statuses.push(status)
  }

  onDropped({ topic }: BackplaneEnvelope, reason: string): void {
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
  const member = selectEngine(name).engine.joinThreads(
    { hub: `signs of ${group}`, maxPendingBytes: 1 << 20 },
    { arrival: (_topic, text) => heard.push(JSON.parse(String(text)) as Sign), lost() {} },
  )
  member.addInterest('signs')
  onTestFinished(() => member.close())
  const say = (sign: object) => {
    member.publish('signs', JSON.stringify({ id: 'b', born: Date.now() + 1e6, ...sign }), 0)
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
  return { ready: member.ready, say, heard, question, settled }
}

/** The topics that were subscribed outside, and those that were given up again. */
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

  test('sends to the threads whether the outside takes anything or not, and tells what that has not sent', async () => {
    const group = newGroup()
    const { engine, outside, host } = gateway(name, group, { maxPendingBytes: 65_536 })
    outside.promises = []
    await engine.start(host)
    const sibling = threads({ engine: name, group })
    onTestFinished(() => sibling.close())
    const other = new Host('b')
    other.wanted.add('t')
    await sibling.start(other)
    const data = new Uint8Array(40_000)
    // As the link has it: nothing to wait for.
    for (let n = 1; n <= 3; n++) {
      const envelopes = ['t', ''].map((topic) => ({ topic, data, sequence: n, messages: 1 }))
      expect(engine.publish(envelopes)).toBeUndefined()
      await until(() => other.delivered.length === 2 * n)
    }
    // The outside was given the first ones, and those without a topic are said again.
    expect(outside.batches.length).toBe(1)
    for (let n = 2; n <= 3; n++) expect(await host.dropped.next('a drop')).toContain('t: what is outside of the process is too')
    outside.promises[0]?.reject(new Error('the connection was reset'))
    expect(await host.dropped.next('a drop')).toContain('t: what is outside of the process has not sent it: the connection')
    expect(host.dropped.size).toBe(0)
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
      outside.goUp()
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    for (const each of [host, other]) expect(await each.statuses.next('a status')).toBe('gap')
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
