/** A session on NATS core: each topic is a subscription, each envelope one message. */
import type { NatsConnection, Subscription } from '@nats-io/transport-node'
import type { Session, SessionEvents } from '../session.js'
import { Subjects } from './subjects.js'

/** Bytes of a message where the broker says nothing: its own default. */
const DEFAULT_MAX_PAYLOAD = 1024 * 1024

/** Bytes of messages after which the broker is to reply: on a slow line, each reply is a sign of life. */
const FLUSH_BYTES = 65_536

export function openCore(connection: NatsConnection, prefix: string, events: SessionEvents): Session {
  const subjects = new Subjects(`${prefix}.c.`)
  const subscriptions = new Map<string, Subscription>()
  let heard = performance.now()
  /** Resolves when the broker has read all that was before. */
  const flush = async () => {
    await connection.flush()
    heard = performance.now()
  }
  return {
    get maxEnvelopeBytes() {
      return maxPayloadOf(connection)
    },
    subscribe: async (topics) => {
      for (const topic of topics) {
        if (subscriptions.has(topic)) continue
        const callback = (error: Error | null, message: { readonly data: Uint8Array }) => {
          heard = performance.now()
          if (error === null) events.deliver(topic, message.data)
          else events.ended(error.message)
        }
        subscriptions.set(topic, connection.subscribe(subjects.of(topic), { callback }))
      }
      await connection.flush()
    },
    unsubscribe: async (topics) => {
      for (const topic of topics) {
        subscriptions.get(topic)?.unsubscribe()
        subscriptions.delete(topic)
      }
    },
    publish: async (envelopes) => {
      const replies: Promise<void>[] = []
      let bytes = 0
      for (const { topic, data } of envelopes) {
        connection.publish(subjects.of(topic), data)
        bytes += data.length
        if (bytes < FLUSH_BYTES) continue
        const reply = flush()
        // Should the next `publish` throw, nothing waits for it.
        reply.catch(() => {})
        replies.push(reply)
        bytes = 0
      }
      await Promise.all([...replies, flush()])
    },
    connections: [
      {
        ping: flush,
        get heard() {
          return heard
        },
      },
    ],
    destroy: () => void connection.close().catch(() => {}),
  }
}

export function maxPayloadOf(connection: NatsConnection): number {
  return connection.info?.max_payload ?? DEFAULT_MAX_PAYLOAD
}
