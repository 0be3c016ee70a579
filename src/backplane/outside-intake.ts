/**
 * The gateway's end of the threads' ways to the outside: takes their frames, this thread's own included,
 * gives the envelopes to the outside, and says to each thread which are done with.
 */
import { Fifo } from '../util/fifo.js'
import type { BackplaneEngine, BackplaneEnvelope } from './contract.js'
import { splitEnvelope } from './envelope.js'
import { MAX_ENVELOPES } from './outbox.js'
import type { Frame, Reply } from './outside-frames.js'
import { reasonOf } from './reasons.js'

/**
 * Milliseconds in which a thread hears what was taken of it: where it is in no hurry, one reply for all of
 * them costs both threads next to nothing.
 */
const REPLY_INTERVAL = 20

interface Sender {
  readonly id: string
  /** The number of the next frame; undefined: only a first one is taken. */
  next: number | undefined
  /** Whether it is told already that frames are to come again. */
  isAsked: boolean
  /** Given to the outside, and not done with, or not told; the oldest first. */
  readonly items: Fifo<Item>
}

interface Item {
  readonly sender: Sender
  readonly frame: Frame
  /** Messages that were dropped. */
  refused: number
  isDone: boolean
}

/** What the outside was given in one call. */
interface Batch {
  readonly items: readonly Item[]
  /** The envelopes, of which long ones are split, and what each comes from. */
  readonly parts: BackplaneEnvelope[]
  readonly origins: Item[]
  work: Promise<void> | undefined
}

export interface OutsideIntakeOwner {
  /** This thread: it is replied to at once. */
  readonly id: string
  /** Undefined while it is not up. */
  readonly outside: BackplaneEngine | undefined
  reply(to: string, reply: Reply): void
}

export class OutsideIntake {
  readonly #owner: OutsideIntakeOwner
  readonly #senders = new Map<string, Sender>()
  #batch: Item[] = []
  #isFlushDue = false
  /** Those that are to be told what is done with. */
  readonly #due = new Set<Sender>()
  #timer: NodeJS.Timeout | undefined
  readonly #underWay = new Set<Batch>()
  /** Envelopes that the outside has done with. */
  taken = 0
  #isClosed = false

  constructor(owner: OutsideIntakeOwner) {
    this.#owner = owner
  }

  /** Of one thread. What comes within a delivery leaves together. */
  take(frame: Frame): void {
    if (this.#isClosed) return
    const { from, number, isFirst } = frame
    let sender = this.#senders.get(from)
    if (sender === undefined) {
      sender = { id: from, next: undefined, isAsked: false, items: new Fifo() }
      this.#senders.set(from, sender)
    }
    if (!isFirst && number !== sender.next) {
      this.#askAgain(sender)
      return
    }
    if (isFirst) sender.items.clear()
    sender.next = number + 1
    sender.isAsked = false
    this.#batch.push({ sender, frame, refused: 0, isDone: false })
    if (this.#isFlushDue) return
    this.#isFlushDue = true
    queueMicrotask(() => this.flush())
  }

  flush(): void {
    this.#isFlushDue = false
    for (let batch = this.#batch; batch.length > 0; batch = this.#batch) {
      this.#batch = batch.slice(MAX_ENVELOPES)
      this.#give(batch.slice(0, MAX_ENVELOPES))
    }
  }

  /** Frames may have been lost on their way here. */
  askAll(): void {
    for (const sender of this.#senders.values()) this.#askAgain(sender)
  }

  /** The outside has dropped one of the envelopes. */
  refused(part: BackplaneEnvelope, why: string): void {
    for (const { parts, origins } of this.#underWay) {
      const item = origins[parts.indexOf(part)]
      if (item === undefined) continue
      item.refused += part.messages
      this.#refuse(item, part.messages, why)
      return
    }
  }

  /** A thread that has ended. */
  forget(id: string): void {
    this.#senders.delete(id)
  }

  /** Resolves when the outside has done with all that it was given before. */
  async settled(): Promise<void> {
    await Promise.allSettled([...this.#underWay].map(({ work }) => work))
  }

  /** Another thread is the gateway from now on. What the outside has done with is told. */
  close(): void {
    this.tellDue()
    this.#isClosed = true
    this.#batch = []
  }

  #give(items: readonly Item[]): void {
    const { outside } = this.#owner
    if (outside === undefined) {
      // The thread has not heard of it yet: what it does then is its own choice.
      for (const { sender } of items) this.#askAgain(sender)
      return
    }
    const batch: Batch = { items, parts: [], origins: [], work: undefined }
    for (const item of items) {
      item.sender.items.push(item)
      for (const part of splitEnvelope(item.frame.envelope, outside.maxEnvelopeBytes)) {
        batch.parts.push(part)
        batch.origins.push(item)
      }
    }
    // What it refuses at once, too, is found there.
    this.#underWay.add(batch)
    const isDone = () => {
      this.#underWay.delete(batch)
      for (const item of items) this.#done(item)
    }
    const result = outside.publish(batch.parts)
    if (result === undefined) isDone()
    else batch.work = result.then(isDone, (cause: unknown) => this.#rejected(batch, outside, cause))
  }

  #rejected(batch: Batch, { isReplayed }: BackplaneEngine, cause: unknown): void {
    this.#underWay.delete(batch)
    for (const item of batch.items) {
      // One that replays rejects all that it may not have sent, from the first on.
      if (isReplayed && !this.#isClosed) this.#askAgain(item.sender)
      else this.#fail(item, `may not have sent it: ${reasonOf(cause)}`)
    }
  }

  #askAgain(sender: Sender): void {
    sender.next = undefined
    if (sender.isAsked) return
    sender.isAsked = true
    sender.items.clear()
    this.#tell(sender, { say: 'again' })
  }

  #fail(item: Item, why: string): void {
    this.#refuse(item, item.frame.envelope.messages - item.refused, why)
    this.#done(item)
  }

  #refuse({ sender, frame }: Item, messages: number, why: string): void {
    if (messages > 0) this.#tell(sender, { say: 'refused', number: frame.number, messages, why })
  }

  #done(item: Item): void {
    item.isDone = true
    this.taken += 1
    const { sender, frame } = item
    this.#due.add(sender)
    if (frame.isUrgent || sender.id === this.#owner.id) this.#tellTaken(sender)
    else this.#timer ??= setTimeout(() => this.tellDue(), REPLY_INTERVAL).unref()
  }

  /** To each thread what was not told yet. */
  tellDue(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    for (const sender of this.#due) this.#tellTaken(sender)
  }

  #tellTaken(sender: Sender): void {
    this.#due.delete(sender)
    let number: number | undefined
    for (let item = sender.items.first; item?.isDone; item = sender.items.first) {
      number = item.frame.number
      sender.items.shift()
    }
    if (number !== undefined) this.#tell(sender, { say: 'taken', number })
  }

  #tell(sender: Sender, reply: Reply): void {
    if (!this.#isClosed) this.#owner.reply(sender.id, reply)
  }
}
