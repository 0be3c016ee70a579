// What one connection can make the server hold at most, in bytes: the formulas of docs/limits.md, row by row,
// for the options of server.mjs. test/core/held-memory.test.ts holds each of them, `npm run attack` their
// sum.
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

/** A message so long that what it takes shows beside what a process does otherwise. */
export const MESSAGE = 16 * MiB

/** The largest answer of the server that is made at once. */
export const BIG = MiB

// A formula is a function of the engine's name.
const row = (native, portable) => (engine) => (engine === 'native' ? native : portable)
export const sum =
  (...formulas) =>
  (engine) =>
    formulas.reduce((bytes, formula) => bytes + formula(engine), 0)
export const most =
  (...formulas) =>
  (engine) =>
    Math.max(...formulas.map((formula) => formula(engine)))

/** One read, and what TLS adds to it. */
const READ = 64 * KiB
const RECORD = 16 * KiB

/** What a connection is made of, before it has sent anything. */
export const objects = row(4 * KiB, 24 * KiB)
export const proxyHeader = row(16 * KiB, 64 * KiB + READ)
/**
 * What OpenSSL keeps of a connection, with the record that came in part; and of a handshake, certificates
 * included.
 */
export const tls = row(64 * KiB, 64 * KiB)
/** What OpenSSL makes of 100 KiB of a client's certificates, for as long as the connection lasts. */
export const certificates = row(MiB, MiB)
export const handshake = row(RECORD + 100 * KiB, 64 * KiB + RECORD + 100 * KiB)
export const head = row(4 * 16 * KiB, 16 * KiB)
/** Behind a request that is not answered. */
export const behind = row(64 * KiB + READ, 16 * KiB + READ)
export const behindTls = row(64 * KiB + READ + RECORD, 144 * KiB)
/** Behind a handshake that `upgrade` has not decided. */
export const undecided = row(64 * KiB + READ, 64 * KiB + READ)
export const undecidedTls = row(64 * KiB + READ + RECORD, 192 * KiB)
/** A body that is not read, and one that is collected. */
export const unreadBody = row(64 * KiB + READ, 80 * KiB + 4 * READ)
export const collectedBody = sum(row(2 * OPTIONS.maxRequestBodySize, 2 * OPTIONS.maxRequestBodySize), unreadBody)
/** Responses that are not read, of so many bytes each. */
export const responses = (bytes) => row(64 * KiB + bytes, 64 * KiB + bytes)
/** Likewise of a stream whose source, a ReadableStream, keeps one piece itself, as it does by default. */
export const beginningStream = (piece) => responses(3 * piece)
export const stream = (piece) => responses(2 * piece)
/** Frames that wait for their turn, and a compressed message of so many bytes. */
export const frames = (compressed = 0) => row(READ + RECORD + compressed, 16 * KiB + READ)
export const framesTls = row(READ + RECORD, 144 * KiB)
/** Pongs of so many bytes, for Pings of a client that does not read. */
export const pongs = (length) => row(OPTIONS.maxBackpressure, OPTIONS.maxBackpressure + 2 + length)
/** A message that is coming, of which so much has come. */
export const coming = (bytes, maxPayloadLength) =>
  row(Math.min(Math.max(4 * bytes, 4 * KiB), 2 * maxPayloadLength), 2 * maxPayloadLength + 2 * bytes)
/** A message that is being delivered, with what has come of it. */
export const delivered = (maxPayloadLength) => row(2 * maxPayloadLength, 3 * maxPayloadLength)
export const deliveredText = (maxPayloadLength) => row(3 * maxPayloadLength, 5 * maxPayloadLength)
/** What compression adds: zlib's memory, and a message's compressed form. */
export const zlib = row(44 * KiB, 300 * KiB)
export const compressed = (maxPayloadLength) => row(1.125 * maxPayloadLength, 2.25 * maxPayloadLength)
/** Messages of so many `clients` that are being inflated, to so many bytes: of each client. */
export const inflating = (bytes, clients) => row((2 * bytes * Math.min(clients, 4)) / clients, 5.25 * bytes)
/** So many bytes that wait to be sent, in messages of `shortest` bytes or more. */
export const waiting = (bytes, shortest) => row(bytes * (1 + 10 / shortest), bytes * (1 + 400 / shortest))

/** All that one HTTP connection can have at once, which asks for responses of so many bytes. */
export const http = ({ response = KiB } = {}) => sum(objects, head, most(behindTls, unreadBody), responses(response))

/**
 * Likewise a WebSocket that sends messages of up to `payload` bytes, or that inflate to `inflated`, and lets
 * `queued` bytes wait for it in messages of `shortest` bytes or more.
 */
export const webSocket = ({ payload = 0, queued = 0, shortest = KiB, inflated = 0 } = {}) =>
  sum(
    objects,
    frames(payload),
    coming(payload, payload),
    deliveredText(Math.max(payload, inflated)),
    waiting(queued, shortest),
    ...(inflated > 0 ? [zlib, compressed(inflated)] : []),
  )

export const secure = (formula) => sum(formula, most(tls, handshake))

/**
 * What comes on top, for all connections together: garbage that V8 has not collected yet, what the witnesses
 * are at, one buffer for what is inflated, and memory that the allocator keeps for what comes next.
 */
export const ALLOWANCE = 192 * MiB

/** What a message of a route of the server may cost at most, in events. */
const LONGEST = 1 + OPTIONS.maxInflatedLength / KiB

/**
 * What JavaScript gets at most in one turn of the event loop: on the native engine a turn has two passes.
 * What all connections get together is not counted on the portable engine, which goes by the time.
 */
export const turn = row(
  { requests: 2 * 256, events: 2 * (16_384 + LONGEST), eventsOfOne: 2 * (256 + LONGEST) },
  { eventsOfOne: 256 + LONGEST },
)
