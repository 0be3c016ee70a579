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

/** What one connection gets in one turn of the loop. */
export const TURN = { read: 64 * KiB, requests: 16, events: 256, inflated: MiB }

/** Read and not parsed. */
const HELD = 64 * KiB
/** Answers that wait unread: no further request of the connection is begun beyond this. */
const UNREAD = 64 * KiB
/** A request's head (431 beyond it), and what is kept of a body that nobody reads. */
const HEAD = 16 * KiB
const BODY = 64 * KiB
/**
 * What a connection is made of, before it has sent anything: structures, and streams on the portable engine.
 */
const OBJECTS = { native: 16 * KiB, portable: 64 * KiB }
/** OpenSSL's buffers, keys and certificates of a connection. */
const TLS = 128 * KiB
/**
 * Compressor and decompressor of a connection: shared ones on the native engine, its own on the portable one.
 */
const DEFLATE = { native: 0, portable: 300 * KiB }
/** What each event costs as an object, beside its bytes. */
const EVENT = KiB

/** Both give a function of the engine, to which `tls()` may be added. */
export const http =
  ({ answer = KiB } = {}) =>
  (engine) =>
    OBJECTS[engine] + HEAD + HELD + TURN.read + BODY + UNREAD + answer + TURN.requests * (EVENT + Math.min(answer, 64 * KiB))

export const webSocket =
  ({ payload = 0, queued = 0, inflated = 0 } = {}) =>
  (engine) => {
    // A message, whole or in the making, may be there twice: as it was put together, and as JavaScript gets
    // it.
    const bytes = OBJECTS[engine] + HELD + TURN.read + 2 * payload + 2 * queued + TURN.events * EVENT
    return inflated === 0 ? bytes : bytes + DEFLATE[engine] + TURN.inflated + 2 * inflated
  }

export const tls = (formula) => (engine) => formula(engine) + TLS

/**
 * What comes on top, for all connections together: garbage that V8 has not collected yet, what the witnesses
 * are at, and memory that the allocator keeps for what comes next.
 */
export const ALLOWANCE = 192 * MiB
