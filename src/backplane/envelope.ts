/**
 * What goes between the members of a backplane: messages of one topic, by one server, behind one head.
 *
 * All numbers are big-endian.
 *
 * | byte | content |
 * | --- | --- |
 * | 0 | `NW` |
 * | 2 | version: 1 |
 * | 3 | bit 0: the link's own messages, in JSON; bit 1: the numbers of this topic begin here |
 * | 3 | bits 2 to 7: which numbering of the topic it is, so that one that has begun anew is another one |
 * | 4 | id of the server that has published |
 * | 12 | number of the first message: for each topic of each server, from 1 on, without a gap |
 * | 18 | how many messages follow: 0 where it only says which number the next one will have |
 * | 22 | when the envelope was begun, in milliseconds since 1970 |
 * | 28 | epoch and offset (8 bytes each) in a history of the topic: 0 where there is none, as yet always |
 * | 44 | for each message: flags (bit 0: text; bit 1: compress; bit 2: do not), length (4 bytes), payload |
 */
import { Buffer } from 'node:buffer'
import { bufferOver, byteLengthOf, plainView } from '../util/bytes.js'
import type { BackplaneEnvelope } from './contract.js'

/** The topic of the link's own messages, without which a server knows of no other: users' are never empty. */
export const OWN_TOPIC = ''
const MAGIC = 0x4e57
export const ENVELOPE_VERSION = 1
export const ID_BYTES = 8
export const HEAD_BYTES = 44
const LENGTH_BYTES = 4
/** Before the payload of each message: flags and length. */
export const MESSAGE_HEAD_BYTES = 1 + LENGTH_BYTES

const AT = { version: 2, kind: 3, origin: 4, sequence: 12, messages: 18, time: 22 } as const
/** Of sequences and times: 48 bits, which a number holds exactly. */
const WIDE = 6
const KIND = { control: 1, restart: 2, numbering: 4 } as const
/** Numberings that are told apart. */
export const NUMBERINGS = 64
const FLAG = { text: 1, compress: 2, plain: 4 } as const

export interface EnvelopeHead {
  /** In hexadecimal. */
  readonly origin: string
  readonly isControl: boolean
  /** Whether a gap before `sequence` means nothing. */
  readonly isRestart: boolean
  /** 0 to NUMBERINGS - 1: another one than before where the publisher has begun to number the topic anew. */
  readonly numbering: number
  readonly sequence: number
  readonly messages: number
  /** Milliseconds since 1970, by the clock of the sender. */
  readonly time: number
}

/** A message as it came in. */
export type ReadMessage = (payload: Buffer, isText: boolean, compress: boolean | undefined) => void

/** Bytes of a payload in an envelope, without the head of the message. */
export function encodedLength(payload: string | Uint8Array): number {
  return typeof payload === 'string' ? Buffer.byteLength(payload) : byteLengthOf(payload)
}

/** The same, or up to three times as much: without a look at each character. */
export function mostEncodedLength(payload: string | Uint8Array): number {
  return typeof payload === 'string' ? 3 * payload.length : byteLengthOf(payload)
}

/** The number of the next message of a topic. */
export interface NextNumber {
  readonly sequence: number
  /** Whether the topic is new, or its numbers were forgotten. */
  readonly isRestart: boolean
  /** As in EnvelopeHead. */
  readonly numbering: number
}

/** Collects messages of one topic. */
export class EnvelopeWriter {
  readonly topic: string
  readonly sequence: number
  readonly numbering: number
  /** When it was begun, by `Date.now()`. */
  readonly time = Date.now()
  messages = 0
  #memory: Buffer
  #length = HEAD_BYTES

  /** `id` has ID_BYTES bytes; `expected`: bytes of the first message, for which there will be room. */
  constructor(topic: string, id: Uint8Array, number: NextNumber, expected: number) {
    const { sequence, isRestart, numbering } = number
    this.topic = topic
    this.sequence = sequence
    this.numbering = numbering
    this.#memory = Buffer.allocUnsafe(HEAD_BYTES + MESSAGE_HEAD_BYTES + expected)
    const head = this.#memory.fill(0, 0, HEAD_BYTES)
    head.writeUInt16BE(MAGIC, 0)
    head[AT.version] = ENVELOPE_VERSION
    head[AT.kind] = (topic === OWN_TOPIC ? KIND.control : 0) | (isRestart ? KIND.restart : 0) | (numbering * KIND.numbering)
    head.set(id, AT.origin)
    head.writeUIntBE(sequence, AT.sequence, WIDE)
    head.writeUIntBE(this.time, AT.time, WIDE)
  }

  /** Bytes so far. */
  get length(): number {
    return this.#length
  }

  /** Bytes of memory. */
  get size(): number {
    return this.#memory.length
  }

