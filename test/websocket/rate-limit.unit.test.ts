/** The arithmetic of `rateLimit`, with a clock that is turned by hand. */
import { expect, test } from 'vitest'
import { type RateLimitSettings, RateMeter } from '../../src/websocket/rate-limit.js'

const meter = (settings: Partial<RateLimitSettings>) =>
  new RateMeter({
    messages: Number.POSITIVE_INFINITY,
    bytes: Number.POSITIVE_INFINITY,
    window: 1000,
    closes: false,
    ...settings,
  })

test('a window begins with a message, and takes as many as it may', () => {
  const three = meter({ messages: 3 })
  expect([5000, 5100, 5200].map((now) => three.take(1, now))).toEqual([0, 0, 0])
  expect(three.take(1, 5300)).toBe(700)
  expect(three.take(1, 5999)).toBe(1)
  expect([6000, 6999, 6999].map((now) => three.take(1, now))).toEqual([0, 0, 0])
  expect(three.take(1, 6999)).toBe(1)
})

test('after a silence the next window begins with the next message', () => {
  const one = meter({ messages: 1 })
  expect(one.take(1, 0)).toBe(0)
  expect(one.take(1, 1700)).toBe(0)
  expect(one.take(1, 2600)).toBe(100)
})

test('a message that no longer fits waits for the next window', () => {
  const bytes = meter({ bytes: 1000 })
  expect(bytes.take(400, 0)).toBe(0)
  expect(bytes.take(600, 100)).toBe(0)
  expect(bytes.take(1, 100)).toBe(900)
  expect(bytes.take(0, 100)).toBe(0)
  expect(bytes.take(1, 1000)).toBe(0)
  expect(bytes.take(1000, 1100)).toBe(900)
})

test('a message that fits into no window is taken by an empty one, and paid for by the next', () => {
  const bytes = meter({ bytes: 1000 })
  expect(bytes.take(1, 0)).toBe(0)
  expect(bytes.take(5500, 10)).toBe(990)
  expect(bytes.take(5500, 1000)).toBe(0)
  // 500 of it are left for the window that begins at 6000.
  expect(bytes.take(100, 1000)).toBe(5000)
  expect(bytes.take(600, 1000)).toBe(6000)
  expect(bytes.take(100, 6000)).toBe(0)
  expect(bytes.take(500, 6000)).toBe(1000)
})

test('both limits hold, the later one decides', () => {
  const both = meter({ messages: 2, bytes: 100 })
  expect(both.take(300, 0)).toBe(0)
  expect(both.take(1, 0)).toBe(3000)
  expect(both.take(1, 3000)).toBe(0)
  expect(both.take(1, 3000)).toBe(0)
  expect(both.take(1, 3000)).toBe(1000)
})

test('where too much ends the connection, a message that is too long is never taken', () => {
  const bytes = meter({ bytes: 1000, closes: true })
  expect(bytes.take(1001, 0)).toBeGreaterThan(0)
  expect(bytes.take(1000, 0)).toBe(0)
})

test('time in which the client was not read gives it what it was free to send, for one window of reading', () => {
  const three = meter({ messages: 3, closes: true })
  // Nothing was counted before.
  three.forgive(10_000, 14_000)
  for (let count = 0; count < 15; count++) expect(three.take(1, 14_000)).toBe(0)
  expect(three.take(1, 14_000)).toBeGreaterThan(0)

  const other = meter({ messages: 3, closes: true })
  expect([0, 0, 100].map((now) => other.take(1, now))).toEqual([0, 0, 0])
  other.forgive(500, 1500)
  expect([1500, 1500, 1500].map((now) => other.take(1, now))).toEqual([0, 0, 0])
  expect(other.take(1, 1500)).toBeGreaterThan(0)

  const idle = meter({ messages: 3, closes: true })
  idle.forgive(0, 100_000)
  expect([101_000, 101_000, 101_000].map((now) => idle.take(1, now))).toEqual([0, 0, 0])
  expect(idle.take(1, 101_000)).toBeGreaterThan(0)
})
