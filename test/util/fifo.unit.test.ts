/** The queue behind everything that waits for its turn. */
import { expect, test } from 'vitest'
import { Fifo } from '../../src/util/fifo.js'
import { Random } from '../fuzz/random.mjs'

test('gives what it was given, in that order, however long it was in between', () => {
  const random = new Random(1)
  const fifo = new Fifo<number>()
  const expected: number[] = []
  for (let step = 0; step < 5000; step++) {
    if (random.chance(step < 2500 ? 0.7 : 0.3)) {
      fifo.push(step)
      expected.push(step)
    } else {
      expect(fifo.shift()).toBe(expected.shift())
    }
    expect([fifo.length, fifo.first]).toEqual([expected.length, expected[0]])
    if (step % 100 === 0) expect(fifo.toArray()).toEqual(expected)
  }
  fifo.clear()
  expect([fifo.length, fifo.first, fifo.shift(), fifo.toArray()]).toEqual([0, undefined, undefined, []])
})

test('keeps nothing of what was taken', () => {
  const fifo = new Fifo<undefined | string>()
  fifo.push(undefined)
  fifo.push('a')
  expect([fifo.shift(), fifo.length, fifo.shift(), fifo.length, fifo.shift(), fifo.length]).toEqual([
    undefined,
    1,
    'a',
    0,
    undefined,
    0,
  ])
})

test('moves each item once at most, however many there are', () => {
  const count = 100_000
  const fifo = new Fifo<number>()
  for (let item = 0; item < count; item++) fifo.push(item)
  let moved = 0
  const { shift, slice, splice } = Array.prototype
  const forbidden = () => {
    throw new Error('moves everything behind it')
  }
  try {
    Object.assign(Array.prototype, { shift: forbidden, splice: forbidden })
    Array.prototype.slice = function counted(this: unknown[], ...range: [start?: number, end?: number]) {
      const piece = slice.apply(this, range)
      moved += piece.length
      return piece
    }
    for (let item = 0; item < count; item++) if (fifo.shift() !== item) throw new Error(`expected ${item}`)
  } finally {
    Object.assign(Array.prototype, { shift, slice, splice })
  }
  expect(moved).toBeGreaterThan(0)
  expect(moved).toBeLessThanOrEqual(count)
})
