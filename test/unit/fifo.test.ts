/** The queue behind everything that waits for its turn. */
import { expect, test } from 'vitest'
import { Fifo } from '../../src/fifo.js'
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
