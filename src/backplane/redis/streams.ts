/**
 * A session on one stream, which all members append to and read as a whole: after a lost connection, reading
 * goes on behind the last entry that has come.
 */
import { Buffer } from 'node:buffer'
import { setImmediate } from 'node:timers/promises'
import { bufferOver } from '../../util/bytes.js'
import type { Session, SessionEvents } from '../session.js'
import type { RedisClient } from './connection.js'
import { isPassing, MAX_STRING_BYTES, openTogether, sendAll } from './pubsub.js'

/** Milliseconds that one XREAD waits for entries. */
const BLOCK = 500
/** Entries of one XREAD. */
const COUNT = 1000

/** Where the next session goes on. */
export interface StreamPosition {
  /** The id of the last entry that has come; undefined before the first session. */
  last: string | undefined
}

export interface StreamOptions {
  readonly key: string
  /** Milliseconds for which entries are kept. */
  readonly retention: number
}

/** `milliseconds` have passed since the last session. */
export async function openStream(
  client: RedisClient,
  { key, retention }: StreamOptions,
  position: StreamPosition,
  events: SessionEvents,
  milliseconds: number,
): Promise<Session> {
  const [writer, reader] = await openTogether(client, { message: () => {}, ended: events.ended }, { closing: events.closing })
  // Trims as each XADD does. A broker that is read only, for example, refuses it, and the session does not
  // begin; a user may lack the right to it alone.
  await writer.command(['XTRIM', key, 'MINID', '~', `${Date.now() - retention}`]).catch((cause: unknown) => {
    if (isPassing(cause)) throw cause
  })
  const newest = idOf(first(await writer.command(['XREVRANGE', key, '+', '-', 'COUNT', '1']))) ?? '0-0'
  if (position.last === undefined) position.last = newest
  else if (isBefore(newest, position.last) || milliseconds > retention) {
    // The broker has lost its memory, or entries are gone that were not read.
    if (isBefore(newest, position.last)) position.last = '0-0'
    events.gap()
  }
  let isOver = false
  const read = async () => {
    while (!isOver) {
      const command = ['XREAD', 'COUNT', `${COUNT}`, 'BLOCK', `${BLOCK}`, 'STREAMS', key, position.last ?? '$']
      const entries = entriesOf(await reader.command(command))
      if (isOver) return
      for (const entry of entries) {
        position.last = idOf(entry) ?? position.last
        const fields: unknown = Array.isArray(entry) ? entry[1] : undefined
        const [, topic, , data] = Array.isArray(fields) ? (fields as unknown[]) : []
        if (Buffer.isBuffer(topic) && Buffer.isBuffer(data)) events.deliver(topic.toString(), data)
      }
    }
  }
  read().catch((cause: unknown) => {
    if (!isOver) events.ended(cause instanceof Error ? cause.message : String(cause))
  })
  return {
    // The topic goes with it.
    maxEnvelopeBytes: MAX_STRING_BYTES,
    // All that is in the stream is read.
    subscribe: async () => {},
    unsubscribe: async () => {},
    publish: (envelopes) => {
      const oldest = `${Date.now() - retention}`
      return sendAll(writer, envelopes, events, ({ topic, data }) => [
        ...['XADD', key, 'MINID', '~', oldest, '*', 't', Buffer.from(topic), 'd'],
        bufferOver(data),
      ])
    },
    connections: [
      writer,
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

/** Of the only stream in a reply to XREAD, which RESP3 gives as a map, RESP2 as pairs. */
function entriesOf(reply: unknown): readonly unknown[] {
  if (reply === null || typeof reply !== 'object') return []
  const stream: unknown = Array.isArray(reply) ? (reply as unknown[])[0] : undefined
  const entries: unknown = Array.isArray(stream)
    ? (stream as unknown[])[1]
    : reply instanceof Map
      ? first([...reply.values()])
      : Array.isArray(reply)
        ? undefined
        : first(Object.values(reply))
  // RESP3 as pairs, one after the other.
  if (Array.isArray(entries)) return entries
  return Array.isArray(reply) && Array.isArray(reply[1]) ? (reply[1] as unknown[]) : []
}

function first(list: unknown): unknown {
  return Array.isArray(list) ? (list as unknown[])[0] : undefined
}

function idOf(entry: unknown): string | undefined {
  const id = first(entry)
  return Buffer.isBuffer(id) || typeof id === 'string' ? id.toString() : undefined
}

/** Ids are a time in milliseconds, `-`, and a number. */
function isBefore(one: string, other: string): boolean {
  const [[time = 0, number = 0], [otherTime = 0, otherNumber = 0]] = [one, other].map((id) => id.split('-').map(Number)) as [
    number[],
    number[],
  ]
  return time < otherTime || (time === otherTime && number < otherNumber)
}
