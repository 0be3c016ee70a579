/** What engines on a broker have in common, over a session in memory. */
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { expect, onTestFinished, test } from 'vitest'
import type { BackplaneHost, BackplaneStatus } from '../../src/backplane/contract.js'
import { type Session, SessionEngine } from '../../src/backplane/session-engine.js'
import { resolveBackplaneSettings } from '../../src/options/backplane.js'
import { Deferred } from '../support/waiting.js'

/** A started engine on one session, and what it has told since. */
async function started(session: Partial<Session>, pingTimeout: number) {
  const told: [BackplaneStatus, string | undefined][] = []
  const whole: Session = {
    maxEnvelopeBytes: 1000,
    subscribe: async () => {},
    unsubscribe: async () => {},
    publish: async () => {},
    ping: async () => {},
    destroy: () => {},
    ...session,
  }
  const engine = new SessionEngine({
    name: 'memory',
    address: 'here',
    settings: resolveBackplaneSettings({}),
    isReplayed: false,
    pingTimeout,
    connect: async () => whole,
  })
  const host: BackplaneHost = {
    id: '0123456789abcdef',
    deliver: () => {},
    onStatus: (status, reason) => told.push([status, reason]),
    onDropped: () => {},
    onProblem: () => {},
    topics: () => [],
  }
  await engine.start(host)
  onTestFinished(() => engine.close())
  return { engine, told }
}

test('a topic that is wanted again is subscribed behind its unsubscription, however late the broker replies', async () => {
  const replies: (() => void)[] = []
  const atBroker = new Set(['x'])
  const later = () => new Promise<void>((resolve) => replies.push(resolve))
  const { engine } = await started(
    {
      subscribe: (topics) => {
        for (const topic of topics) atBroker.add(topic)
        return later()
      },
      unsubscribe: (topics) => {
        for (const topic of topics) atBroker.delete(topic)
        return later()
      },
    },
    10_000,
  )
  engine.interest(['a'], ['x'])
  engine.interest(['x'], [])
  while (replies.length > 0) {
    for (const reply of replies.splice(0)) reply()
    await new Promise(setImmediate)
  }
  expect([...atBroker].sort()).toEqual(['a', 'x'])
})

test('a reply that came while the loop was blocked for longer than pingTimeout is a reply', async () => {
  const code =
    "const { parentPort } = require('node:worker_threads');" +
    "parentPort.on('message', () => setTimeout(() => parentPort.postMessage(0), 20))"
  const echo = new Worker(code, { eval: true })
  onTestFinished(async () => void (await echo.terminate()))
  echo.postMessage(0)
  await once(echo, 'message')
  const pingTimeout = 400
  const repliedAfterwards = new Deferred()
  let pings = 0
  const { told } = await started(
    {
      ping: () => {
        pings += 1
        echo.postMessage(0)
        // Before the reply, which comes while this thread sleeps; timers are what runs next.
        if (pings === 2) setImmediate(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2 * pingTimeout))
        return once(echo, 'message').then(() => {
          if (pings > 3) repliedAfterwards.resolve()
        })
      },
    },
    pingTimeout,
  )
  await repliedAfterwards.promise
  expect(told).toEqual([])
})

test('a broker that does not reply within pingTimeout is down', async () => {
  const destroyed = new Deferred()
  const { told } = await started({ ping: () => new Promise(() => {}), destroy: () => destroyed.resolve() }, 100)
  await destroyed.promise
  expect(told).toEqual([['down', 'the broker has not replied within 100 ms']])
})
