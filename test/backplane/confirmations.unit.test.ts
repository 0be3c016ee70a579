/** One PING for all that is sent to NATS within a few milliseconds. */
import { expect, onTestFinished, test, vi } from 'vitest'
import { Confirmations } from '../../src/backplane/nats/confirmations.js'
import { Deferred } from '../support/waiting.js'

const MAX_PENDING = 16 * 1024 * 1024

/** With what was sent of PINGs, which a test replies to. */
function confirmations(maxPendingBytes = MAX_PENDING) {
  const pings: Deferred<void>[] = []
  let asked = new Deferred<void>()
  const made = new Confirmations(() => {
    const ping = new Deferred<void>()
    pings.push(ping)
    asked.resolve()
    asked = new Deferred()
    return ping.promise
  }, maxPendingBytes)
  return { confirmations: made, pings, nextPing: () => asked.promise }
}

test('messages of several turns are confirmed by one PING, which comes by itself', async () => {
  const { confirmations: made, pings, nextPing } = confirmations()
  const next = nextPing()
  const first = made.sent(100)
  await new Promise(setImmediate)
  const second = made.sent(100)
  expect(pings).toHaveLength(0)
  await next
  expect(pings).toHaveLength(1)
  pings[0]?.resolve()
  await Promise.all([first, second])
  const another = nextPing()
  const third = made.sent(100)
  await another
  pings[1]?.resolve()
  await third
  expect(pings).toHaveLength(2)
})

test('a message that comes later than others brings the PING along', async () => {
  vi.useFakeTimers({ toFake: ['performance'] })
  onTestFinished(() => void vi.useRealTimers())
  const { confirmations: made, pings } = confirmations()
  void made.sent(100)
  vi.advanceTimersByTime(4)
  void made.sent(100)
  expect(pings).toHaveLength(0)
  vi.advanceTimersByTime(1)
  void made.sent(100)
  expect(pings).toHaveLength(1)
  pings[0]?.resolve()
})

test('what is sent behind a PING is confirmed by the next one', async () => {
  const { confirmations: made, pings } = confirmations()
  const before = made.sent(100)
  void made.ask()
  let isConfirmed = false
  const behind = made.sent(100).then(() => {
    isConfirmed = true
  })
  pings[0]?.resolve()
  await before
  await new Promise(setImmediate)
  expect(isConfirmed).toBe(false)
  void made.ask()
  pings[1]?.resolve()
  await behind
})

test('64 KiB are followed by a PING at once, and where less than 16 MiB may be pending, a small part of that', () => {
  for (const [maxPendingBytes, bytes] of [
    [2 * MAX_PENDING, 65_536],
    [MAX_PENDING, 65_536],
    [65_536, 256],
  ] as const) {
    const { confirmations: made, pings } = confirmations(maxPendingBytes)
    void made.sent(bytes - 1)
    expect(pings).toHaveLength(0)
    void made.sent(1)
    expect(pings).toHaveLength(1)
    pings[0]?.resolve()
  }
})

test('a PING that fails is the failure of what was sent before it, and of nobody who does not wait', async () => {
  const { confirmations: made, pings } = confirmations()
  const sent = made.sent(100)
  void made.sent(100)
  const asked = made.ask()
  pings[0]?.reject(new Error('the connection is lost'))
  await expect(sent).rejects.toThrow('the connection is lost')
  await expect(asked).rejects.toThrow('the connection is lost')
})

test('a PING that was asked for leaves none to come by itself', async () => {
  const { confirmations: made, pings } = confirmations()
  const sent = made.sent(100)
  const asked = made.ask()
  pings[0]?.resolve()
  await Promise.all([sent, asked])
  // Its own would have come before this one.
  await new Promise((resolve) => setTimeout(resolve, 20))
  expect(pings).toHaveLength(1)
})
