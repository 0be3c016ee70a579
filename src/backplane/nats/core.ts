/** A session on NATS core: each topic is a subscription, each envelope one message. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { NatsConnection, Subscription } from '@nats-io/transport-node'
import type { BackplaneEnvelope } from '../contract.js'
import { OWN_TOPIC } from '../envelope.js'
import { costOf } from '../outbox.js'
import { RefusedTopics } from '../refused-topics.js'
import type { Session, SessionEvents } from '../session.js'
import { Confirmations } from './confirmations.js'
import { RefusedEnvelopes, violationOf } from './permissions.js'
import { Subjects } from './subjects.js'

/** Bytes of a message where the broker says nothing: its own default. */
const DEFAULT_MAX_PAYLOAD = 1024 * 1024

/** Asks whether messages on that topic may be sent: members leave it out, as it is no envelope. */
export const QUESTION = new Uint8Array(0)

export async function openCore(
  connection: NatsConnection,
  prefix: string,
  maxPendingBytes: number,
  events: SessionEvents,
): Promise<Session> {
  const subjects = new Subjects(`${prefix}.c.`)
  const subscriptions = new Map<string, Subscription>()
  const refusedEnvelopes = new RefusedEnvelopes(connection, subjects, events)
  const refusedTopics = new RefusedTopics(events)
  let heard = performance.now()
  /** Resolves when the broker has read all that was before. */
  const flush = async () => {
    await connection.flush()
    heard = performance.now()
  }
  const subscribe = (topic: string) => {
    const callback = (error: Error | null, { data }: { readonly data: Uint8Array }) => {
      heard = performance.now()
      const violation = violationOf(error)
      if (violation !== undefined) {
        subscriptions.delete(topic)
        refusedTopics.add(topic, violation.message)
      } else if (error !== null) events.ended(error.message)
      else if (topic !== OWN_TOPIC || data.length > 0) events.deliver(topic, data)
    }
    subscriptions.set(topic, connection.subscribe(subjects.of(topic), { callback }))
  }
  /** Calls of `subscribe` that the broker has not confirmed. */
  let subscribing = 0
  const confirmations = new Confirmations(flush, maxPendingBytes)
  const send = async (envelopes: readonly BackplaneEnvelope[]) => {
    const replies: Promise<void>[] = []
    for (const { topic, data } of envelopes) {
      connection.publish(subjects.of(topic), data)
      const reply = confirmations.sent(costOf(topic, data.length))
      if (reply !== replies.at(-1)) replies.push(reply)
    }
    await (replies.length === 1 ? replies[0] : Promise.all(replies))
  }
  connection.publish(subjects.of(OWN_TOPIC), QUESTION)
  await refusedEnvelopes.unlessRefused(subjects.of(OWN_TOPIC), flush())
  return {
    get maxEnvelopeBytes() {
      return maxPayloadOf(connection)
    },
    subscribe: async (topics) => {
      // A thousand topics take ten milliseconds and more: the next thousand are for the next turn.
      for (let ahead = subscribing++; ahead > 0; ahead--) await nextTurn()
      try {
        for (const topic of topics) if (!subscriptions.has(topic)) subscribe(topic)
        await connection.flush()
      } finally {
        subscribing -= 1
      }
    },
    unsubscribe: async (topics) => {
      for (const topic of topics) {
        subscriptions.get(topic)?.unsubscribe()
        subscriptions.delete(topic)
      }
    },
    publish: (envelopes) => {
      const work = send(envelopes)
      refusedEnvelopes.during(envelopes, work)
      return work
    },
    connections: [
      {
        ping: () => confirmations.ask(),
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
