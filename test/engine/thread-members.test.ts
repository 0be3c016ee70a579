/**
 * What the engines do for threads: members of one hub, which publish to one another. What stands on it is in
 * test/backplane; here are order, limits and ends.
 */
import { expect, onTestFinished, test, vi } from 'vitest'
import type { Engine, ThreadMember } from '../../src/engine/contract.js'
import { selectEngine } from '../../src/engine/select.js'
import { runFixture } from '../support/child.js'
import { describeEngines } from '../support/engines.js'
import { Queue } from '../support/waiting.js'

type Seen = readonly [topic: string, data: string | Buffer, flags: number] | readonly ['lost', number]

const PLENTY = 1 << 28

describeEngines('members of a hub', (name) => {
  const engine: Engine = selectEngine(name).engine
  let hubs = 0

  class Member {
    readonly seen = new Queue<Seen>()
    readonly member: ThreadMember
    onArrival: ((topic: string, data: string | Buffer) => void) | undefined

    constructor(hub: string, maxPendingBytes = PLENTY) {
      this.member = engine.joinThreads(
        { hub, maxPendingBytes },
        {
          arrival: (topic, data, flags) => {
            this.seen.push([topic, data, flags])
            this.onArrival?.(topic, data)
          },
          lost: (count) => this.seen.push(['lost', count]),
        },
      )
      onTestFinished(() => this.member.close())
    }

    wants(...topics: readonly string[]): void {
      for (const topic of topics) this.member.addInterest(topic)
    }

    publish(topic: string, data: string | Uint8Array, flags = 0): void {
      this.member.publish(topic, data, flags)
    }

    send(topic: string, data: string | Uint8Array, flags = 0): void {
      this.publish(topic, data, flags)
      this.member.flush()
    }

    /** All of it in order, until nothing is missing. */
    async take(count: number): Promise<Seen[]> {
      return this.seen.take(count, 'arrivals')
    }
  }

  const newHub = () => `hub ${name} ${++hubs} ${process.pid}`

  /** Waits until what `to` wants is known to `from`: with threads that is not at once on every engine. */
  async function known(from: Member, to: Member): Promise<void> {
    const topic = `known ${Math.random()}`
    to.wants(topic)
    for (;;) {
      from.send(topic, 'x')
      await new Promise((resolve) => setTimeout(resolve, 2))
      if (to.seen.size > 0) break
    }
    await new Promise((resolve) => setTimeout(resolve, 20))
    while (to.seen.size > 0) await to.seen.next('its own messages')
    to.member.removeInterest(topic)
  }

  test('get what others publish to the topics that they want, as it was, and nothing of their own', async () => {
    const hub = newHub()
    const [one, two, elsewhere] = [new Member(hub), new Member(hub), new Member(newHub())]
    one.wants('a')
    two.wants('a', 'b é')
    elsewhere.wants('a', 'b é')
    await known(one, two)
    const bytes = new Uint8Array([0, 255, 7])
    one.publish('a', 'text é 😀', 5)
    one.publish('b é', bytes, 0x3fffffff)
    bytes.fill(1)
    one.publish('nobody’s', 'x')
    one.publish('a', '')
    one.publish('a', new Uint8Array(0))
    one.publish('a', 'x'.repeat(300_000), 2)
    one.publish('a', new Uint8Array(300_000).fill(3), 3)
    one.send('b é', 'last')
    expect(await two.take(7)).toEqual([
      ['a', 'text é 😀', 5],
      ['b é', Buffer.from([0, 255, 7]), 0x3fffffff],
      ['a', '', 0],
      ['a', Buffer.alloc(0), 0],
      ['a', 'x'.repeat(300_000), 2],
      ['a', Buffer.alloc(300_000, 3), 3],
      ['b é', 'last', 0],
    ])
    two.send('a', 'back')
    expect(await one.take(1)).toEqual([['a', 'back', 0]])
    expect(elsewhere.seen.size + two.seen.size).toBe(0)
  })

  test('keep the order of each publisher, in batches of any size', async () => {
    const hub = newHub()
    const [one, two, to] = [new Member(hub), new Member(hub), new Member(hub)]
    to.wants('a', 'b')
    await known(one, to)
    await known(two, to)
    for (let i = 0; i < 20_000; i++) {
      one.publish(i % 3 === 0 ? 'a' : 'b', `one ${i}`)
      two.publish('a', `two ${i}`)
      if (i % 7 === 0) one.member.flush()
      if (i % 1000 === 999) two.member.flush()
    }
    one.member.flush()
    const next = { one: 0, two: 0 }
    for (const [, data] of await to.take(40_000)) {
      const [who, number] = String(data).split(' ')
      if (who !== 'one' && who !== 'two') throw new Error(`${data}`)
      if (Number(number) !== next[who]++) throw new Error(`${data} rather than ${next[who] - 1}`)
    }
    expect(next).toEqual({ one: 20_000, two: 20_000 })
  })

  test('may publish and close while they are being delivered to', async () => {
    const hub = newHub()
    const [one, two] = [new Member(hub), new Member(hub)]
    one.wants('ping')
    two.wants('ping', 'pong')
    await known(two, one)
    await known(one, two)
    one.onArrival = (_topic, data) => one.send('pong', data as string)
    let answers = 0
    two.onArrival = (topic, data) => {
      if (topic === 'pong' && ++answers < 500) two.send('ping', data as string)
      if (answers === 500) two.member.close()
    }
    two.send('ping', 'x')
    await two.take(500)
    one.send('ping', 'to nobody')
    two.member.close()
    two.send('ping', 'after the end')
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(two.seen.size).toBe(0)
    expect(one.seen.size).toBe(500)
  })

  test('hear what a member has published just before it closed', async () => {
    const hub = newHub()
    const [from, to] = [new Member(hub), new Member(hub)]
    to.wants('a')
    await known(from, to)
    for (let i = 0; i < 100; i++) from.publish('a', `${i}`)
    from.member.close()
    expect((await to.take(100)).map(([, data]) => data)).toEqual(Array.from({ length: 100 }, (_, i) => `${i}`))
  })

  test('are not taken for terminated because they said nothing before their queue was full', async () => {
    const hub = newHub()
    const from = new Member(hub)
    const to = new Member(hub, 1_000_000)
    to.wants('a')
    await known(from, to)
    const now = performance.now.bind(performance)
    const clock = vi.spyOn(performance, 'now').mockImplementation(() => now() + 3_600_000)
    onTestFinished(() => clock.mockRestore())
    for (let i = 0; i < 200; i++) from.send('a', `${i} `.padEnd(10_000, 'x'))
    let got = -1
    while (got < 199) {
      const [first, second] = await to.seen.next('a message, or how many were lost')
      if (first !== 'lost') got = Number.parseInt(String(second), 10)
    }
  })

  test.each([
    ['one by one', 1],
    ['in batches', 100],
  ])('lose the oldest where one does not read, are told how many at their place, and go on: %s', async (_how, batch) => {
    const hub = newHub()
    const from = new Member(hub)
    const to = new Member(hub, 1_000_000)
    to.wants('a')
    await known(from, to)
    // In one turn: nothing can be read meanwhile.
    for (let i = 0; i < 1000; i++) {
      from.publish('a', `${i} `.padEnd(10_000, 'x'))
      if (i % batch === batch - 1) from.member.flush()
    }
    let [next, got, lost, places] = [0, 0, 0, 0]
    while (next < 1000) {
      const [first, second] = await to.seen.next('a message, or how many were lost')
      if (first === 'lost') {
        places++
        lost += Number(second)
        next += Number(second)
      } else {
        expect(Number.parseInt(String(second), 10)).toBe(next++)
        got++
      }
    }
    expect(places).toBe(1)
    expect(lost).toBeGreaterThan(800)
    // What stays is not much less than what may.
    expect(got).toBeGreaterThan(60)
    from.send('a', 'after')
    expect(await to.take(1)).toEqual([['a', 'after', 0]])
  })

  test('want a hundred thousand topics, and no longer', async () => {
    const hub = newHub()
    const [from, to] = [new Member(hub), new Member(hub)]
    const topics = Array.from({ length: 100_000 }, (_, i) => `topic/${i}`)
    to.wants(...topics)
    await known(from, to)
    for (let i = 0; i < 100_000; i += 5000) from.send(`topic/${i}`, `${i}`)
    expect((await to.take(20)).map(([topic]) => topic)).toEqual(topics.filter((_, i) => i % 5000 === 0))
    for (const topic of topics) to.member.removeInterest(topic)
    to.wants('last')
    await known(from, to)
    from.send('topic/5000', 'x')
    from.send('last', 'y')
    expect(await to.take(1)).toEqual([['last', 'y', 0]])
  })

  test.each([
    ['all to all', 'every message arrived in order'],
    ['terminate', '12 workers terminated, and the last one still hears'],
    ['blocked', 'the blocked worker lost some, was told how many, and goes on'],
    ['exit', 'leaving'],
  ])('live in worker threads: %s', async (scenario, line) => {
    const result = await runFixture('thread-members.mjs', { args: [name, scenario] })
    expect(result).toEqual({ code: 0, signal: null, stdout: `${line}\n`, stderr: '' })
  })
})
