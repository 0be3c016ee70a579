/**
 * A session on one stream of JetStream, which all members publish to and read as a whole: after a lost
 * connection, reading goes on behind the last message that has come.
 */
import type { JetStreamManager, StreamInfo } from '@nats-io/jetstream'
import type { NatsConnection } from '@nats-io/transport-node'
import type { BackplaneEnvelope } from '../contract.js'
import { inTime, reasonOf, type Session, type SessionEvents } from '../session-engine.js'
import { maxPayloadOf } from './core.js'
import { Subjects } from './subjects.js'

const NANOSECONDS = 1_000_000
/** Milliseconds for the client's own timeout, which is to be none: the longest that a timer takes. */
const NO_TIMEOUT = 2 ** 31 - 1

/** Where the next session goes on. */
export interface StreamPosition {
  /** The number of the last message that has come; undefined before the first session. */
  last: number | undefined
}

export interface JetStreamOptions {
  readonly prefix: string
  /** Milliseconds for which messages are kept, where the stream is not there yet. */
  readonly retention: number
  /** Milliseconds in which the broker must have stored what one call has published. */
  readonly timeout: number
}

export async function openJetStream(
  connection: NatsConnection,
  { prefix, retention, timeout }: JetStreamOptions,
  position: StreamPosition,
  events: SessionEvents,
): Promise<Session> {
  const { DeliverPolicy, JetStreamApiError, jetstream, jetstreamManager } = await import('@nats-io/jetstream')
  const subjects = new Subjects(`${prefix}.s.`)
  const name = streamNameOf(prefix)
  const { state } = await streamOf(await jetstreamManager(connection), name, `${prefix}.s.>`, retention)
  if (position.last === undefined) position.last = state.last_seq
  else if (state.last_seq < position.last || state.first_seq > position.last + 1) {
    // The stream was made anew, or messages are gone that were not read.
    if (state.last_seq < position.last) position.last = 0
    events.gap()
  }
  const js = jetstream(connection)
  const from = { deliver_policy: DeliverPolicy.StartSequence, opt_start_seq: position.last + 1 }
  const consumer = await js.consumers.get(name, from)
  const messages = await consumer.consume({
    // A stream that was deleted ends the session: the client would wait for its numbers in the one made anew.
    abort_on_missing_resource: true,
    callback: ({ subject, data, seq }) => {
      position.last = seq
      const topic = subjects.topicOf(subject)
      if (topic !== undefined) events.deliver(topic, data)
    },
  })
  messages.closed().then(
    (error) => events.ended(error ? reasonOf(error) : 'reading the stream has ended'),
    (error: unknown) => events.ended(reasonOf(error)),
  )
  const send = async (envelope: BackplaneEnvelope) => {
    try {
      await js.publish(subjects.of(envelope.topic), envelope.data, { timeout: NO_TIMEOUT })
    } catch (cause) {
      // The stream has refused this one, being full, for example: it would refuse it again.
      if (!(cause instanceof JetStreamApiError)) throw cause
      events.dropped(envelope, reasonOf(cause))
    }
  }
  return {
    maxEnvelopeBytes: maxPayloadOf(connection),
    // All that is in the stream is read: only the names of hashed topics must be known.
    subscribe: async (topics) => {
      for (const topic of topics) subjects.remember(topic, subjects.of(topic))
    },
    unsubscribe: async (topics) => {
      for (const topic of topics) subjects.forget(subjects.of(topic))
    },
    publish: async (envelopes) => {
      try {
        await inTime(Promise.all(envelopes.map(send)), timeout, `the broker has not stored messages within ${timeout} ms`)
      } catch (cause) {
        // The stream does not store, and may have been deleted: the next session makes it.
        events.ended(reasonOf(cause))
        throw cause
      }
    },
    ping: () => connection.flush(),
    destroy: () => {
      messages.stop()
      connection.close().catch(() => {})
    },
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
  try {
    return await manager.streams.info(name)
  } catch {
    // Adding it is no error where another member was quicker.
    return await manager.streams.add({
      name,
      subjects: [subject],
      storage: StorageType.File,
      max_age: retention * NANOSECONDS,
    })
  }
}
