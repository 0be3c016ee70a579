/** What engines on a broker have in common, over a session in memory. */
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { expect, onTestFinished, test } from 'vitest'
import type { BackplaneEnvelope, BackplaneHost, BackplaneStatus } from '../../src/backplane/contract.js'
import { BackplaneLink } from '../../src/backplane/link.js'
import type { Session, SessionEvents } from '../../src/backplane/session.js'
import { SessionEngine } from '../../src/backplane/session-engine.js'
import { resolveBackplaneSettings } from '../../src/options/backplane.js'
import { Deferred, Queue, turns } from '../support/waiting.js'

/** A started engine on one session, and what it has told since. */
async function started(session: Partial<Session>, pingTimeout: number, deliver: BackplaneHost['deliver'] = () => {}) {
  let events: SessionEvents | undefined
  const told: [BackplaneStatus, string | undefined][] = []
  const dropped: string[] = []
  const engine = new SessionEngine({
    name: 'memory',
    address: 'here',
    settings: resolveBackplaneSettings({}),
    isReplayed: false,
    pingTimeout,
    connect: async (its) => {
      events = its
      return sessionOf(session)
    },
  })
  const host: BackplaneHost = {
    id: '0123456789abcdef',
    deliver,
    onStatus: (status, reason) => told.push([status, reason]),
    onDropped: ({ topic }, reason) => dropped.push(`${topic}: ${reason}`),
    onProblem: () => {},
    topics: () => [],
  }
  await engine.start(host)
  onTestFinished(() => engine.close())
  return { engine, host, told, dropped, events: events as unknown as SessionEvents }
}

function sessionOf(session: Partial<Session>): Session {
  return {
    maxEnvelopeBytes: 1000,
    subscribe: async () => {},
    unsubscribe: async () => {},
    publish: async () => {},
    connections: [],
    destroy: () => {},
    ...session,
  }
}

/** On one connection. */
function pinged(ping: () => Promise<unknown>, heard = 0): Partial<Session> {
  return { connections: [{ ping, heard }] }
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

test('changes of interest wait for those before, and what takes another one back is not sent', async () => {
  const calls: string[] = []
  const replies: (() => void)[] = []
  const told = (sign: string) => (topics: readonly string[]) => {
    for (const topic of topics) calls.push(sign + topic)
    return new Promise<void>((resolve) => replies.push(resolve))
  }
  const { engine } = await started({ subscribe: told('+'), unsubscribe: told('-') }, 10_000)
  const confirmed = async () => {
    for (const reply of replies.splice(0)) reply()
    await turns(1)
  }
  engine.interest(['a'], [])
  engine.interest(['b'], ['a'])
  engine.interest(['c'], ['b'])
  expect(calls.splice(0)).toEqual(['+a'])
  await confirmed()
  expect(calls.splice(0)).toEqual(['+c', '-a'])
  engine.interest(['a'], [])
  engine.interest([], ['a'])
  await confirmed()
  expect(calls).toEqual([])
  engine.interest(['a'], [])
  expect(calls).toEqual(['+a'])
  await confirmed()
})

test('a topic that is wanted again has no message until its unsubscription is confirmed', async () => {
  const delivered: string[] = []
  const replies: (() => void)[] = []
  const later = () => new Promise<void>((resolve) => replies.push(resolve))
  const { engine, events } = await started({ unsubscribe: later }, 10_000, (topic) => delivered.push(topic))
  engine.interest([], ['a'])
  engine.interest(['a'], [])
  // It comes before the broker ends the subscription, and behind it some do not come.
  events.deliver('a', new Uint8Array(0))
  events.deliver('b', new Uint8Array(0))
  expect(delivered).toEqual(['b'])
  for (const reply of replies) reply()
  await turns()
  events.deliver('a', new Uint8Array(0))
  expect(delivered).toEqual(['b', 'a'])
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
    pinged(() => {
      pings += 1
      echo.postMessage(0)
      // Before the reply, which comes while this thread sleeps; timers are what runs next.
      if (pings === 2) setImmediate(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2 * pingTimeout))
      return once(echo, 'message').then(() => {
        if (pings > 3) repliedAfterwards.resolve()
      })
    }),
    pingTimeout,
  )
  await repliedAfterwards.promise
  expect(told).toEqual([])
})

test('a broker that does not reply within pingTimeout is down', async () => {
  const destroyed = new Deferred()
  const { told } = await started({ ...pinged(() => new Promise(() => {})), destroy: () => destroyed.resolve() }, 100)
  await destroyed.promise
  expect(told).toEqual([['down', 'the broker has not replied within 100 ms']])
})

test('a broker whose reply to PING waits behind other replies is up as long as those come', async () => {
  const destroyed = new Deferred()
  const begun = performance.now()
  const lastReply = begun + 600
  const connection = {
    ping: () => new Promise<void>(() => {}),
    get heard() {
      return Math.min(performance.now(), lastReply)
    },
  }
  const { told } = await started({ connections: [connection], destroy: () => destroyed.resolve() }, 100)
  await destroyed.promise
  expect(performance.now()).toBeGreaterThan(lastReply)
  expect(told).toEqual([['down', 'the broker has not replied within 100 ms']])
})

test('an envelope that is larger than the broker takes is dropped, and the others are sent', async () => {
  const sent: string[] = []
  const publish = async (envelopes: readonly BackplaneEnvelope[]) => {
    for (const { topic } of envelopes) sent.push(topic)
  }
  const { engine, dropped, told } = await started({ publish }, 10_000)
  const envelope = (topic: string, bytes: number) => ({ topic, data: new Uint8Array(bytes), sequence: 1, messages: 1 })
  await engine.publish([envelope('a', 1000), envelope('b', 1001), envelope('c', 1)])
  expect(sent).toEqual(['a', 'c'])
  expect(dropped).toEqual(['b: the broker takes at most 1000 bytes, and not 1001'])
  expect(told).toEqual([])
})

