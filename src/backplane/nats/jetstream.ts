/**
 * A session on one stream of JetStream, which all members publish to. Those who want topics read it as a
 * whole: after a lost connection, reading goes on behind the last message that has come.
 */
import { setTimeout as setTimeoutPromise } from 'node:timers/promises'
import type { Consumer, ConsumerMessages, JetStreamManager, StreamInfo, StreamState } from '@nats-io/jetstream'
import type { NatsConnection } from '@nats-io/transport-node'
import type { BackplaneEnvelope } from '../contract.js'
import { OWN_TOPIC } from '../envelope.js'
import { inTime } from '../in-time.js'
import { reasonOf } from '../reasons.js'
import type { Session, SessionEvents } from '../session.js'
import { maxPayloadOf, QUESTION } from './core.js'
import { NoStreamError, RefusedError, StoredPublisher } from './stored-publisher.js'
import { Subjects } from './subjects.js'

const NANOSECONDS = 1_000_000

/**
 * Milliseconds of one request for messages. While the request waits, the broker gives a sign of life in half
 * of that time, and after two that are missing the client asks whether the stream is there: the broker need
 * not say when it deletes one.
 */
const PULL_EXPIRES = 4000

/** Milliseconds after which the broker forgets the place of a member that has ceased to read. */
const PLACE_LIFETIME = 30_000
/** The same of one that has only asked whether it may. */
const QUESTION_LIFETIME = 1000

/** How often a stream that was just made is asked to store a message, and the milliseconds in between. */
const STREAM_ATTEMPTS = 20
const STREAM_PAUSE = 50

/** Where the next session goes on. */
export interface StreamPosition {
  /** The number of the last message that has come; undefined while no topic is wanted. */
  last: number | undefined
  /** When the stream that it is in was made, as the broker writes it. */
  created: string | undefined
}

/**
 * What the client tells when its place in the stream is gone. It would look for another of its own accord, be
 * it in a stream that was made anew.
 */
const PLACE_IS_GONE: readonly string[] = [
  'consumer_deleted',
  'consumer_not_found',
  'stream_not_found',
  'ordered_consumer_recreated',
]

export interface JetStreamOptions {
  readonly prefix: string
  /** Milliseconds for which messages are kept, where the stream is not there yet. */
  readonly retention: number
  /** What subjects for replies begin with, where the user has chosen it. */
  readonly inboxPrefix: string | undefined
  /** Milliseconds in which the broker must have stored something of what was published. */
  readonly timeout: number
}

