/** Publish and subscribe with very many topics, and with very many subscribers. */
import { execFileSync } from 'node:child_process'
import { expect, test } from 'vitest'
import type { Socket } from '../../src/index.js'
import { Child } from '../support/child.js'
import { Client } from '../support/client.js'
import { describeEngines, serve } from '../support/engines.js'
import { Queue, within } from '../support/waiting.js'

const TOPICS = 100_000
const SUBSCRIBERS = 10_000

/** Each end of a connection takes a descriptor of its process; some more are for everything else. */
const NEEDED_DESCRIPTORS = SUBSCRIBERS + 500

const descriptors = execFileSync('sh', ['-c', 'ulimit -n'], { encoding: 'utf8' }).trim()
const lack =
  descriptors === 'unlimited' || Number(descriptors) >= NEEDED_DESCRIPTORS
    ? undefined
    : `a process may have ${descriptors} descriptors here, and ${NEEDED_DESCRIPTORS} are needed`

const topic = (n: number): string => `topic ${n}`

describeEngines('a great many', (engine) => {
  const leave: Record<string, (socket: Socket, client: Client) => void> = {
    'close()': (socket) => socket.close(),
    'terminate()': (socket) => socket.terminate(),
    'a lost connection': (_, client) => client.socket.terminate(),
  }
  for (const [name, go] of Object.entries(leave)) {
    test(`topics (100,000) of one socket are kept apart, and vanish with ${name}`, { timeout: 60_000 }, async () => {
      const opened = new Queue<Socket>()
      const ended = new Queue<Socket>()
      const { server, ...address } = await serve(engine, {
        open: (socket) => opened.push(socket),
        close: (socket) => ended.push(socket),
      })
      const [client, witness] = [await Client.open(address), await Client.open(address)]
      const [socket, other] = await opened.take(2, 'open')
      if (socket === undefined || other === undefined) throw new Error('two were awaited')
      for (let n = 0; n < TOPICS; n++) socket.subscribe(topic(n))
      for (let n = 0; n < TOPICS; n += 1000) other.subscribe(topic(n))
      expect(socket.topics.length).toBe(TOPICS)
      expect(new Set(socket.topics).size).toBe(TOPICS)
      for (let n = 0; n < TOPICS; n++) if (!socket.isSubscribed(topic(n))) throw new Error(`not subscribed to ${topic(n)}`)
      expect(socket.isSubscribed(topic(TOPICS))).toBe(false)
      const sample = Array.from({ length: 500 }, (_, n) => topic((n * 7919) % TOPICS))
      for (const name of sample) server.publish(name, name)
      expect(await client.messages.take(500, 'messages')).toEqual(sample)

      go(socket, client)
      expect(await ended.next('close')).toBe(socket)
      for (let n = 0; n < TOPICS; n++) {
        const left = server.subscribers(topic(n))
        if (left !== (n % 1000 === 0 ? 1 : 0)) throw new Error(`${topic(n)} has ${left} subscribers`)
      }
      server.publish(topic(5000), 'still here')
      for (let message = await witness.next(); message !== 'still here'; message = await witness.next());
    })
  }

  test('topics (100,000) spread over 100 sockets reach one subscriber each', { timeout: 60_000 }, async () => {
    const opened = new Queue<Socket>()
    const { server, ...address } = await serve(engine, { open: (socket) => opened.push(socket) })
    const clients = await Client.openMany(address, 100)
    const sockets = await opened.take(100, 'open')
    for (const [index, socket] of sockets.entries()) {
      for (let n = index; n < TOPICS; n += 100) socket.subscribe(topic(n))
    }
    for (let n = 0; n < TOPICS; n++) server.publish(topic(n), '')
    for (const socket of sockets) socket.send('end')
    for (const client of clients) {
      const messages = await client.messages.take(TOPICS / 100 + 1, 'messages', 60_000)
      expect(messages.indexOf('end')).toBe(TOPICS / 100)
    }
  })

  const title = `subscribers (10,000) of one topic get every message once, in order${lack ? ` (skipped: ${lack})` : ''}`
  test.skipIf(lack !== undefined)(title, { timeout: 120_000 }, async () => {
    const MESSAGES = 20
    let ended = 0
    const allEnded = new Queue<true>()
    const { server, port } = await serve(engine, {
      open: (socket) => void socket.subscribe('all'),
      close: () => {
        ended += 1
        if (ended === SUBSCRIBERS) allEnded.push(true)
      },
    })
    const child = new Child('subscribers.mjs', { args: [port, SUBSCRIBERS, MESSAGES].map(String) })
    expect(await within(child.lines.next('the clients to connect', 100_000), 'the clients', 100_000)).toBe('open')
    expect(server.subscribers('all')).toBe(SUBSCRIBERS)
    for (let n = 0; n < MESSAGES; n++) expect(server.publish('all', `message ${n}`)).toBe(true)
    expect(await child.lines.next('the clients to get their messages', 60_000)).toBe(String(SUBSCRIBERS))
    expect(server.metrics()).toMatchObject({ messagesSent: SUBSCRIBERS * MESSAGES, messagesDropped: 0 })
    child.process.stdin?.end()
    await allEnded.next('all sockets to end', 60_000)
    expect(server.subscribers('all')).toBe(0)
    expect(server.publish('all', 'x')).toBe(false)
  })
})
