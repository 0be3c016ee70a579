/** Servers of one group behind a broker, each with a client that subscribes. */
import { once } from 'node:events'
import { createServer } from 'node:net'
import { inspect } from 'node:util'
import { expect, onTestFinished } from 'vitest'
import { type BackplaneEngine, BackplaneError, type Socket, type WebSocketServer } from '../../src/index.js'
import type { Broker } from './brokers.js'
import { Client } from './client.js'
import { AVAILABLE_ENGINES, type EngineName, listen, makeServer } from './engines.js'
import { Queue, turns } from './waiting.js'

/** What happens between server and broker does not depend on the engine. */
export const ONE_ENGINE: EngineName = AVAILABLE_ENGINES[0] ?? 'portable'

export interface BrokerMember {
  readonly server: WebSocketServer
  readonly errors: Queue<Error>
  readonly client: Client
  readonly socket: Socket
}

/** Resolves when the client's subscription to `topic` holds, here and at the broker. */
export async function join(engine: EngineName, backplane: BackplaneEngine, topic = 't'): Promise<BrokerMember> {
  const opened = new Queue<Socket>()
  const errors = new Queue<Error>()
  const server = makeServer(engine, { server: { backplane, onError: (error) => errors.push(error) } })
  onTestFinished(() => server.close({ timeout: 100 }))
  server.ws('/*', { maxBackpressure: 2 ** 30, open: (socket) => opened.push(socket) })
  const served = await listen(server)
  const client = await Client.open(served)
  const socket = await opened.next('open')
  socket.subscribe(topic)
  return { server, errors, client, socket }
}

/**
 * The member gives up the topic and wants it again in the next turns, with new topics beside it, as the
 * broker replies late: over and over. Its engine has `linger: 0`.
 */
export async function waver({ socket }: BrokerMember, topic: string): Promise<void> {
  for (let n = 0; n < 50; n++) {
    socket.subscribe(`beside ${n}`)
    socket.unsubscribe(topic)
    await turns(2)
    socket.subscribe(topic)
    await turns(2)
  }
}

/** Publishes on `from` until `to` gets it: then the subscription of `to` has reached the broker. */
export async function connected(from: BrokerMember, to: BrokerMember, topic = 't'): Promise<void> {
  for (let n = 0; to.client.messages.size === 0; n++) {
    from.server.publish(topic, 'hello')
    await new Promise((resolve) => setTimeout(resolve, 5))
    if (n === 2000) throw new Error('the subscription does not reach the broker')
  }
  // What was published before the last one, and may be on its way.
  from.server.publish(topic, 'ready')
  while ((await to.client.next('the last greeting')) !== 'ready');
  while (from.client.messages.size > 0) await from.client.next()
}

/** Two members that hear each other on the topic. */
export async function joinTwo(engine: EngineName, make: () => BackplaneEngine, topic = 't') {
  const [a, b] = await Promise.all([join(engine, make(), topic), join(engine, make(), topic)])
  await connected(a, b, topic)
  await connected(b, a, topic)
  return { a, b }
}

/** Resolves when the backplanes of all members are up. */
export async function allUp(...members: readonly BrokerMember[]): Promise<void> {
  for (const { server } of members) {
    while (server.backplaneMetrics()?.up !== true) await new Promise((next) => setTimeout(next, 5))
  }
}

/** Resolves when the broker has confirmed all that the member has published. */
export async function confirmed({ server }: BrokerMember): Promise<void> {
  while (server.backplaneMetrics()?.pendingBytes !== 0) await new Promise((next) => setTimeout(next, 5))
}

/** What the member's client gets, up to and with this message. */
export async function receivedUntil({ client }: BrokerMember, last: string): Promise<(string | Buffer)[]> {
  const came: (string | Buffer)[] = []
  while (came.at(-1) !== last) came.push(await client.next(`messages up to ${last}`))
  return came
}

