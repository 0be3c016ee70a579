/** `TurnShare`: who waits, in which order they go on, and how much goes on in one turn of the event loop. */
import { expect, onTestFinished, test, vi } from 'vitest'
import { TurnShare } from '../../src/core/turn-share.js'
import { turns } from '../support/waiting.js'

/** Bytes of a turn. */
const TURN = 2 ** 22

/** Spends what is left of this turn. */
async function spendTurn(): Promise<void> {
  await turns(2)
  new TurnShare().spendBody(TURN)
}

/** So many shares of sources that have given something before. */
function old(count: number): TurnShare[] {
  return Array.from({ length: count }, () => {
    const share = new TurnShare()
    share.spendChunk(0)
    return share
  })
}

/** Gives so many chunks, each when its turn has come, and notes each. */
async function give(name: string, chunks: number, order: string[], share = new TurnShare()): Promise<void> {
  for (let n = 0; n < chunks; n++) {
    if (share.mustWait) await share.wait()
    share.spendChunk(0)
    order.push(name)
    // As a source does that is always ready.
    await undefined
  }
}

/** A turn that is counted in chunks must not end early because the machine is busy. */
function stopClock(): void {
  const clock = vi.spyOn(performance, 'now').mockReturnValue(performance.now())
  onTestFinished(() => clock.mockRestore())
}

/** The order without repetitions that follow each other. */
const parts = (order: readonly string[]) => order.filter((name, n) => name !== order[n - 1])

test('256 chunks or 4 MiB are a turn of all together, and what is little is no turn', async () => {
  await turns(2)
  const share = new TurnShare()
  for (let n = 0; n < 255; n++) new TurnShare().spendChunk(1)
  expect(share.mustWait).toBe(false)
  new TurnShare().spendChunk(0)
  expect(share.mustWait).toBe(true)
  await turns(2)
  expect(share.mustWait).toBe(false)
  share.spendBody(TURN)
  expect(new TurnShare().mustWait).toBe(true)
})

test('sources that wait take turns in their order, 16 chunks each, and no more than 256 in a turn', async () => {
  stopClock()
  const shares = old(20)
  await spendTurn()
  const order: string[] = []
  const names = shares.map((_, n) => String(n))
  const all = Promise.all(shares.map((share, n) => give(String(n), 48, order, share)))
  expect(order).toEqual([])
  await turns(1)
  expect(order.length).toBe(256)
  await all
  expect(parts(order)).toEqual([...names, ...names, ...names])
})

test('a source that nothing waits behind gives all of a turn', async () => {
  stopClock()
  await spendTurn()
  const order: string[] = []
  const done = give('one', 1000, order)
  await turns(1)
  expect(order.length).toBe(256)
  await turns(1)
  expect(order.length).toBe(512)
  await done
})

test('what has had nothing yet comes in turn with what has, and neither waits for all of the other', async () => {
  stopClock()
  const shares = old(40)
  await spendTurn()
  const order: string[] = []
  const all = Promise.all(shares.map((share, n) => give(`old ${n}`, 64, order, share)))
  await turns(1)
  const seen = order.length
  const fresh = Array.from({ length: 4 }, (_, n) => give(`new ${n}`, 1, order))
  await Promise.all(fresh)
  expect(order.length - seen).toBeLessThanOrEqual(8 * 16)
  expect(parts(order.slice(seen)).filter((name) => name.startsWith('old')).length).toBeGreaterThanOrEqual(3)
  await all
})

test('what waits goes on although another one of them is abandoned, or waits for something else', async () => {
  await spendTurn()
  const order: string[] = []
  void new TurnShare().wait()
  const never = new TurnShare().wait().then(() => new Promise(() => {}))
  await give('one', 1, order)
  expect(order).toEqual(['one'])
  void never
})

test('a share that takes long is the last of its turn', async () => {
  await spendTurn()
  let done = 0
  const work = async () => {
    await new TurnShare().wait()
    for (const end = performance.now() + 11; performance.now() < end; );
    done += 1
  }
  const all = Promise.all([work(), work(), work()])
  for (const count of [1, 2, 3]) {
    await turns(1)
    expect(done).toBe(count)
  }
  await all
})
