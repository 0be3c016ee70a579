/** A session on Pub/Sub: each topic is a channel, each envelope one PUBLISH. */
import type { Buffer } from 'node:buffer'
import { bufferOver } from '../../util/bytes.js'
import type { BackplaneEnvelope } from '../contract.js'
import { inTime } from '../in-time.js'
import { reasonOf } from '../reasons.js'
import { RefusedTopics } from '../refused-topics.js'
import type { Session, SessionEvents } from '../session.js'
import { CONNECT_TIMEOUT } from '../session-engine.js'
import {
  type ConnectionEvents,
  type ConnectionOptions,
  openConnection,
  type RedisClient,
  type RedisConnection,
} from './connection.js'
import { fieldsOf } from './replies.js'

/** Bytes of one string, where Redis does not say it: its default of `proto-max-bulk-len`. */
const MAX_STRING_BYTES = 512 * 1024 * 1024
/** Bytes of a message that waits for a subscriber, beside its own: its topic, and small ones before it. */
const OUTPUT_OVERHEAD = 256 * 1024

export async function openPubSub(client: RedisClient, prefix: string, events: SessionEvents): Promise<Session> {
  const connectionEvents: ConnectionEvents = {
    message: (channel, data) => {
      if (channel.startsWith(prefix)) events.deliver(channel.slice(prefix.length), data)
    },
    ended: events.ended,
  }
  const connections = await openTogether(client, connectionEvents, { closing: events.closing })
  const [publisher, subscriber] = connections
  const channelsOf = (topics: readonly string[]) => topics.map((topic) => prefix + topic)
  const refused = new RefusedTopics(events)
  const limit = await beginning(connections, events.closing, () => maxMessageBytes(publisher))
  return {
    maxEnvelopeBytes: limit,
    subscribe: (topics) => subscribeAllowed(topics, (some) => subscriber.subscribe(channelsOf(some)), refused),
    unsubscribe: (topics) => subscriber.unsubscribe(channelsOf(topics)),
    publish: (envelopes) =>
      sendAll(publisher, envelopes, events, ({ topic, data }) => ['PUBLISH', prefix + topic, bufferOver(data)]),
    connections: [publisher, subscriber],
    destroy: () => {
      publisher.destroy()
      subscriber.destroy()
    },
  }
}

/** The first commands of a session: its connections end where these fail, or the broker does not reply. */
export async function beginning<T>(
  connections: readonly RedisConnection[],
  closing: AbortSignal,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await inTime(work(), CONNECT_TIMEOUT, 'the broker has not replied', closing)
  } catch (cause) {
    for (const connection of connections) connection.destroy()
    throw cause
  }
}

/** Bytes of one string. Redis closes the connection on which a longer one begins. */
export async function maxStringBytes(connection: RedisConnection): Promise<number> {
  const limit = Number(await setting(connection, 'proto-max-bulk-len'))
  return limit > 0 ? Math.min(limit, MAX_STRING_BYTES) : MAX_STRING_BYTES
}

/** The same for a message of Pub/Sub: Redis closes the connection of a subscriber for whom more waits. */
export async function maxMessageBytes(connection: RedisConnection): Promise<number> {
  const longest = await maxStringBytes(connection)
  const limits = await setting(connection, 'client-output-buffer-limit')
  const limit = Number(/(?:^| )pubsub (\d+)/.exec(limits)?.[1] ?? 0)
  return limit === 0 ? longest : Math.min(longest, Math.max(1, limit - OUTPUT_OVERHEAD))
}

/** Empty where the user may not ask for it, as often. */
async function setting(connection: RedisConnection, name: string): Promise<string> {
  try {
    return String(fieldsOf(await connection.command(['CONFIG', 'GET', name])).get(name) ?? '')
  } catch (cause) {
    if (!isReply(cause)) throw cause
    return ''
  }
}

/** Two connections, or none. */
export async function openTogether(
  client: RedisClient,
  events: ConnectionEvents,
  options?: ConnectionOptions,
): Promise<[RedisConnection, RedisConnection]> {
  const opened = await Promise.allSettled([openConnection(client, events, options), openConnection(client, events, options)])
  const [first, second] = opened
  if (first.status === 'fulfilled' && second.status === 'fulfilled') return [first.value, second.value]
  for (const each of opened) if (each.status === 'fulfilled') each.value.destroy()
  throw first.status === 'rejected' ? first.reason : second.status === 'rejected' ? second.reason : new Error()
}

/**
 * One command for each envelope. What Redis refuses for good is dropped. Rejects when the connection is
 * lost, or Redis refuses everything for a while.
 */
export async function sendAll(
  connection: RedisConnection,
  envelopes: readonly BackplaneEnvelope[],
  events: SessionEvents,
  commandOf: (envelope: BackplaneEnvelope) => (string | Buffer)[],
): Promise<void> {
  const send = (envelope: BackplaneEnvelope) =>
    connection.command(commandOf(envelope)).catch((cause: unknown) => {
      if (!isReply(cause) || isPassing(cause)) throw cause
      events.dropped(envelope, reasonOf(cause))
    })
  const [first, ...others] = envelopes
  if (first !== undefined && others.length === 0) await send(first)
  else await Promise.all(envelopes.map(send))
}

/**
 * Redis refuses a whole command where the user has no right to one of its channels: then the topics are
 * subscribed in halves, down to those that are refused.
 */
export async function subscribeAllowed(
  topics: readonly string[],
  subscribe: (topics: readonly string[]) => Promise<void>,
  refused: RefusedTopics,
): Promise<void> {
  // Told when all is known, and so together.
  for (const { topic, reason } of await subscribeInHalves(topics, subscribe)) refused.add(topic, reason)
}

interface Refusal {
  readonly topic: string
  readonly reason: string
}

async function subscribeInHalves(
  topics: readonly string[],
  subscribe: (topics: readonly string[]) => Promise<void>,
): Promise<readonly Refusal[]> {
  try {
    await subscribe(topics)
    return []
  } catch (cause) {
    if (!isReply(cause) || !cause.message.startsWith('NOPERM ')) throw cause
    const [topic = '', ...others] = topics
    if (others.length === 0) return [{ topic, reason: cause.message }]
    const half = Math.ceil(topics.length / 2)
    const halves = [topics.slice(0, half), topics.slice(half)]
    return (await Promise.all(halves.map((some) => subscribeInHalves(some, subscribe)))).flat()
  }
}

/** Whether Redis has replied with an error, such as `NOPERM …`: then the connection goes on. */
export function isReply(cause: unknown): cause is Error {
  return cause instanceof Error && /^[A-Z]+ /.test(cause.message)
}

/**
 * Whether an error is one of this node's state, and not of the command: a replica, or a master without its
 * replicas; one that loads, cannot save, or runs a script; in a cluster one that is not the one for a
 * channel, or whose cluster is down. Another node takes the command, or the same one later.
 */
export function isPassing(cause: unknown): boolean {
  return cause instanceof Error && PASSING.test(cause.message)
}

const PASSING = /^(READONLY|NOREPLICAS|MASTERDOWN|LOADING|MISCONF|BUSY|MOVED|ASK|TRYAGAIN|CLUSTERDOWN) /
