/** A session on NATS core: each topic is a subscription, each envelope one message. */
import type { NatsConnection, Subscription } from '@nats-io/transport-node'
import type { Session, SessionEvents } from '../session-engine.js'
import { Subjects } from './subjects.js'

/** Bytes of a message where the broker says nothing: its own default. */
const DEFAULT_MAX_PAYLOAD = 1024 * 1024

export function openCore(connection: NatsConnection, prefix: string, events: SessionEvents): Session {
  const subjects = new Subjects(`${prefix}.c.`)
  const subscriptions = new Map<string, Subscription>()
  return {
    maxEnvelopeBytes: maxPayloadOf(connection),
    subscribe: async (topics) => {
      for (const topic of topics) {
        if (subscriptions.has(topic)) continue
        const callback = (error: Error | null, message: { readonly data: Uint8Array }) => {
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
      for (const { topic, data } of envelopes) connection.publish(subjects.of(topic), data)
      // Its reply says that the broker has read what was before it.
      await connection.flush()
    },
    ping: () => connection.flush(),
    destroy: () => void connection.close().catch(() => {}),
  }
}

export function maxPayloadOf(connection: NatsConnection): number {
  return connection.info?.max_payload ?? DEFAULT_MAX_PAYLOAD
}
