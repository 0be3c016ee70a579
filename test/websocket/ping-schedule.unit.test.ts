/** The clockwork of `sendPings: { interval }`, with a clock that is turned by hand. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { type Pingable, PingSchedule } from '../../src/websocket/ping-schedule.js'

/** Which were pinged, in order. */
const pinged: string[] = []

function pingable(name: string): Pingable & { bufferedAmount: number } {
  return { bufferedAmount: 0, ping: () => pinged.push(name) }
}

beforeEach(() => {
  pinged.length = 0
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setImmediate', 'performance'] })
})
afterEach(() => vi.useRealTimers())

test('each is pinged in its own time, again and again, by one timer', () => {
  const schedule = new PingSchedule(10)
  schedule.add(pingable('first'))
  vi.advanceTimersByTime(4000)
  schedule.add(pingable('second'))
  for (let n = 1; n <= 3; n++) {
    vi.advanceTimersByTime(5999)
    expect(pinged.length).toBe(2 * n - 2)
    vi.advanceTimersByTime(1)
    expect(pinged.at(-1)).toBe('first')
    vi.advanceTimersByTime(4000)
    expect(pinged.at(-1)).toBe('second')
    expect(pinged.length).toBe(2 * n)
    expect(vi.getTimerCount()).toBe(1)
  }
})

test('one that has gone is pinged no more, and with the last the timer goes', () => {
  const schedule = new PingSchedule(0.01)
  const [first, second] = [pingable('first'), pingable('second')]
  schedule.add(first)
  schedule.add(second)
  schedule.delete(first)
  vi.advanceTimersByTime(10)
  expect(pinged).toEqual(['second'])
  schedule.delete(second)
  expect(vi.getTimerCount()).toBe(0)
})

test('one that ends within its own Ping leaves nothing behind', () => {
  const schedule = new PingSchedule(10)
  const only: Pingable = {
    bufferedAmount: 0,
    ping: () => {
      schedule.delete(only)
      return pinged.push('only')
    },
  }
  schedule.add(only)
  vi.advanceTimersByTime(30_000)
  expect(pinged).toEqual(['only'])
  expect(vi.getTimerCount()).toBe(0)
})

test('for whom bytes wait is left out, unless they have left by the end of the turn', () => {
  const schedule = new PingSchedule(10)
  const [waiting, writing] = [pingable('waiting'), pingable('writing')]
  waiting.bufferedAmount = 1
  writing.bufferedAmount = 1
  schedule.add(waiting)
  schedule.add(writing)
  setTimeout(() => setImmediate(() => (writing.bufferedAmount = 0)), 9999)
  vi.advanceTimersByTime(10_000)
  vi.advanceTimersByTime(1)
  expect(pinged).toEqual(['writing'])
  waiting.bufferedAmount = 0
  vi.advanceTimersByTime(10_000)
  expect(pinged).toEqual(['writing', 'waiting', 'writing'])
})
