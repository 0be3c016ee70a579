/**
 * What waits to leave for the backplane. Messages are put into envelopes as they are published, one for each
 * topic and turn, so that they are copied once; beyond a limit the oldest envelopes are dropped.
 *
 * Long because the bytes that wait are counted wherever an envelope is made, taken, given back or dropped.
 */
import { Fifo } from '../util/fifo.js'
import type { BackplaneEnvelope } from './contract.js'
import {
  EnvelopeWriter,
  encodedLength,
  HEAD_BYTES,
  MESSAGE_HEAD_BYTES,
  mostEncodedLength,
  type NextNumber,
  NUMBERINGS,
  OWN_TOPIC,
} from './envelope.js'

/** Bytes beyond which an envelope gets no further message, so that a drop loses few: at most. */
const FULL_ENVELOPE = 65_536
/**
 * Bytes that an engine may have without having sent them, or half of `maxPendingBytes`: enough for 80
 * MB/s at 50 ms to the broker. The rest waits where the oldest can be dropped.
 */
export const MAX_IN_FLIGHT = 4 * 1024 * 1024
/**
 * Envelopes of one call, and those that an engine may have without having sent them: for each, clients keep
 * an object or two of hundreds of bytes, beside the few bytes that there may be in it.
 */
export const MAX_ENVELOPES = 1000
export const MAX_ENVELOPES_IN_FLIGHT = 4 * MAX_ENVELOPES
/**
 * Bytes of memory that an envelope takes beside its data and its topic: writer, Buffer, and their places in
 * the queue and among the open ones. Measured as 195 to 217 of the heap, and 6 beside it, with 200,000 of
 * them in an Outbox, on Node.js 20 with 64 bits.
 */
const ENVELOPE_COST = 256
/** Part of the limit up to which an envelope has room at once. */
const MOST_SPARE = 1 / 8
/** Topics whose numbers are remembered: at least as many, and at most twice. */
const MAX_NUMBERED_TOPICS = 65_536
/** Of these, the most whose numbers are told at once: each is an envelope of its own. */
const MAX_TOLD_TOPICS = 10_000
/** Part of the limit beyond which they wait: no message is to be dropped for them. */
const MOST_TOLD = 1 / 2

/** What is known of a topic. */
interface Numbered {
  /** The number of its last message. */
  last: number
  readonly numbering: number
  /** When its last envelope was begun, by `Date.now()`. */
  time: number
  /**
   * For which the next envelope will have room: a little more than the last one had, if there were several
   * messages in it. Memory that grows is copied.
   */
  bytes: number
}

/** Numbers the messages of each topic. Topics that were not used for long are forgotten. */
class Numbers {
  #young = new Map<string, Numbered>()
  #old = new Map<string, Numbered>()
  /** No topic has had a larger number than this. */
  #highest = 0
  /** How often topics were forgotten, modulo NUMBERINGS. */
  #numbering = 0
  #hasForgotten = false