  /** The whole envelope. Nothing may be added afterwards. */
  get data(): Uint8Array {
    this.#memory.writeUInt32BE(this.messages, AT.messages)
    const data = this.#memory.subarray(0, this.#length)
    // From here on its bytes alone are counted: room that it has not needed is not to be kept with it.
    return this.#memory.length > 2 * this.#length ? Buffer.from(data) : data
  }

  /**
   * `room` is what `encodedLength` says of the payload, or more; `expected` how many bytes the envelope will
   * not exceed with further messages.
   */
  add(payload: string | Uint8Array, room: number, isText: boolean, compress: boolean | undefined, expected: number): void {
    let at = this.#length
    const end = at + MESSAGE_HEAD_BYTES + room
    if (end > this.#memory.length) {
      // Four times as much: a topic of which two messages come in one turn usually has more.
      const larger = Buffer.allocUnsafe(Math.max(end, Math.min(4 * end, expected)))
      this.#memory.copy(larger, 0, 0, at)
      this.#memory = larger
    }
    const memory = this.#memory
    memory[at++] = (isText ? FLAG.text : 0) | (compress === undefined ? 0 : compress ? FLAG.compress : FLAG.plain)
    const begin = at + LENGTH_BYTES
    let length = room
    if (typeof payload === 'string') length = memory.write(payload, begin, 'utf8')
    else memory.set(plainView(payload), begin)
    memory.writeUInt32BE(length, at)
    this.#length = begin + length
    this.messages += 1
  }
}

/** Reads the head; undefined for what is no envelope of ours, and the number of a version other than ours. */
export function readHead(data: Buffer): EnvelopeHead | number | undefined {
  if (data.length < HEAD_BYTES || data.readUInt16BE(0) !== MAGIC) return undefined
  const version = data[AT.version] ?? 0
  if (version !== ENVELOPE_VERSION) return version
  const kind = data[AT.kind] ?? 0
  return {
    origin: data.toString('hex', AT.origin, AT.origin + ID_BYTES),
    isControl: (kind & KIND.control) !== 0,
    isRestart: (kind & KIND.restart) !== 0,
    numbering: Math.floor(kind / KIND.numbering),
    sequence: data.readUIntBE(AT.sequence, WIDE),
    messages: data.readUInt32BE(AT.messages),
    time: data.readUIntBE(AT.time, WIDE),
  }
}

/** Whether as many whole messages follow the head as it says. */
export function isWhole(data: Buffer, messages: number): boolean {
  let at = HEAD_BYTES
  for (let index = 0; index < messages; index++) {
    if (at + MESSAGE_HEAD_BYTES > data.length) return false
    at += MESSAGE_HEAD_BYTES + data.readUInt32BE(at + 1)
  }
  return at === data.length
}

/** Reads the messages of an envelope that is whole, but for the first `skipped`. */
export function readMessages(data: Buffer, messages: number, skipped: number, read: ReadMessage): void {
  let at = HEAD_BYTES
  for (let index = 0; index < messages; index++) {
    const flags = data[at] ?? 0
    const begin = at + MESSAGE_HEAD_BYTES
    at = begin + data.readUInt32BE(at + 1)
    if (index < skipped) continue
    const compress = (flags & FLAG.compress) !== 0 ? true : (flags & FLAG.plain) !== 0 ? false : undefined
    read(data.subarray(begin, at), (flags & FLAG.text) !== 0, compress)
  }
}

/**
 * The same messages in envelopes of at most so many bytes, where they can be: a message that alone is longer
 * stays in one of its own. What is none of our envelopes stays as it is.
 */
export function splitEnvelope(envelope: BackplaneEnvelope, most: number): readonly BackplaneEnvelope[] {
  if (envelope.data.length <= most || envelope.messages <= 1) return [envelope]
  const data = bufferOver(envelope.data)
  if (!isWhole(data, envelope.messages)) return [envelope]
  const parts: BackplaneEnvelope[] = []
  let sequence = envelope.sequence
  let messages = 0
  let begin = HEAD_BYTES
  const finish = (end: number) => {
    const part = Buffer.concat([data.subarray(0, HEAD_BYTES), data.subarray(begin, end)])
    part.writeUIntBE(sequence, AT.sequence, WIDE)
    part.writeUInt32BE(messages, AT.messages)
    // The numbers begin with the first part: what is missing before a later one counts.
    if (parts.length > 0) part[AT.kind] = (part[AT.kind] ?? 0) & ~KIND.restart
    parts.push({ topic: envelope.topic, data: part, sequence, messages })
    sequence += messages
    messages = 0
    begin = end
  }
  for (let at = HEAD_BYTES; at < data.length; ) {
    const next = at + MESSAGE_HEAD_BYTES + data.readUInt32BE(at + 1)
    if (messages > 0 && HEAD_BYTES + next - begin > most) finish(at)
    messages += 1
    at = next
  }
  finish(data.length)
  return parts
}