/** 2000 messages of text and bytes arrive once and in order, and both members know of each other. */
export async function expectExchange(a: BrokerMember, b: BrokerMember): Promise<void> {
  const sent = Array.from({ length: 2000 }, (_, n) => (n % 2 === 0 ? `${n}: é` : Buffer.alloc(n % 100, n)))
  for (const message of sent) a.server.publish('t', message)
  expect(await b.client.messages.take(2000, 'messages')).toEqual(sent)
  expect(await a.client.messages.take(2000, 'messages')).toEqual(sent)
  expect(b.server.backplaneMetrics()).toMatchObject({ missing: 0, foreign: 0, up: true, members: 2 })
  expect(await a.server.subscribersEverywhere('t')).toMatchObject({ count: 2, answered: 2 })
}

/**
 * Kills the broker, and starts it again when 110 messages were published, some of them on a topic on which
 * nothing follows: one down, and one gap with all of them where it does not replay them.
 */
export async function expectKilled(broker: Broker, a: BrokerMember, b: BrokerMember, isReplayed: boolean): Promise<void> {
  b.socket.subscribe('quiet')
  await connected(a, b, 'quiet')
  // What is not confirmed counts as what may not have arrived.
  await confirmed(a)
  const before = b.server.backplaneMetrics()?.delivered ?? 0
  await broker.kill()
  const address = `127.0.0.1:${broker.port}`
  for (const { errors } of [a, b]) expect(await errors.next('down')).toMatchObject({ code: 'ERR_BACKPLANE_DOWN', address })
  const whileDown = Array.from({ length: 100 }, (_, n) => `while down ${n}`)
  for (const message of whileDown) a.server.publish('t', message)
  const quiet = Array.from({ length: 10 }, (_, n) => `quiet ${n}`)
  for (const message of quiet) a.server.publish('quiet', message)
  await broker.start()
  await allUp(a, b)
  a.server.publish('t', 'after')
  const came = await receivedUntil(b, 'after')
  expect(came).toEqual(isReplayed ? [...whileDown, ...quiet, 'after'] : ['after'])
  if (!isReplayed) {
    for (const { errors } of [a, b]) expect(await errors.next('gap')).toMatchObject({ code: 'ERR_BACKPLANE_GAP', count: 110 })
    a.server.publish('quiet', 'quiet after')
    expect(await b.client.next()).toBe('quiet after')
  }
  for (const { errors } of [a, b]) expect(errors.size).toBe(0)
  // A Redis that writes nothing down forgets its stream: nothing may be missing, and it cannot say so.
  const gaps = isReplayed ? { missing: 0 } : { missing: 110, gaps: 1 }
  expect(b.server.backplaneMetrics()).toMatchObject({ ...gaps, delivered: before + came.length + (isReplayed ? 0 : 1) })
}

/** Stops the broker for as long as its `pingTimeout` has it. Clients of the same server do not wait. */
export async function expectStopped(broker: Broker, a: BrokerMember, b: BrokerMember): Promise<void> {
  broker.stop()
  a.server.publish('t', 'here')
  expect(await a.client.next()).toBe('here')
  expect((await a.errors.next('down')).message).toContain('has not replied')
  broker.resume()
  expect(await a.errors.next('gap')).toMatchObject({ code: 'ERR_BACKPLANE_GAP' })
  a.server.publish('t', 'after')
  await receivedUntil(b, 'after')
}

/** What `listen` rejects with. It names the address, and no password: in tests they have `secret` in them. */
export async function listenRefusal(backplane: BackplaneEngine, address: string): Promise<BackplaneError> {
  const server = makeServer(ONE_ENGINE, { server: { backplane } })
  const error: unknown = await server.listen({ host: '127.0.0.1' }).catch((cause: unknown) => cause)
  expect(error).toBeInstanceOf(BackplaneError)
  // Just checked.
  const refusal = error as BackplaneError
  expect(refusal.message).toContain(address)
  expectNoSecret(refusal)
  return refusal
}

/** Neither the message nor anything that hangs on the error has one of the tests' passwords in it. */
export function expectNoSecret(error: unknown): void {
  expect(inspect(error, { depth: Number.POSITIVE_INFINITY, showHidden: true })).not.toContain('secret')
}

/** The port of a server that is no broker. */
export async function noBroker(): Promise<number> {
  const server = createServer((socket) => socket.on('error', () => {}).end('HTTP/1.1 400 Bad Request\r\n\r\n'))
  server.listen(0, '127.0.0.1')
  onTestFinished(() => void server.close())
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}
