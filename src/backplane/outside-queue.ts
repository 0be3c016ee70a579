/**
 * What a thread has for the outside: kept until the gateway says that the outside has it, and sent again
 * where another thread becomes the gateway. What comes twice then, the links of the receivers leave out.
 */
import { Fifo } from '../util/fifo.js'
import type { BackplaneEnvelope } from './contract.js'
import { OWN_TOPIC } from './envelope.js'
import { costOf, MAX_ENVELOPES_IN_FLIGHT, MAX_IN_FLIGHT } from './outbox.js'
import type { Frame, Reply } from './outside-frames.js'

/**
 * - `hold`: there is no gateway, or it is not connected yet: what is published waits.
 * - `send`: it goes to the gateway.
 * - `drop`: the outside is down, and replays nothing.
 */
export type QueueState = 'hold' | 'send' | 'drop'

/**
 * Bytes and envelopes behind which the gateway is to say at once what it has done with. Envelopes that wait
 * for longer than a few milliseconds outlive the young generation of the garbage collector: when all were
 * kept for 20 ms, an envelope of 100 messages cost 40 µs more.
 */
const URGENT_BYTES = 65_536
const URGENT_ENVELOPES = 64

export interface OutsideQueueOwner {
  /** The member's own id. */
  readonly id: string
  /** To the gateway. It may reply before this returns. */
  send(frames: readonly Frame[]): void
  drop(envelope: BackplaneEnvelope, why: string): void
}

export class OutsideQueue {
  readonly #owner: OutsideQueueOwner
  readonly #limit: number
  readonly #waiting = new Fifo<BackplaneEnvelope>()
  /** The gateway has them, and has not said that they are done with. Their numbers end with the last one. */
  readonly #sent = new Fifo<BackplaneEnvelope>()
  /** The numbers of those among them that were dropped since. */
  readonly #refused = new Set<number>()
  /** Behind the last urgent one. */
  #calmBytes = 0
  #calmEnvelopes = 0
  #waitingBytes = 0
  #sentBytes = 0
  #lastNumber = 0
  /** The next frame is the first that this gateway gets, or gets again. */
  #isFirst = true
  #state: QueueState = 'hold'
  #isSending = false
  #emptied: (() => void) | undefined

  /** `limit` is what may be kept, in bytes of memory. */
  constructor(owner: OutsideQueueOwner, limit: number) {
    this.#owner = owner
    this.#limit = limit
  }

  /** Envelopes that the gateway has done with. */
  taken = 0
  /** Members that send by way of the same gateway, this one included: they share what may be on its way. */
  members = 1

  get isEmpty(): boolean {
    return this.#waiting.length === 0 && this.#sent.length === 0
  }

  /** Bytes of memory of what is kept. */
  get bytes(): number {
    return this.#waitingBytes + this.#sentBytes
  }

