/**
 * A session on one stream, which all members append to and read as a whole: after a lost connection, reading
 * goes on behind the last entry that has come.
 */
import { Buffer } from 'node:buffer'
import { setImmediate } from 'node:timers/promises'
import { bufferOver } from '../../util/bytes.js'
import { reasonOf } from '../reasons.js'
import type { Session, SessionEvents } from '../session.js'
import { BrokerClock } from './broker-clock.js'
import type { RedisClient } from './connection.js'
import { beginning, isPassing, isReply, maxStringBytes, openTogether, sendAll } from './pubsub.js'
import { entriesOf, first, idOf } from './replies.js'
import { isBefore, resume, type StreamPosition, stateOf, timeOf } from './stream-place.js'

/** Milliseconds that one XREAD waits for entries. */
const BLOCK = 500
/** Entries of one XREAD. */
const COUNT = 1000

/** The two fields of an entry. */
const TOPIC = 't'
const DATA = 'd'

export interface StreamOptions {
  readonly key: string
  /** Milliseconds for which entries are kept. */
  readonly retention: number
}

export async function openStream(
  client: RedisClient,
  { key, retention }: StreamOptions,
  position: StreamPosition,
  events: SessionEvents,
): Promise<Session> {
  const connections = await openTogether(client, { message: () => {}, ended: events.ended }, { closing: events.closing })
  const [writer, reader] = connections
  const clock = new BrokerClock()
  /** As a PING, which a user has the right to where TIME is refused. */
  const ask = async () => {
    try {
      clock.told(await writer.command(['TIME']))
    } catch (cause) {
      if (!isReply(cause) || isPassing(cause)) throw cause
      await writer.ping()
    }
  }
  /** Entries up to this one were made before the session. */
  let lateUntil: string | undefined
  const limit = await beginning(connections, events.closing, async () => {
    const command = (args: string[]) => writer.command(args)
    await ask()
    const { last } = position
    const isThere = last !== undefined && idOf(first(await command(['XRANGE', key, last, '+', 'COUNT', '1']))) === last
    const state = await stateOf(command, key)
    // Trims nothing that an XADD would not have trimmed. A broker that is read only, for example, refuses it,
    // and the session does not begin; a user may lack the right to it alone.
    const trim = ['XTRIM', key, 'MINID', '~', `${Math.max(0, timeOf(state.newest) - retention)}`]
    await command(trim).catch((cause: unknown) => {
      if (isPassing(cause)) throw cause
    })
    if (resume(position, state, isThere)) events.gap()
    clock.seen(timeOf(state.newest))
    lateUntil = state.newest
    return await maxStringBytes(writer)
  })
  let isOver = false
  const read = async () => {
    while (!isOver) {
      const command = ['XREAD', 'COUNT', `${COUNT}`, 'BLOCK', `${BLOCK}`, 'STREAMS', key, position.last ?? '$']
      const entries = entriesOf(await reader.command(command))
      if (isOver) return
      for (const entry of entries) {
        const id = idOf(entry) ?? position.last
        if (lateUntil !== undefined && id !== undefined && isBefore(lateUntil, id)) lateUntil = undefined
        position.last = id
        if (position.entries !== undefined) position.entries += 1
        const fields: unknown = Array.isArray(entry) ? entry[1] : undefined
        const [topicName, topic, dataName, data] = Array.isArray(fields) ? (fields as unknown[]) : []
        if (isName(topicName, TOPIC) && isName(dataName, DATA) && Buffer.isBuffer(topic) && Buffer.isBuffer(data))
          events.deliver(topic.toString(), data, lateUntil !== undefined)
        else events.foreign()
      }
      clock.seen(timeOf(position.last ?? ''))
    }
  }
  read().catch((cause: unknown) => {
    if (!isOver) events.ended(reasonOf(cause))
  })
  return {
    maxEnvelopeBytes: limit,
    // All that is in the stream is read.
    subscribe: async () => {},
    unsubscribe: async () => {},
    publish: (envelopes) => {
      const oldest = `${Math.max(0, Math.floor(clock.now - retention))}`
      return sendAll(writer, envelopes, events, ({ topic, data }) => [
        ...['XADD', key, 'MINID', '~', oldest, '*', TOPIC, Buffer.from(topic), DATA],
        bufferOver(data),
      ])
    },
    connections: [
      {
        ping: ask,
        get heard() {
          return writer.heard
        },
      },
      {
        // It is waiting for entries, and replies at least every BLOCK ms.
        ping: async () => {
          const oldest = performance.now() - 4 * BLOCK
          // What came while the loop was blocked is read first.
          await setImmediate()
          await setImmediate()
          if (reader.heard < oldest) throw new Error('the broker has not replied to XREAD')
        },
        get heard() {
          return reader.heard
        },
      },
    ],
    destroy: () => {
      isOver = true
      writer.destroy()
      reader.destroy()
    },
  }
}

/** Whether a field's name is this character. */
function isName(name: unknown, character: string): boolean {
  return Buffer.isBuffer(name) && name.length === 1 && name[0] === character.charCodeAt(0)
}
