/**
 * A session on one stream, which all members append to. Those who want topics read it as a whole: after a
 * lost connection, reading goes on behind the last entry that has come. What members say to each other has a
 * stream of its own, so that one without topics reads nothing else; what was said before the session is over.
 */
import { Buffer } from 'node:buffer'
import { setImmediate } from 'node:timers/promises'
import { bufferOver } from '../../util/bytes.js'
import { OWN_TOPIC } from '../envelope.js'
import { reasonOf } from '../reasons.js'
import type { Session, SessionEvents } from '../session.js'
import { BrokerClock } from './broker-clock.js'
import type { RedisClient } from './connection.js'
import { beginning, isPassing, isReply, maxStringBytes, openTogether, sendAll } from './pubsub.js'
import { first, idOf, streamsOf } from './replies.js'
import { forget, resume, type StreamPosition, stateOf, timeOf } from './stream-place.js'

/** Milliseconds that one XREAD waits for entries. */
const BLOCK = 500
/** Entries of one XREAD. */
const COUNT = 1000

/** The two fields of an entry. */
const TOPIC = 't'
const DATA = 'd'
const NOTHING = new Uint8Array(0)

export interface StreamOptions {
  readonly key: string
  /** Of the members' own stream. */
  readonly membersKey: string
  /** Milliseconds for which entries are kept. */
  readonly retention: number
}

export async function openStream(
  client: RedisClient,
  { key, membersKey, retention }: StreamOptions,
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
  const command = (args: (string | Buffer)[]) => writer.command(args)
  /** The id of the last entry of the members' own stream that has come: what they said before is over. */
  let heardLast = ''
  const limit = await beginning(connections, events.closing, async () => {
    await ask()
    heardLast = (await stateOf(command, membersKey)).newest
    const { newest } = await stateOf(command, key)
    clock.seen(timeOf(newest))
    // As it will be read: a user may not have the right to it, and a node in cluster mode refuses two keys of
    // different slots.
    await reader.command(['XREAD', 'COUNT', '1', 'STREAMS', membersKey, key, '$', '$'])
    // Trims nothing that an XADD would not have trimmed. A broker that is read only, for example, refuses it,
    // and the session does not begin; a user may lack the right to it alone.
    const trim = ['XTRIM', key, 'MINID', '~', `${Math.max(0, timeOf(newest) - retention)}`]
    await command(trim).catch((cause: unknown) => {
      if (isPassing(cause)) throw cause
    })
    return await maxStringBytes(writer)
  })
  let isOver = false
  const topics = new Set<string>()
  /** While topics are wanted: resolves when what comes on them will be read. */
  let starting: Promise<void> | undefined
  /** While they are read: another object each time. */
  let reading: object | undefined
  const deliver = (entry: unknown) => {
    const fields: unknown = Array.isArray(entry) ? entry[1] : undefined
    const [topicName, topic, dataName, data] = Array.isArray(fields) ? (fields as unknown[]) : []
    if (isName(topicName, TOPIC) && isName(dataName, DATA) && Buffer.isBuffer(topic) && Buffer.isBuffer(data)) {
      if (topic.length > 0 || data.length > 0) events.deliver(topic.toString(), data)
    } else events.foreign()
  }
  const read = async () => {
    while (!isOver) {
      const current = reading
      const places = current === undefined ? [membersKey, heardLast] : [membersKey, key, heardLast, position.last ?? '$']
      const reply = await reader.command(['XREAD', 'COUNT', `${COUNT}`, 'BLOCK', `${BLOCK}`, 'STREAMS', ...places])
      if (isOver) return
      const streams = streamsOf(reply)
      for (const entry of streams.get(membersKey) ?? []) {
        heardLast = idOf(entry) ?? heardLast
        deliver(entry)
      }
      // Topics may have been given up meanwhile, and others wanted: these begin behind what has come here.
      for (const entry of reading === current ? (streams.get(key) ?? []) : []) {
        position.last = idOf(entry) ?? position.last
        if (position.entries !== undefined) position.entries += 1
        deliver(entry)
      }
      clock.seen(timeOf(position.last ?? heardLast))
    }
  }
  read().catch((cause: unknown) => {
    if (!isOver) events.ended(reasonOf(cause))
  })
  const add = (to: string, topic: string, data: Uint8Array): (string | Buffer)[] => {
    const oldest = `${Math.max(0, Math.floor(clock.now - retention))}`
    return ['XADD', to, 'MINID', '~', oldest, '*', TOPIC, Buffer.from(topic), DATA, bufferOver(data)]
  }
  const keyOf = (topic: string) => (topic === OWN_TOPIC ? membersKey : key)
  const begin = async () => {
    const { last } = position
    const isThere = last !== undefined && idOf(first(await command(['XRANGE', key, last, '+', 'COUNT', '1']))) === last
    const state = await stateOf(command, key)
    if (resume(position, state, isThere)) events.gap()
    clock.seen(timeOf(state.newest))
    reading = {}
    // The reader waits for what members say alone: an empty entry, which they leave out, ends that; where it
    // is refused, BLOCK does.
    await command(add(membersKey, OWN_TOPIC, NOTHING)).catch((cause: unknown) => {
      if (!isReply(cause) || isPassing(cause)) throw cause
    })
  }
  return {
    maxEnvelopeBytes: limit,
    subscribe: async (added) => {
      for (const topic of added) if (topic !== OWN_TOPIC) topics.add(topic)
      if (topics.size === 0) forget(position)
      else {
        starting ??= begin()
        await starting
      }
    },
    // Without topics, nothing is read but what members say.
    unsubscribe: async (removed) => {
      for (const topic of removed) topics.delete(topic)
      if (topics.size > 0) return
      starting = undefined
      reading = undefined
      forget(position)
    },
    publish: (envelopes) => sendAll(writer, envelopes, events, ({ topic, data }) => add(keyOf(topic), topic, data)),
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
