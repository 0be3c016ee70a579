/**
 * Whether a stream still has all that comes behind the place at which a server has stopped reading. Only what
 * the broker says counts, its ids and its counts: the clocks of the servers may be wrong by minutes.
 */
import { isReply } from './pubsub.js'
import { fieldsOf, first, idOf } from './replies.js'

/** The id before all others. */
const FIRST_ID = '0-0'

/** Where the next session goes on. */
export interface StreamPosition {
  /** The id of the last entry that has come; undefined while no topic is wanted. */
  last: string | undefined
  /**
   * How many entries the stream had been given up to that one, removed ones included; undefined where the
   * broker does not count them (before Redis 7.0).
   */
  entries: number | undefined
}

/** What the broker says of its stream. */
export interface StreamState {
  /** The largest id that it has given. */
  readonly newest: string
  /** Entries that it was given, and of these the ones that it has no longer; undefined before Redis 7.0. */
  readonly added: number | undefined
  readonly removed: number | undefined
  /** The largest id of those that were deleted by name, which trimming does not do. */
  readonly deleted: string
  /** The id of the first entry that it has; undefined where it has none. */
  readonly oldest: string | undefined
}

const NO_STREAM: StreamState = { newest: FIRST_ID, added: 0, removed: 0, deleted: FIRST_ID, oldest: undefined }

type Command = (args: string[]) => Promise<unknown>

export async function stateOf(command: Command, key: string): Promise<StreamState> {
  let fields: ReadonlyMap<string, unknown>
  try {
    fields = fieldsOf(await command(['XINFO', 'STREAM', key]))
  } catch (cause) {
    if (!isReply(cause)) throw cause
    if (/no such key/i.test(cause.message)) return NO_STREAM
    // A user may lack the right to it alone.
    const newest = idOf(first(await command(['XREVRANGE', key, '+', '-', 'COUNT', '1'])))
    const oldest = idOf(first(await command(['XRANGE', key, '-', '+', 'COUNT', '1'])))
    return { newest: newest ?? FIRST_ID, added: undefined, removed: undefined, deleted: FIRST_ID, oldest }
  }
  const text = (name: string) => String(fields.get(name) ?? FIRST_ID)
  const added = fields.has('entries-added') ? Number(fields.get('entries-added')) : undefined
  const removed = added === undefined ? undefined : added - Number(fields.get('length'))
  const [newest, deleted] = [text('last-generated-id'), text('max-deleted-entry-id')]
  return { newest, added, removed, deleted, oldest: idOf(fields.get('first-entry')) }
}

/** Reading ends: if it ever goes on, then behind what has come until then. */
export function forget(position: StreamPosition): void {
  position.last = undefined
  position.entries = undefined
}

/**
 * Moves the position to where reading goes on. Returns whether entries may be gone that were not read.
 * `isThere` says whether the stream has the entry at the position; it was asked before the state.
 */
export function resume(position: StreamPosition, state: StreamState, isThere: boolean): boolean {
  const { last, entries } = position
  const { newest, added, removed, deleted, oldest } = state
  if (last === undefined) {
    position.last = newest
    position.entries = added
    return false
  }
  if (isBefore(newest, last)) {
    // The broker has lost its memory, or the last of it. What was read already is left out by the link.
    position.last = FIRST_ID
    position.entries = removed
    return true
  }
  // Trimming takes entries from the front: those behind one that is there are there.
  if (isThere) return isBefore(last, deleted)
  // All that were read are gone. If they are all that is gone, none was missed.
  if (oldest === undefined || isBefore(last, oldest)) position.entries = removed
  else position.entries = undefined
  if (removed !== undefined && entries !== undefined) return removed !== entries || isBefore(last, deleted)
  // Without counts it is certain only where nothing has come since.
  return newest !== last
}

/** Milliseconds since 1970, by the broker's clock, in which it has given the id. */
export function timeOf(id: string): number {
  return Number(id.split('-')[0])
}

/** Ids are a time in milliseconds, `-`, and a number. */
function isBefore(one: string, other: string): boolean {
  const [oneTime, otherTime] = [timeOf(one), timeOf(other)]
  return oneTime < otherTime || (oneTime === otherTime && numberOf(one) < numberOf(other))
}

function numberOf(id: string): number {
  return Number(id.split('-')[1] ?? 0)
}
