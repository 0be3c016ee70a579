/** A server's place in the hub of its process: what it publishes and receives passes through the addon. */
import type { Buffer } from 'node:buffer'
import type { Payload, ThreadMember, ThreadMemberEvents, ThreadMemberOptions } from '../contract.js'
import type { Addon, AddonThreadMember } from './addon.js'
import { ARRIVAL_HEADER_WORDS, PUBLICATION_HEADER_WORDS, TEXT_FLAG, ThreadEvent } from './channel-layout.js'
import { at, memoryOf, newMemory, readBytes, readText, sizeOf, wordsOf, writeBytes, writeText } from './channel-memory.js'

/** Bytes of what is published and not sent yet. A full one is sent at once. */
const OUTBOX_SIZE = 128 * 1024
/**
 * Bytes of what one call delivers, after which the loop goes on to other events: about 0.5 ms of messages of
 * 100 bytes.
 */
const INBOX_SIZE = 128 * 1024
/** UTF-16 units or bytes of topic and payload together, above which a message passes beside the outbox. */
const LONGEST_COPIED = 8 * 1024
/** A UTF-16 unit takes up to so many bytes in UTF-8. */
const BYTES_PER_UNIT = 3

export class NativeThreadMember implements ThreadMember {
  readonly ready = Promise.resolve()
  readonly #member: AddonThreadMember
  readonly #events: ThreadMemberEvents
  readonly #outbox = newMemory(OUTBOX_SIZE)
  readonly #outboxWords = wordsOf(this.#outbox)
  /** Where the next record of the outbox goes, in words. */
  #outboxEnd = 0
  readonly #inbox = newMemory(INBOX_SIZE)
  readonly #inboxWords = wordsOf(this.#inbox)
  readonly #attachments: unknown[] = []
  /** What is wanted, by number. A number is never used again: what is late for it finds no topic. */
  readonly #topics = new Map<number, string>()
  readonly #numbers = new Map<string, number>()
  #lastNumber = 0
  #isClosed = false

  constructor(addon: Addon, { hub, maxPendingBytes }: ThreadMemberOptions, events: ThreadMemberEvents) {
    this.#events = events
    this.#member = new addon.ThreadMember(hub, maxPendingBytes, {
      outbox: memoryOf(this.#outbox),
      inbox: memoryOf(this.#inbox),
      attachments: this.#attachments,
      deliver: (words) => this.#deliver(words),
    })
  }

  addInterest(topic: string): void {
    if (this.#numbers.has(topic)) return
    do this.#lastNumber = (this.#lastNumber + 1) >>> 0
    while (this.#topics.has(this.#lastNumber))
    this.#topics.set(this.#lastNumber, topic)
    this.#numbers.set(topic, this.#lastNumber)
    this.#member.addInterest(topic, this.#lastNumber)
  }

  removeInterest(topic: string): void {
    const number = this.#numbers.get(topic)
    if (number === undefined) return
    this.#member.removeInterest(topic)
    this.#numbers.delete(topic)
    this.#topics.delete(number)
  }

  publish(topic: string, data: Payload, flags: number): void {
    const size = topic.length + sizeOf(data)
    const tag = (flags << 1) | (typeof data === 'string' ? TEXT_FLAG : 0)
    if (size > LONGEST_COPIED) {
      this.flush()
      this.#member.publishLong(topic, data, tag >>> 0)
      return
    }
    let end = this.#outboxEnd
    if ((end + PUBLICATION_HEADER_WORDS) * 4 + size * BYTES_PER_UNIT > OUTBOX_SIZE) {
      this.flush()
      end = 0
    }
    const words = this.#outboxWords
    const start = (end + PUBLICATION_HEADER_WORDS) * 4
    const topicLength = writeText(this.#outbox, start, topic)
    const place = start + topicLength
    const length =
      typeof data === 'string' ? writeText(this.#outbox, place, data) : writeBytes(this.#outbox, place, data, sizeOf(data))
    words[end] = topicLength
    words[end + 1] = length
    words[end + 2] = tag
    this.#outboxEnd = end + PUBLICATION_HEADER_WORDS + ((topicLength + length + 3) >>> 2)
  }

  flush(): void {
    if (this.#outboxEnd === 0) return
    const end = this.#outboxEnd
    this.#outboxEnd = 0
    this.#member.publish(end)
  }

  close(): void {
    if (this.#isClosed) return
    this.flush()
    this.#isClosed = true
    this.#member.close()
  }

  #deliver(end: number): void {
    const words = this.#inboxWords
    let record = 0
    while (record < end && !this.#isClosed) {
      const kind = at(words, record)
      const number = at(words, record + 1)
      const tag = at(words, record + 2)
      const length = at(words, record + 3)
      record += ARRIVAL_HEADER_WORDS
      const start = record * 4
      if (kind === ThreadEvent.arrival) record += (length + 3) >>> 2
      try {
        this.#dispatch(kind, number, tag, start, length)
      } catch (error) {
        queueMicrotask(() => {
          throw error
        })
      }
    }
    this.#attachments.length = 0
  }

  #dispatch(kind: number, number: number, tag: number, start: number, length: number): void {
    if (kind === ThreadEvent.lost) {
      this.#events.lost(length)
      return
    }
    const topic = this.#topics.get(number)
    if (topic === undefined) return
    // C++ attaches a string or a Buffer.
    if (kind === ThreadEvent.arrivalAttached) this.#events.arrival(topic, this.#attachments[length] as string | Buffer, tag >>> 1)
    else if ((tag & TEXT_FLAG) !== 0) this.#events.arrival(topic, readText(this.#inbox, start, length), tag >>> 1)
    else this.#events.arrival(topic, readBytes(this.#inbox, start, length), tag >>> 1)
  }
}
