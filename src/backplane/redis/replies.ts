/** Replies of Redis as both clients give them: RESP2 has arrays alone, RESP3 maps as well. */
import { Buffer } from 'node:buffer'

/** Of the only stream in a reply to XREAD, which RESP3 gives as a map, RESP2 as pairs. */
export function entriesOf(reply: unknown): readonly unknown[] {
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