  next(topic: string): NextNumber & { readonly bytes: number } {
    const known = this.#young.get(topic) ?? this.#old.get(topic)
    if (known !== undefined) return { sequence: known.last + 1, isRestart: false, numbering: known.numbering, bytes: known.bytes }
    // Higher than all before: what was forgotten cannot come again under the same number.
    return { sequence: this.#highest + 1, isRestart: true, numbering: this.#numbering, bytes: 0 }
  }

  used(topic: string, last: number, numbering: number, time: number, bytes: number): void {
    const known = this.#young.get(topic)
    if (known !== undefined) {
      known.last = last
      known.time = time
      known.bytes = bytes
      return
    }
    this.#young.set(topic, { last, numbering, time, bytes })
    if (this.#young.size < MAX_NUMBERED_TOPICS) return
    for (const { last: number } of this.#young.values()) if (number > this.#highest) this.#highest = number
    this.#hasForgotten ||= this.#old.size > 0
    this.#old = this.#young
    this.#young = new Map()
    this.#numbering = (this.#numbering + 1) % NUMBERINGS
  }

  /** Topics that were used last between two times, the latest first: of many, MAX_TOLD_TOPICS of them. */
  usedBetween(since: number, until: number): readonly string[] {
    const used = new Map<string, number>()
    for (const [topic, { time }] of this.#old) if (time >= since && time <= until) used.set(topic, time)
    for (const [topic, { time }] of this.#young) {
      // One that is in both was used since it is old.
      if (time >= since && time <= until) used.set(topic, time)
      else used.delete(topic)
    }
    // Numbers alone are sorted in a tenth of the time.
    const first = Float64Array.from(used.values()).sort()[used.size - MAX_TOLD_TOPICS] ?? since
    const latest = [...used].filter(([, time]) => time >= first).sort(([, one], [, other]) => other - one)
    return latest.slice(0, MAX_TOLD_TOPICS).map(([topic]) => topic)
  }

  /** Whether others may know the topic, though it has no number here. */
  get hasForgotten(): boolean {
    return this.#hasForgotten
  }
}

/** Bytes of memory that an envelope with so many bytes of data takes, where nothing else has the topic. */
export function costOf(topic: string, bytes: number): number {
  return ENVELOPE_COST + topic.length + bytes
}

/** Messages of users: the link's own have no topic, and are said again. */
function counted(envelope: { readonly topic: string; readonly messages: number } | undefined): number {
  return envelope === undefined || envelope.topic === OWN_TOPIC ? 0 : envelope.messages
}

export class Outbox {
  readonly #id: Uint8Array
  readonly #limit: number
  readonly #fullEnvelope: number
  readonly #numbers = new Numbers()
  /** Those that still get messages, by topic: they are in the queue, too. */
  readonly #open = new Map<string, EnvelopeWriter>()
  readonly #queue = new Fifo<EnvelopeWriter>()
  /** What the engine has not sent, and is to get again before the queue. */
  #again = new Fifo<BackplaneEnvelope>()
  /** The same, from before what is in `again`: it was taken from there, and came back. */
  #returned = new Fifo<BackplaneEnvelope>()
  /** Topics of which the numbers are to be told as soon as there is room. */
  readonly #untold = new Set<string>()
  #queuedBytes = 0
  /** Of both. */
  #againBytes = 0
  /** Bytes of memory of what the engine has, and that count against the limit. */
  inFlight = 0
  /** Envelopes that the engine has. */
  envelopesInFlight = 0
  /** Messages that were dropped for want of room. */
  dropped = 0

  /** `id` has ID_BYTES bytes. `limit` is in bytes. */
  constructor(id: Uint8Array, limit: number) {
    this.#id = id
    this.#limit = limit
    this.#fullEnvelope = Math.min(FULL_ENVELOPE, limit / 8)
  }

  get isEmpty(): boolean {
    return this.#isTaken && this.#untold.size === 0
  }

  get #isTaken(): boolean {
    return this.#queue.length === 0 && this.#again.length === 0 && this.#returned.length === 0
  }

  /** Bytes of memory of what waits here, and with the engine. */
  get bytes(): number {
    return this.#queuedBytes + this.#againBytes + this.inFlight
  }

  /** False, and nothing is done, when the message alone would make an envelope larger than `maxEnvelope`. */
  add(topic: string, payload: string | Uint8Array, isText: boolean, compress: boolean | undefined, maxEnvelope: number): boolean {
    const open = this.#open.get(topic)
    const full = Math.min(this.#fullEnvelope, maxEnvelope)
    const most = mostEncodedLength(payload)
    if (open !== undefined && open.length + MESSAGE_HEAD_BYTES + most <= Math.min(full, open.size)) {
      // The usual case: there is room, and the text need not be counted before it is written.
      this.#write(open, payload, most, isText, compress)
    } else {
      const length = encodedLength(payload)
      if (HEAD_BYTES + MESSAGE_HEAD_BYTES + length > maxEnvelope) return false
      const isFull = open !== undefined && open.length + MESSAGE_HEAD_BYTES + length > full
      if (isFull) this.#finish(open)
      const envelope = open === undefined || isFull ? this.#begin(topic, length) : open
      this.#write(envelope, payload, length, isText, compress)
    }
    if (this.bytes > this.#limit) this.#dropOldest()
    return true
  }

  /**
   * A message of the topic is dropped before it comes here: its number goes with it, so that others notice. A
   * topic that is new has none to go: others have no number of it to compare with, so they do not notice, and
   * the drop is told here alone.
   */
  skip(topic: string): void {
    const open = this.#open.get(topic)
    if (open !== undefined) this.#finish(open)
    const { sequence, isRestart, numbering } = this.#numbers.next(topic)
    if (!isRestart || this.#numbers.hasForgotten) this.#numbers.used(topic, sequence, numbering, Date.now(), 0)
  }

  /**
   * An envelope without messages goes out for each topic that was used last between two times, of
   * `Date.now()`: it says where the numbers are, to those who have missed messages and would get no further
   * one. Those for which there is no room follow, as `take` makes room.
   */
  tellNumbers(since: number, until: number): void {
    for (const topic of this.#numbers.usedBetween(since, until)) if (topic !== OWN_TOPIC) this.#untold.add(topic)
    this.#tellUntold()
  }

  /**
   * Takes envelopes of about `room` bytes of memory, and at most `most`, the oldest first; at least one, if
   * there is one.
   */
  take(room: number, most = Number.POSITIVE_INFINITY): BackplaneEnvelope[] {
    this.#tellUntold()
    const taken: BackplaneEnvelope[] = []
    let bytes = 0
    while (taken.length === 0 || (bytes < room && taken.length < most)) {
      const again = this.#shiftAgain()
      if (again !== undefined) {
        bytes += costOf(again.topic, again.data.length)
        taken.push(again)
        continue
      }
      const envelope = this.#shift()
      if (envelope === undefined) break
      bytes += costOf(envelope.topic, envelope.size)
      const { topic, sequence, messages, data } = envelope
      taken.push({ topic, sequence, messages, data })
    }
    return taken
  }

  /**
   * Gives back what `take` gave: it is the next to be taken. Envelopes of the last `take` come last, and
   * nothing is taken in between.
   */
  giveBack(envelopes: readonly BackplaneEnvelope[]): void {
    for (const envelope of envelopes) {
      this.#returned.push(envelope)
      this.#againBytes += costOf(envelope.topic, envelope.data.length)
    }
    if (this.bytes > this.#limit) this.#dropOldest()
  }

  /** Drops everything that waits here. Gives how many messages that were, without the link's own. */
  clear(): number {
    let messages = 0
    this.#untold.clear()
    for (let envelope = this.#shiftAgain(); envelope !== undefined; envelope = this.#shiftAgain()) messages += counted(envelope)
    for (let envelope = this.#shift(); envelope !== undefined; envelope = this.#shift()) messages += counted(envelope)
    return messages
  }

  /**
   * Drops the link's own messages that wait here: what was asked of those who were there is not for those
   * who will be.
   */
  clearOwn(): void {
    const waiting = this.#queue.toArray()
    if (!waiting.some(({ topic }) => topic === OWN_TOPIC)) return
    this.#queue.clear()
    this.#open.delete(OWN_TOPIC)
    for (const envelope of waiting) {
      if (envelope.topic === OWN_TOPIC) this.#queuedBytes -= costOf(envelope.topic, envelope.size)
      else this.#queue.push(envelope)
    }
  }

  #tellUntold(): void {
    for (const topic of this.#untold) {
      if (this.bytes > this.#limit * MOST_TOLD && !this.#isTaken) return
      this.#untold.delete(topic)
      if (!this.#open.has(topic)) this.#begin(topic, 0)
    }
  }

  /** `length`: bytes of the first message. */
  #begin(topic: string, length: number): EnvelopeWriter {
    const number = this.#numbers.next(topic)
    // Of the limit, little may go to room that is perhaps not needed: what waits would be dropped for it.
    const usual = this.bytes < this.#limit * MOST_SPARE ? Math.min(number.bytes, this.#fullEnvelope) : 0
    const envelope = new EnvelopeWriter(topic, this.#id, number, Math.max(length, usual))
    this.#open.set(topic, envelope)
    this.#queue.push(envelope)
    this.#queuedBytes += costOf(topic, envelope.size)
    return envelope
  }

  #write(
    envelope: EnvelopeWriter,
    payload: string | Uint8Array,
    room: number,
    isText: boolean,
    compress: boolean | undefined,
  ): void {
    const before = envelope.size
    envelope.add(payload, room, isText, compress, this.#fullEnvelope)
    this.#queuedBytes += envelope.size - before
  }

  #dropOldest(): void {
    while (this.bytes > this.#limit) {
      const oldest = this.#returned.shift() ?? this.#again.shift()
      if (oldest === undefined) break
      this.#againBytes -= costOf(oldest.topic, oldest.data.length)
      this.dropped += counted(oldest)
    }
    // The last one stays: it has just been made, and a limit below one message would let none through.
    while (this.#queue.length > 1 && this.bytes > this.#limit) this.dropped += counted(this.#shift())
  }

  #shiftAgain(): BackplaneEnvelope | undefined {
    if (this.#returned.length > 0) {
      for (const envelope of this.#again.toArray()) this.#returned.push(envelope)
      this.#again = this.#returned
      this.#returned = new Fifo()
    }
    const envelope = this.#again.shift()
    if (envelope !== undefined) this.#againBytes -= costOf(envelope.topic, envelope.data.length)
    return envelope
  }

  #shift(): EnvelopeWriter | undefined {
    const envelope = this.#queue.shift()
    if (envelope === undefined) return undefined
    this.#queuedBytes -= costOf(envelope.topic, envelope.size)
    if (this.#open.get(envelope.topic) === envelope) this.#finish(envelope)
    return envelope
  }

  #finish(envelope: EnvelopeWriter): void {
    const { topic, sequence, messages, numbering, time, length } = envelope
    this.#open.delete(topic)
    // To tell a number is no use of the topic: else what was told once would be told with each later outage.
    if (messages === 0) return
    this.#numbers.used(topic, sequence + messages - 1, numbering, time, messages > 1 ? length + (length >>> 2) : 0)
  }
}
