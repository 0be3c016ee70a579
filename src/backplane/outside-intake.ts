/**
 * The gateway's end of the threads' ways to the outside: takes their frames, this thread's own included,
 * gives the envelopes to the outside, and says to each thread which are done with.
 */
import { Fifo } from '../util/fifo.js'
import type { BackplaneEngine, BackplaneEnvelope } from './contract.js'
import { splitEnvelope } from './envelope.js'
import { MAX_ENVELOPES } from './outbox.js'
import type { Frame, Reply } from './outside-frames.js'
import { reasonOf } from './session-engine.js'

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
  /** What the outside has, which is not always what came: long envelopes are split. */
  readonly #origins = new WeakMap<BackplaneEnvelope, Item>()
  /** Those that are to be told what is done with. */
  readonly #due = new Set<Sender>()
  #timer: NodeJS.Timeout | undefined
  readonly #underWay = new Set<Promise<void>>()
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
    const item = this.#origins.get(part)
    if (item === undefined || item.isDone) return
    this.#origins.delete(part)
    item.refused += part.messages
    this.#refuse(item, part.messages, why)
  }

  /** A thread that has ended. */
  forget(id: string): void {
    this.#senders.delete(id)
  }

  /** Resolves when the outside has done with all that it was given before. */
  async settled(): Promise<void> {
    await Promise.allSettled([...this.#underWay])
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
    const parts: BackplaneEnvelope[] = []
    for (const item of items) {
      item.sender.items.push(item)
      for (const part of splitEnvelope(item.frame.envelope, outside.maxEnvelopeBytes)) {
        this.#origins.set(part, item)
        parts.push(part)
      }
    }
    const result = outside.publish(parts)
    if (result === undefined) {
      for (const item of items) this.#done(item)
      return
    }
    const work = result.then(
      () => {
        for (const item of items) this.#done(item)
      },
      (cause: unknown) => {
        // Such an engine rejects all that it may not have sent, from the first on.
        if (outside.isReplayed && !this.#isClosed) for (const { sender } of items) this.#askAgain(sender)
        else for (const item of items) this.#fail(item, `has not sent it: ${reasonOf(cause)}`)
      },
    )
    this.#underWay.add(work)
    void work.finally(() => this.#underWay.delete(work))
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