test('a session that refuses what is published ends, and what it refused comes to the next one', async () => {
  const sent = new Deferred()
  const errors: Error[] = []
  let sessions = 0
  const engine = new SessionEngine({
    name: 'memory',
    address: 'here',
    settings: resolveBackplaneSettings({}),
    isReplayed: true,
    pingTimeout: 10_000,
    connect: async () => {
      sessions += 1
      const isFirst = sessions === 1
      return sessionOf({
        publish: async () => {
          if (isFirst) throw new Error('READONLY')
          sent.resolve()
        },
      })
    },
  })
  const link = new BackplaneLink(engine, { publishHere: () => {}, report: (error) => errors.push(error), answer: () => 0 })
  onTestFinished(() => link.close())
  await link.start()
  link.publish('t', { payload: 'x', compress: undefined, isText: true })
  await sent.promise
  expect(sessions).toBe(2)
  expect(errors.map(({ message }) => message)).toEqual([expect.stringContaining('is down: READONLY')])
  expect(link.metrics).toMatchObject({ dropped: 0, reconnects: 1 })
})

test('topics that are given up or wanted while a new session subscribes are, once it is up, what the broker has', async () => {
  const made = new Queue<{ atBroker: Set<string>; subscribed: Deferred; events: SessionEvents }>()
  const engine = new SessionEngine({
    name: 'memory',
    address: 'here',
    settings: resolveBackplaneSettings({ linger: 0 }),
    isReplayed: false,
    pingTimeout: 10_000,
    connect: async (events) => {
      const atBroker = new Set<string>()
      const subscribed = new Deferred()
      return sessionOf({
        subscribe: (topics) => {
          for (const topic of topics) atBroker.add(topic)
          made.push({ atBroker, subscribed, events })
          return subscribed.promise
        },
        unsubscribe: async (topics) => {
          for (const topic of topics) atBroker.delete(topic)
        },
      })
    },
  })
  const owner = { publishHere: () => {}, report: () => {}, answer: () => 0 }
  const link = new BackplaneLink(engine, owner)
  onTestFinished(() => link.close())
  link.subscribed('back')
  const starting = link.start()
  const first = await made.next('session')
  first.subscribed.resolve()
  await starting
  first.events.ended('killed')
  link.unsubscribed('back')
  link.subscribed('brief')
  const second = await made.next('session')
  expect([...second.atBroker]).toEqual(['', 'brief'])
  link.subscribed('back')
  link.unsubscribed('brief')
  second.subscribed.resolve()
  await turns()
  expect([...second.atBroker]).toEqual(['', 'back'])
})

test('150,000 topics are subscribed and given up in commands that every client takes', async () => {
  // Of ioredis: topics are its arguments.
  const commands: number[] = []
  const call = async (...topics: string[]) => void commands.push(topics.length)
  const { engine, told } = await started(
    { subscribe: async (topics) => await call(...topics), unsubscribe: async (topics) => await call(...topics) },
    10_000,
  )
  const topics = Array.from({ length: 150_000 }, (_, n) => `topic ${n}`)
  for (const [added, removed] of [
    [topics, []],
    [[], topics],
  ]) {
    commands.splice(0)
    engine.interest(added ?? [], removed ?? [])
    await turns()
    expect(commands).toEqual(Array.from({ length: 150 }, () => 1000))
  }
  expect(told).toEqual([])
})

test('an engine that has a host refuses another one, and any when it is closed', async () => {
  const { engine, host } = await started({}, 10_000)
  const refusal = { code: 'ERR_BACKPLANE', backplane: 'memory', message: expect.stringContaining('one object serves one server') }
  await expect(engine.start({ ...host, id: 'fedcba9876543210' })).rejects.toMatchObject(refusal)
  await engine.close()
  await expect(engine.start(host)).rejects.toMatchObject(refusal)
})

/** A link on one session that is closed, with a message published in the same turn; and what it reports. */
function closedAfterPublishing(session: Partial<Session>) {
  const errors: Error[] = []
  const engine = new SessionEngine({
    name: 'memory',
    address: 'here',
    settings: resolveBackplaneSettings({}),
    isReplayed: false,
    pingTimeout: 10_000,
    connect: async () => sessionOf(session),
  })
  const link = new BackplaneLink(engine, { publishHere: () => {}, report: (error) => errors.push(error), answer: () => 0 })
  const close = async () => {
    await link.start()
    link.publish('t', { payload: 'x', compress: undefined, isText: true })
    await link.close()
  }
  return { link, errors, closed: close() }
}

test('close waits for the broker to take what was published, though it has replied to PING', async () => {
  const [given, taken] = [new Deferred(), new Deferred()]
  const publish = () => {
    given.resolve()
    return taken.promise
  }
  const { link, errors, closed } = closedAfterPublishing({ ...pinged(async () => {}), publish })
  await given.promise
  await turns()
  taken.resolve()
  await closed
  expect(errors).toEqual([])
  expect(link.metrics.dropped).toBe(0)
})

test('close gives up, and tells what was not sent, when the broker takes nothing for a second', async () => {
  const begun = performance.now()
  const { link, errors, closed } = closedAfterPublishing({ publish: () => new Promise(() => {}) })
  await closed
  expect(performance.now() - begun).toBeGreaterThan(900)
  expect(errors).toEqual([expect.objectContaining({ code: 'ERR_BACKPLANE', count: 1 })])
  expect(link.metrics.dropped).toBe(1)
})
