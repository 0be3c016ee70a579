/** Members of a portable hub that end without a word: the other side is a channel of the test's own. */
import { BroadcastChannel } from 'node:worker_threads'
import { expect, onTestFinished, test, vi } from 'vitest'
import { PortableThreadMember } from '../../src/engine/portable/thread-member.js'
import { Queue } from '../support/waiting.js'

/** Milliseconds between two ticks of a member. */
const TICK = 5000
let hubs = 0

interface Greeting {
  readonly kind: string
  readonly from: string
  readonly to?: string
  readonly lost?: number
}

/** A member whose clock is in the hands of the test, and one made by hand that says what it is told to. */
async function joinTwo() {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  let clock = 0
  const now = vi.spyOn(performance, 'now').mockImplementation(() => clock)
  onTestFinished(() => {
    now.mockRestore()
    vi.useRealTimers()
  })
  const hub = `hub ${++hubs} of ${process.pid}`
  const channel = new BroadcastChannel(`native-websocket-server/threads/${hub}`)
  onTestFinished(() => channel.close())
  const heard = new Queue<Greeting>()
  channel.onmessage = (event: unknown) => heard.push((event as { readonly data: Greeting }).data)
  const lost = new Queue<number>()
  const member = new PortableThreadMember({ hub, maxPendingBytes: 1 << 20 }, { arrival() {}, lost: (count) => lost.push(count) })
  onTestFinished(() => member.close())
  const { from: id } = await heard.next('a hello')
  const say = (greeting: object) => channel.postMessage({ from: 'by hand', maxPending: 1 << 20, ...greeting })
  const passed: string[] = []
  const hear = async (kind: string) => {
    for (;;) {
      const greeting = await heard.next(kind)
      if (greeting.kind === kind) return greeting
      passed.push(greeting.kind)
    }
  }
  let others = 0
  /** Resolves when the member has read what was said before. */
  const isRead = async () => {
    const from = `another ${++others}`
    say({ kind: 'hello', from })
    while ((await hear('welcome')).to !== from);
    say({ kind: 'bye', from, told: [] })
  }
  /** The next tick of the member comes so much later by the clock. */
  const tick = (milliseconds = TICK) => {
    clock += milliseconds
    vi.advanceTimersByTime(TICK)
  }
  say({ kind: 'hello' })
  await hear('welcome')
  return { say, hear, passed, isRead, tick, lost, id }
}

test('a member of a portable hub that is silent for 30 seconds is forgotten, although nothing is published to it', async () => {
  const { hear, passed, tick, isRead } = await joinTwo()
  for (let n = 0; n < 5; n++) tick()
  await isRead()
  expect(passed).not.toContain('forgotten')
  tick()
  expect(await hear('forgotten')).toMatchObject({ to: 'by hand', lost: 1 })
})

test('a member of a portable hub that gives signs of life is kept', async () => {
  const { say, passed, tick, isRead } = await joinTwo()
  for (let n = 0; n < 10; n++) {
    say({ kind: 'alive' })
    await isRead()
    tick()
  }
  await isRead()
  expect(new Set(passed)).toEqual(new Set(['alive']))
})

test('a member of a portable hub that was blocked itself takes no other one for gone', async () => {
  const { passed, tick, isRead } = await joinTwo()
  tick(60_000)
  await isRead()
  expect(passed).not.toContain('forgotten')
})

test('a member of a portable hub that was taken for gone joins again, and is told that messages may be missing', async () => {
  const { say, hear, lost, id } = await joinTwo()
  say({ kind: 'forgotten', to: id, lost: 3 })
  expect(await lost.next('the loss')).toBe(3)
  expect(await hear('hello')).toMatchObject({ from: id, to: 'by hand' })
})
