// What one connection can make the server hold at most, in bytes: the formulas of docs/limits.md, for the
// options of server.mjs.
const KiB = 1024
const MiB = 1024 * KiB

/** Options of the server under attack. */
export const OPTIONS = {
  maxRequestBodySize: 8 * MiB,
  maxPayloadLength: MiB,
  /** Of the route that compresses: what a message of a few kilobytes inflates to. */
  maxInflatedLength: 4 * MiB,
  maxBackpressure: MiB,
}

/** The largest answer of the server that is made at once. */
export const BIG = MiB

/** One read, over TLS too. */
const READ = 80 * KiB
/** What a connection is made of, before it has sent anything: its objects, and those of Node on the portable engine. */
const OBJECTS = { native: 16 * KiB, portable: 64 * KiB }
const HEAD = { native: 32 * KiB, portable: 16 * KiB }
/** What waits behind a request that is not answered, or of a body that is not read. */
const BEHIND = { native: 64 * KiB, portable: 144 * KiB }
/** Responses that are not read: no request is begun beyond this. */
const UNREAD = 64 * KiB
/** How often a message is there: while it is coming, and while it is delivered. */
const COPIES = { native: 2 + 2, portable: 4 + 3 }
/** The same of one that is inflated, and what zlib takes. */
const INFLATED_COPIES = { native: 2 + 1.125, portable: 3 + 2.25 }
const ZLIB = { native: 44 * KiB, portable: 300 * KiB }
/** What a message that waits takes beside its bytes. */
const WAITING = { native: 10, portable: 400 }
/** OpenSSL's buffers, and a client's certificates. */
const TLS = 128 * KiB

/** A connection that asks for responses of so many bytes. Gives, as the next one does, a function of the engine. */
export const http =
  ({ response = KiB } = {}) =>
  (engine) =>
    OBJECTS[engine] + HEAD[engine] + BEHIND[engine] + READ + UNREAD + response

/**
 * A WebSocket that sends messages of up to `payload` bytes, or that inflate to `inflated`, and lets `queued` bytes wait for it in messages of
 * `shortest` bytes or more.
 */
export const webSocket =
  ({ payload = 0, queued = 0, shortest = KiB, inflated = 0 } = {}) =>
  (engine) => {
    const waiting = queued * (1 + WAITING[engine] / shortest)
    const zlib = inflated === 0 ? 0 : ZLIB[engine] + inflated * INFLATED_COPIES[engine]
    return OBJECTS[engine] + READ + BEHIND[engine] + payload * COPIES[engine] + waiting + zlib
  }

export const tls = (formula) => (engine) => formula(engine) + TLS

/**
 * What comes on top, for all connections together: garbage that V8 has not collected yet, what the witnesses are
 * at, one buffer for what is inflated, and memory that the allocator keeps for what comes next.
 */
export const ALLOWANCE = 192 * MiB
