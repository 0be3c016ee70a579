/**
 * What `send` returns when there is room, when bytes wait and when there is no room:
 * src/engine/send-quota.ts.
 */
import { describe, expect, test } from 'vitest'
import { DrainOwed, hasRoom, isDrainDue, takenStatus } from '../../src/engine/send-quota.js'

describe('a queue has room', () => {
  test.each([
    [0, 1_000_000, 100, true],
    [60, 40, 100, true],
    [60, 41, 100, false],
    [100, 0, 100, true],
    [1, 1, 0, false],
  ])('with %i bytes waiting, for %i more, where the limit is %i: %s', (waiting, length, limit, expected) => {
    expect(hasRoom(waiting, length, limit)).toBe(expected)
  })
})

describe('the status of a message that was taken', () => {
  test.each([
    [5, false, 5],
    [0, false, 1],
    [5, true, -1],
    [0, true, -1],
  ])('of %i bytes, where earlier bytes wait: %s, is %i', (length, wait, status) => {
    expect(takenStatus(length, wait)).toBe(status)
  })
})

describe('drain', () => {
  test('is not due when none was promised', () => {
    expect(isDrainDue(DrainOwed.none, 0, 100)).toBe(false)
  })

  test('is due after -1 when the queue is empty, and not before', () => {
    expect(isDrainDue(DrainOwed.whenEmpty, 1, 100)).toBe(false)
    expect(isDrainDue(DrainOwed.whenEmpty, 0, 100)).toBe(true)
  })

  test('is due after 0 when the queue is below the limit, and when it is empty where the limit is 0', () => {
    expect(isDrainDue(DrainOwed.whenRoom, 100, 100)).toBe(false)
    expect(isDrainDue(DrainOwed.whenRoom, 99, 100)).toBe(true)
    expect(isDrainDue(DrainOwed.whenRoom, 0, 0)).toBe(true)
  })
})
