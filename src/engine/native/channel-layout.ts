/**
 * The layout of the memory through which events and commands pass in batches between JavaScript and C++.
 * `native/binding/protocol.h` says the same in C++, and `native/server/websocket/send_quota.h` the layout of
 * quotas.
 *
 * A record is three 32-bit words (id, kind, length), then `length` bytes, padded to a whole word.
 */

export enum Control {
  inboxEnd = 0,
  inboxRead = 1,
  outboxEnd = 2,
  words = 4,
}

export enum Event {
  text = 1,
  binary = 2,
  drain = 3,
  ping = 4,
  pong = 5,
  close = 6,
  bufferedAmountLow = 7,
  fragmentDrain = 8,
  /** A message whose kind had REPORT_SENT has left. */
  sent = 10,
  /** Text, on a route that takes it as bytes. */
  textBytes = 9,
  /** In the kinds from this one to `request`, no bytes follow: `length` is the index of an attachment. */
  textAttached = 16,
  binaryAttached = 17,
  droppedText = 18,
  droppedBinary = 19,
  textBytesAttached = 20,
  /** A message in the lent memory: the upper 24 bits of the kind say where. */
  binaryLent = 21,
  /** The kinds from `request` on are about a server. */
  bodyAttached = 31,
  request = 32,
  abort = 33,
  descriptorsExhausted = 34,
  serverClosed = 35,
  body = 36,
  bodyEnd = 37,
  writable = 38,
}

/** How far the upper 24 bits of a kind are moved. */
export const KIND_BITS = 8

/**
 * Bytes of the lent memory: a few times the 64 KiB for which a socket is read at once, and not more than
 * stays in the processor's caches. C++ has JavaScript read the inbox before there is no room for another
 * socket.
 */
export const LENT_SIZE = 256 * 1024

export enum Command {
  sendText = 1,
  sendBinary = 2,
  sendPing = 3,
  /** The kinds to this one have a status, and are subject to the limit. */
  sendPong = 4,
  beginClose = 5,
  terminate = 6,
  /** The Pong for a Ping. */
  answerPing = 7,
}

/** In the kind of `sendText` and `sendBinary`: the event `sent` is asked for. */
export const REPORT_SENT = 1 << 10
/** In the kind of `close`: the code is the peer's. */
export const CLEAN = 1 << 8
/** In the kind of `pong`: it may answer a Ping of C++'s own. */
export const ANSWERS_ENGINE = 1 << 8

/**
 * Whether to compress: in the kind of `sendText` and `sendBinary`, and in the calls by which a long message
 * goes past the outbox.
 */
export enum Compress {
  bySize = 0,
  always = 1,
  never = 2,
}
export const COMPRESS_SHIFT = 8
/** The part of a kind that is a Command or Event. */
export const KIND_MASK = 0xff

export function compressChoice(compress: boolean | undefined): Compress {
  return compress === undefined ? Compress.bySize : compress ? Compress.always : Compress.never
}

/** Words of one connection's SendQuota: what `send` needs to return its status at once. */
export enum SendQuota {
  /** Bytes that C++ holds for a client that does not read. */
  buffered = 0,
  /** Bytes in the outbox. */
  pending = 1,
  limit = 2,
  /** The `drain` that C++ is to raise: a DrainOwed of `src/engine/send-quota.ts`. */
  drainOwed = 3,
  /**
   * The connection that has this slot, and its state: its id alone while messages may be sent, its id with
   * CLOSING when no more may be; 0 when the slot is free, or its connection has ended.
   */
  id = 4,
  /**
   * Bytes that `buffered` is to be below, for the event bufferedAmountLow; 0 when JavaScript waits for no
   * such event.
   */
  lowThreshold = 5,
}
/** In SendQuota.id. Ids have 31 bits. */
export const CLOSING = 1 << 31
/** A quota is 8 words. */
export const QUOTA_SHIFT = 3
/** The low bits of an id are its slot. */
export const SLOT_MASK = 0xfffff

export const HEADER_WORDS = 3
/**
 * Bytes: room for the million connections that an id can name. Pages that were never touched cost nothing.
 */
export const QUOTAS_SIZE = (SLOT_MASK + 1) << (QUOTA_SHIFT + 2)
/**
 * Bytes of the inbox: a few thousand short messages. What one loop iteration brings beyond that waits in C++
 * until it has been read.
 */
export const INBOX_SIZE = 256 * 1024
/** Bytes of the outbox. */
export const OUTBOX_SIZE = 256 * 1024
/** Bytes: a longer message is attached, or lent, and not in the inbox. */
export const MAX_INLINE_MESSAGE = 2 * 1024
/**
 * A message longer than this (bytes, or UTF-16 units of a string) is not copied into the outbox but sent from
 * the caller's memory.
 */
export const MAX_COPIED_MESSAGE = 4 * 1024
/** As above, while a callback is corked: as much as µWebSockets puts together for one write. */
export const MAX_CORKED_MESSAGE = 16 * 1024

// Between threads: a record of a member's outbox is three words (bytes of the topic, bytes of the payload,
// flags), then both; one of its inbox four words (kind, topic's number, flags, length), then the payload.
// Both are padded to a whole word.
export const PUBLICATION_HEADER_WORDS = 3
export const ARRIVAL_HEADER_WORDS = 4

export enum ThreadEvent {
  arrival = 1,
  /** The length is the index of an attachment, and no bytes follow. */
  arrivalAttached = 2,
  /** The length says how many messages were dropped. */
  lost = 3,
}

/** The payload is text; C++ makes a string of a long one. The other flags are the member's own. */
export const TEXT_FLAG = 1
