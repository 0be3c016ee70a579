/** Replies of Redis as both clients give them: RESP2 has arrays alone, RESP3 maps as well. */
import { Buffer } from 'node:buffer'

/** Of a reply to XREAD, by the key of the stream: a map in RESP3, in RESP2 an array of pairs. */
export function streamsOf(reply: unknown): ReadonlyMap<string, readonly unknown[]> {
  const pairs = Array.isArray(first(reply)) ? (reply as unknown[]).flat() : reply
  const streams = new Map<string, readonly unknown[]>()
  for (const [key, entries] of fieldsOf(pairs)) if (Array.isArray(entries)) streams.set(key, entries)
  return streams
}

/** Of a reply with names and values, as XINFO and CONFIG GET give it. */
export function fieldsOf(reply: unknown): ReadonlyMap<string, unknown> {
  const fields = new Map<string, unknown>()
  if (reply instanceof Map) for (const [name, value] of reply) fields.set(String(name), value)
  else if (Array.isArray(reply)) {
    for (let at = 0; at + 1 < reply.length; at += 2) fields.set(String(reply[at]), (reply as unknown[])[at + 1])
  } else if (typeof reply === 'object' && reply !== null) {
    for (const [name, value] of Object.entries(reply)) fields.set(name, value)
  }
  return fields
}

export function first(list: unknown): unknown {
  return Array.isArray(list) ? (list as unknown[])[0] : undefined
}

/** The id of an entry of a stream; undefined for what is none. */
export function idOf(entry: unknown): string | undefined {
  const id = first(entry)
  return Buffer.isBuffer(id) || typeof id === 'string' ? id.toString() : undefined
}
