/** The clockwork of `maxLifetime`, with a clock that is turned by hand. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { type Closable, LifetimeLimit } from '../../src/websocket/lifetime-limit.js'

/** Who was closed, in order. */
const closed: string[] = []

function closable(name: string): Closable {
  return { close: (code, reason) => void closed.push(`${name} ${code} ${reason}`) }
}

const said = (...names: string[]) => names.map((name) => `${name} 1000 maximum lifetime reached`)

beforeEach(() => {
  closed.length = 0
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
})
afterEach(() => vi.useRealTimers())

test('each is closed when its own time is up, and not before', () => {
  const limit = new LifetimeLimit(60)
  limit.add(closable('first'))
  vi.advanceTimersByTime(20_000)
  limit.add(closable('second'))
  limit.add(closable('third'))
  vi.advanceTimersByTime(39_999)
  expect(closed).toEqual([])
  vi.advanceTimersByTime(1)
  expect(closed).toEqual(said('first'))
  vi.advanceTimersByTime(19_999)
  expect(closed).toEqual(said('first'))
  vi.advanceTimersByTime(1)
  expect(closed).toEqual(said('first', 'second', 'third'))
  expect(vi.getTimerCount()).toBe(0)
})

test('a socket that has left is not closed, and no other is forgotten for it', () => {
  const limit = new LifetimeLimit(60)
  const [first, second] = [closable('first'), closable('second')]
  limit.add(first)
  vi.advanceTimersByTime(30_000)
  limit.add(second)
  limit.delete(first)
  limit.delete(first)
  limit.delete(closable('a stranger'))
  vi.advanceTimersByTime(59_999)
  expect(closed).toEqual([])
  vi.advanceTimersByTime(1)
  expect(closed).toEqual(said('second'))
})

test('with no socket left there is no timer, and with a new socket there is one again', () => {
  const limit = new LifetimeLimit(14_400)
  const first = closable('first')
  limit.add(first)
  expect(vi.getTimerCount()).toBe(1)
  limit.delete(first)
  expect(vi.getTimerCount()).toBe(0)
  limit.add(closable('second'))
  vi.advanceTimersByTime(14_400_000)
  expect(closed).toEqual(said('second'))
})

test('one timer serves any number, and no more than 256 in one turn', () => {
  const limit = new LifetimeLimit(60)
  for (let n = 0; n < 1000; n++) limit.add(closable(String(n)))
  expect(vi.getTimerCount()).toBe(1)
  vi.advanceTimersByTime(60_000)
  for (const served of [256, 512, 768, 1000]) {
    expect(closed.length).toBe(served)
    vi.advanceTimersToNextTimer()
  }
  expect(vi.getTimerCount()).toBe(0)
})

test('who leaves because another is closed is not closed as well', () => {
  const limit = new LifetimeLimit(60)
  const second = closable('second')
  limit.add({
    close: () => {
      closed.push('first')
      limit.delete(second)
    },
  })
  limit.add(second)
  vi.advanceTimersByTime(60_000)
  expect(closed).toEqual(['first'])
  expect(vi.getTimerCount()).toBe(0)
})