export async function openJetStream(
  connection: NatsConnection,
  { prefix, retention, inboxPrefix, timeout }: JetStreamOptions,
  position: StreamPosition,
  events: SessionEvents,
): Promise<Session> {
  const { DeliverPolicy, jetstream, jetstreamManager } = await import('@nats-io/jetstream')
  const { createInbox } = await import('@nats-io/transport-node')
  const subjects = new Subjects(`${prefix}.s.`)
  const name = streamNameOf(prefix)
  const manager = await jetstreamManager(connection)
  // One token behind the prefix: `>` would take in the subjects of a prefix that goes on with `.s`.
  const find = () => streamOf(manager, name, `${prefix}.s.*`, retention)
  await find()
  const publisher = new StoredPublisher(connection, createInbox(inboxPrefix), events.ended)
  await inTime(mayPublish(publisher, subjects.of(OWN_TOPIC)), timeout, 'the broker has not stored a message')
  const js = jetstream(connection)
  // Whether this member may read the stream is known before it has to.
  await js.consumers.get(name, { deliver_policy: DeliverPolicy.New, inactive_threshold: QUESTION_LIFETIME })
  let heard = performance.now()
  const hear = () => {
    heard = performance.now()
  }
  // What members say is in the stream, too, and is heard without it: nothing of that is read later.
  connection.subscribe(subjects.of(OWN_TOPIC), {
    callback: (error, { data }) => {
      hear()
      if (error !== null) events.ended(error.message)
      else if (data.length > 0) events.deliver(OWN_TOPIC, data)
    },
  })
  await connection.flush()
  const topics = new Set<string>()
  /** While topics are wanted: resolves when what comes on them will be read. */
  let starting: Promise<void> | undefined
  /** While they are read, or about to be: another object each time. */
  let reading: { consumer?: Consumer; messages?: ConsumerMessages } | undefined
  const begin = async () => {
    const current: typeof reading = {}
    reading = current
    const { state, created } = await find()
    if (resume(position, state, created)) events.gap()
    const consumer = await js.consumers.get(name, {
      deliver_policy: DeliverPolicy.StartSequence,
      opt_start_seq: (position.last ?? 0) + 1,
      inactive_threshold: PLACE_LIFETIME,
    })
    current.consumer = consumer
    const messages = await consumer.consume({
      // A stream that was deleted ends the session: the client would wait for its numbers in the next one.
      abort_on_missing_resource: true,
      expires: PULL_EXPIRES,
      callback: ({ subject, data, seq }) => {
        if (reading !== current) return
        // Messages between the two were deleted, or grew too old before they were read.
        if (position.last !== undefined && seq > position.last + 1) events.gap()
        position.last = seq
        hear()
        const topic = subjects.topicOf(subject)
        if (topic === OWN_TOPIC) return
        if (topic !== undefined) events.deliver(topic, data)
        else if (!subjects.isTopic(subject)) events.foreign()
      },
    })
    current.messages = messages
    const ended = (reason: string) => {
      if (reading === current) events.ended(reason)
    }
    const watch = async () => {
      for await (const { type } of messages.status()) {
        if (PLACE_IS_GONE.includes(type)) ended('the stream, or the place in it, is gone')
      }
    }
    watch().catch((error: unknown) => ended(reasonOf(error)))
    messages.closed().then(
      (error) => ended(error ? reasonOf(error) : 'reading the stream has ended'),
      (error: unknown) => ended(reasonOf(error)),
    )
  }
  /** Without topics: nothing is read but what members say, and what is stored meanwhile is read no more. */
  const rest = () => {
    const left = reading
    starting = undefined
    reading = undefined
    position.last = undefined
    left?.messages?.stop()
    // Else the broker would keep each place for PLACE_LIFETIME; it does so where the user may not delete it.
    left?.consumer?.delete().catch(() => {})
  }
  let stored = performance.now()
  const send = async (envelope: BackplaneEnvelope) => {
    try {
      await publisher.publish(subjects.of(envelope.topic), envelope.data)
      stored = heard = performance.now()
    } catch (cause) {
      if (!(cause instanceof RefusedError)) throw cause
      stored = performance.now()
      events.dropped(envelope, cause.message)
    }
  }
  return {
    get maxEnvelopeBytes() {
      return maxPayloadOf(connection)
    },
    subscribe: async (added) => {
      for (const topic of added) {
        if (topic === OWN_TOPIC) continue
        topics.add(topic)
        subjects.remember(topic, subjects.of(topic))
      }
      if (topics.size === 0) rest()
      else {
        starting ??= begin()
        await starting
      }
    },
    unsubscribe: async (removed) => {
      for (const topic of removed) {
        topics.delete(topic)
        subjects.forget(subjects.of(topic))
      }
      if (topics.size === 0) rest()
    },
    publish: async (envelopes) => {
      const all = Promise.all(envelopes.map(send))
      for (;;) {
        const begun = performance.now()
        try {
          await inTime(all, timeout, `the broker has not stored messages within ${timeout} ms`)
          return
        } catch (cause) {
          // The stream does not store, and may have been deleted: the next session makes it.
          if (stored <= begun) throw cause
        }
      }
    },
    connections: [
      {
        ping: async () => {
          await connection.flush()
          hear()
        },
        get heard() {
          return heard
        },
      },
    ],
    destroy: () => {
      reading?.messages?.stop()
      connection.close().catch(() => {})
    },
  }
}

/**
 * Moves the position to where reading goes on. Returns whether the stream was made anew, or messages are gone
 * that were not read.
 */
function resume(position: StreamPosition, { first_seq, last_seq }: StreamState, created: string): boolean {
  const { last } = position
  const isSame = created === position.created
  position.created = created
  if (last === undefined) {
    position.last = last_seq
    return false
  }
  if (isSame && first_seq <= last + 1) return false
  position.last = isSame ? first_seq - 1 : 0
  return true
}

/**
 * Rejects where the user has no right to publish on the subject, or there is no stream for it: a broker
 * confirms a stream before it is there for all that is published.
 */
export async function mayPublish(publisher: Pick<StoredPublisher, 'publish'>, subject: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await publisher.publish(subject, QUESTION)
      return
    } catch (cause) {
      // A stream that refuses it for another reason may be full.
      if (cause instanceof RefusedError && !cause.isForbidden) return
      if (!(cause instanceof NoStreamError) || attempt === STREAM_ATTEMPTS) throw cause
      await setTimeoutPromise(STREAM_PAUSE)
    }
  }
}

/**
 * Different for each prefix: names of streams have no dots, and prefixes no `=`, which file systems take.
 */
export function streamNameOf(prefix: string): string {
  return prefix.replaceAll('.', '=')
}

async function streamOf(manager: JetStreamManager, name: string, subject: string, retention: number): Promise<StreamInfo> {
  const { StorageType } = await import('@nats-io/jetstream')
  const find = () => manager.streams.info(name)
  return await find().catch(() =>
    manager.streams
      .add({ name, subjects: [subject], storage: StorageType.File, max_age: retention * NANOSECONDS })
      .catch((error: unknown) =>
        // Another member may have been quicker.
        find().catch(() => {
          throw error
        }),
      ),
  )
}