  publish(envelopes: readonly BackplaneEnvelope[]): void {
    for (const envelope of envelopes) {
      if (this.#state === 'drop') this.#drop(envelope, 'is down')
      // The link's own messages are said again; a question that waits would come too late.
      else if (this.#state === 'send' || envelope.topic !== OWN_TOPIC) this.#keep(envelope)
    }
    this.#send()
    while (this.#waiting.length > 1 && this.bytes > this.#limit) this.#drop(this.#shift(), 'is too slow')
  }

  /** Another gateway, or none: what the last one has not done is to be sent again. */
  again(): void {
    this.#isFirst = true
    if (this.#sent.length === 0) return
    const first = this.#firstNumber
    const older = this.#sent.toArray().filter((_, index) => !this.#refused.has(first + index))
    const younger = this.#waiting.toArray()
    for (const fifo of [this.#sent, this.#waiting]) fifo.clear()
    this.#waitingBytes = 0
    this.#sentBytes = 0
    this.#refused.clear()
    for (const envelope of [...older, ...younger]) if (envelope.topic !== OWN_TOPIC) this.#keep(envelope)
  }

  become(state: QueueState): void {
    this.#state = state
    if (state === 'drop') this.#dropWaiting('is down')
    this.#send()
    this.#tellEmptied()
  }

  /** What the gateway says. */
  heard(reply: Reply): void {
    if (reply.say === 'again') {
      this.again()
      if (this.#state === 'drop') this.#dropWaiting('is down')
    } else if (reply.say === 'taken') {
      while (this.#sent.length > 0 && this.#firstNumber <= reply.number) this.#done()
    } else this.#refuse(reply.number, reply.messages, reply.why)
    this.#send()
    this.#tellEmptied()
  }

  /** Resolves when nothing is kept any more. */
  async emptied(): Promise<void> {
    if (this.isEmpty) return
    await new Promise<void>((resolve) => {
      this.#emptied = resolve
    })
  }

  /** Drops all that is kept. */
  close(): void {
    this.#state = 'drop'
    this.again()
    this.#dropWaiting('has not confirmed it in time')
  }

  #keep(envelope: BackplaneEnvelope): void {
    this.#waiting.push(envelope)
    this.#waitingBytes += costOf(envelope.topic, envelope.data.length)
  }

  /** The oldest of those that wait, of which there is one at least. */
  #shift(): BackplaneEnvelope | undefined {
    const envelope = this.#waiting.shift()
    if (envelope !== undefined) this.#waitingBytes -= costOf(envelope.topic, envelope.data.length)
    return envelope
  }

  get #firstNumber(): number {
    return this.#lastNumber - this.#sent.length + 1
  }

  #done(): void {
    this.taken += 1
    if (this.#refused.size > 0) this.#refused.delete(this.#firstNumber)
    const envelope = this.#sent.shift()
    if (envelope !== undefined) this.#sentBytes -= costOf(envelope.topic, envelope.data.length)
  }

  #refuse(number: number, messages: number, why: string): void {
    const envelope = this.#sent.toArray()[number - this.#firstNumber]
    if (envelope === undefined || this.#refused.has(number)) return
    const isAll = messages === envelope.messages
    if (isAll) this.#refused.add(number)
    this.#drop(isAll ? envelope : { ...envelope, messages }, why)
  }

  #drop(envelope: BackplaneEnvelope | undefined, why: string): void {
    if (envelope !== undefined && envelope.topic !== OWN_TOPIC)
      this.#owner.drop(envelope, `what is outside of the process ${why}`)
  }

  #dropWaiting(why: string): void {
    while (this.#waiting.length > 0) this.#drop(this.#shift(), why)
  }

  #tellEmptied(): void {
    if (this.isEmpty) this.#emptied?.()
  }

  #isUrgent(cost: number, room: number): boolean {
    this.#calmBytes += cost
    this.#calmEnvelopes += 1
    if (this.#calmBytes < URGENT_BYTES && this.#calmEnvelopes < URGENT_ENVELOPES && this.#sentBytes < room / 2) return false
    this.#calmBytes = 0
    this.#calmEnvelopes = 0
    return true
  }

  /** As much as may be on its way: the rest waits here, where the oldest can be dropped. */
  #send(): void {
    if (this.#isSending) return
    this.#isSending = true
    while (this.#state === 'send') {
      const frames = this.#frames()
      if (frames.length === 0) break
      this.#owner.send(frames)
    }
    this.#isSending = false
  }

  #frames(): Frame[] {
    const room = Math.min(MAX_IN_FLIGHT, this.#limit / 2) / this.members
    const most = MAX_ENVELOPES_IN_FLIGHT / this.members
    const frames: Frame[] = []
    for (let next = this.#waiting.first; next !== undefined; next = this.#waiting.first) {
      const cost = costOf(next.topic, next.data.length)
      // One is always taken, however long it is.
      if (this.#sent.length > 0 && (this.#sentBytes + cost > room || this.#sent.length >= most)) break
      this.#shift()
      const number = ++this.#lastNumber
      this.#sent.push(next)
      this.#sentBytes += cost
      const isUrgent = this.#isUrgent(cost, room)
      frames.push({ from: this.#owner.id, number, isFirst: this.#isFirst, isUrgent, envelope: next })
      this.#isFirst = false
    }
    return frames
  }
}
