/** Those who wait for a shorter queue: who is woken, and at what cost. */
import { describe, expect, test } from 'vitest'
import type { EngineConnections } from '../../src/engine/contract.js'
import { DrainWaiters } from '../../src/websocket/drain-waiters.js'
import { turns } from '../support/waiting.js'

/** A connection with a queue, as the engine's contract has it. */
class Queue {
  bufferedAmount: number
  isOpen = true
  /** How often the engine was asked to watch. */
  calls = 0
  #threshold = -1
  readonly waiters: DrainWaiters

  constructor(bufferedAmount: number) {
    this.bufferedAmount = bufferedAmount
    const connections: Pick<EngineConnections, 'setBufferedAmountLowThreshold' | 'isOpen' | 'bufferedAmount'> = {
      setBufferedAmountLowThreshold: (_id, threshold) => {
        this.calls += 1
        if (!this.isOpen || this.bufferedAmount <= threshold) return false
        this.#threshold = threshold
        return true
      },
      isOpen: () => this.isOpen,
      bufferedAmount: () => this.bufferedAmount,
    }
    this.waiters = new DrainWaiters(connections as EngineConnections, 1) // it uses no other part
  }

  drainTo(amount: number): void {
    this.bufferedAmount = amount
    if (amount > this.#threshold) return
    this.#threshold = -1
    this.waiters.bufferIsLow()
  }
}

/** Waits with each threshold; gives those that have been woken so far, in the order in which they were. */
function wait(queue: Queue, thresholds: readonly number[]): number[] {
  const woken: number[] = []
  for (const threshold of thresholds) {
    queue.waiters.wait(threshold, undefined).then(
      () => woken.push(threshold),
      () => {},
    )
  }
  return woken
}

describe('backpressure: waiters for a shorter queue', () => {
  test('is woken when it is short enough and no earlier, the highest threshold first', async () => {
    const queue = new Queue(100)
    const woken = wait(queue, [10, 50, 0, 50, 99, 100, 200])
    await turns(1)
    expect(woken).toEqual([100, 200])
    queue.drainTo(99)
    await turns(1)
    expect(woken).toEqual([100, 200, 99])
    queue.drainTo(51)
    await turns(1)
    expect(woken).toHaveLength(3)
    queue.drainTo(10)
    await turns(1)
    expect(woken).toEqual([100, 200, 99, 50, 50, 10])
    queue.drainTo(0)
    await turns(1)
    expect(woken).toHaveLength(7)
  })

  test.each([1000, 4000])('costs one look at all who wait, however many thresholds there are (%i)', async (count) => {
    const queue = new Queue(count)
    const woken = wait(
      queue,
      Array.from({ length: count }, (_, n) => n),
    )
    expect(queue.calls).toBe(count)
    queue.drainTo(1)
    await turns(1)
    expect(woken).toHaveLength(count - 1)
    expect(queue.calls).toBe(count + 2)
  })

  test('waits on when the connection has ended, until that is told', async () => {
    const queue = new Queue(100)
    const waiting = queue.waiters.wait(10, undefined)
    queue.isOpen = false
    queue.drainTo(0)
    queue.waiters.end()
    await expect(waiting).rejects.toMatchObject({ code: 'ERR_CLOSED' })
  })
})
