/**
 * A server's place among those of its process, over `BroadcastChannel`s: one on which members find each
 * other, and two for each pair of members, so that a thread gets only what it wants. A `BroadcastChannel`
 * keeps all that a busy thread has not read, and gives nothing of it back. So only half of what may wait is
 * there, by what the other side says it has read; the rest waits here, where the oldest can be dropped.
 *
 * Long because both directions of a pair, and what ends it, use the same records of the other member.
 */
import { Buffer } from 'node:buffer'
import { randomUUID } from 'node:crypto'
import { BroadcastChannel } from 'node:worker_threads'
import { plainView } from '../../util/bytes.js'
import { Fifo } from '../../util/fifo.js'
import type { Payload, ThreadMember, ThreadMemberEvents, ThreadMemberOptions } from '../contract.js'

/** Bytes after which a batch is sent before `flush`, or a quarter of what may wait: a drop takes a batch. */
const LARGEST_BATCH = 256 * 1024
/** What a message takes beside topic and payload, as an estimate. */
const COST_OF_MESSAGE = 64
/** What a batch takes beside its messages, as an estimate. */
const COST_OF_BATCH = 192
/**
 * Milliseconds for which a member says nothing, in which this thread itself was not blocked, after which it
 * is taken for terminated: a worker that is terminated cannot say so. Should it live, it joins again.
 */
const SILENCE = 30_000
/** Milliseconds between two signs of life of each member. */
const SIGN_INTERVAL = 5000
/** Milliseconds that other members have to reply to a new one. */
const GREETING = 50

/** On the channel of all. */
type Greeting =
  /** A member that is new, or new to one other member. */
  | { readonly kind: 'hello'; readonly from: string; readonly to?: string; readonly maxPending: number }
  /** The reply: the sender listens to what the other one says to it. */
  | { readonly kind: 'welcome'; readonly from: string; readonly to: string; readonly maxPending: number }
  | { readonly kind: 'forgotten'; readonly from: string; readonly to: string; readonly lost: number }
  /** A sign of life. */
  | { readonly kind: 'alive'; readonly from: string }
  /** The sender has left. Those that are `told` so between the two of them may have to read more before. */
  | { readonly kind: 'bye'; readonly from: string; readonly told: readonly string[] }

/** Between two members. The first one of each member is all of its interest. */
type PairMessage =
  | { readonly kind: 'interest'; readonly added: readonly string[]; readonly removed: readonly string[] }
  /** Topic, data and flags, one after the other; so many messages were dropped before. */
  | {
      readonly kind: 'batch'
      readonly items: readonly (string | number | Uint8Array)[]
      readonly cost: number
      readonly lost: number
    }
  | { readonly kind: 'taken'; readonly cost: number }
  /** The last one: behind all batches, which a word on the channel of all would overtake. */
  | { readonly kind: 'bye' }

/** Messages for one member. Others may be added while it has not been sent. */
interface Batch {
  /** Topic, data and flags, one after the other. */
  readonly items: (string | number | Uint8Array)[]
  cost: number
}

interface Peer {
  readonly id: string
  readonly out: BroadcastChannel
  readonly in: BroadcastChannel
  /** Whether the peer listens, and has been told all of the interest here. */
  isReady: boolean
  readonly wants: Set<string>
  /** What may wait for it. */
  readonly maxPending: number
  /** Bytes that were sent, and are not said to be taken. */
  sent: number
  /** What is to be sent when more of that is taken, the oldest first. */
  readonly waiting: Fifo<Batch>
  waitingBytes: number
  /** Messages that were dropped: they came before all that waits. */
  lost: number
  /** What was published last, and goes with `flush`. */
  batch: Batch
  /** When the peer was heard last, or this thread was blocked, by `performance.now()`. */
  lastSign: number
}

export class PortableThreadMember implements ThreadMember {
  /** How many there are is not known: they have so long to reply. */
  readonly ready = new Promise<void>((resolve) => setTimeout(resolve, GREETING))
  readonly #id = randomUUID()
  readonly #name: string
  readonly #maxPending: number
  readonly #events: ThreadMemberEvents
  readonly #all: BroadcastChannel
  readonly #peers = new Map<string, Peer>()
  readonly #interest = new Set<string>()
  /** Who wants a topic. */
  readonly #targets = new Map<string, Set<Peer>>()
  readonly #added = new Set<string>()
  readonly #removed = new Set<string>()
  readonly #signs: NodeJS.Timeout
  #lastTick = performance.now()
  #isTellingInterest = false
  #isClosed = false

  constructor({ hub, maxPendingBytes }: ThreadMemberOptions, events: ThreadMemberEvents) {
    this.#name = `native-websocket-server/threads/${hub}`
    this.#maxPending = maxPendingBytes
    this.#events = events
    // The casts are for what the other members send: this file is the only one that writes to these channels.
    this.#all = this.#open(this.#name, (data) => this.#greeted(data as Greeting))
    this.#greet({ kind: 'hello', from: this.#id, maxPending: this.#maxPending })
    this.#signs = setInterval(() => this.#tick(), SIGN_INTERVAL).unref()
  }

  addInterest(topic: string): void {
    if (this.#interest.has(topic)) return
    this.#interest.add(topic)
    if (!this.#removed.delete(topic)) this.#added.add(topic)
    this.#tellInterestSoon()
  }

  removeInterest(topic: string): void {
    if (!this.#interest.delete(topic)) return
    if (!this.#added.delete(topic)) this.#removed.add(topic)
    this.#tellInterestSoon()
  }

  publish(topic: string, data: Payload, flags: number): void {
    const targets = this.#targets.get(topic)
    if (targets === undefined || this.#isClosed) return
    const payload = typeof data === 'string' ? data : plainView(data).slice()
    const cost = topic.length + payload.length + COST_OF_MESSAGE
    for (const peer of targets) {
      const { batch, maxPending } = peer
      // The new one always stays, however long it is.
      while (peer.waiting.length > 0 && peer.sent + peer.waitingBytes + batch.cost + cost > maxPending) this.#drop(peer)
      batch.items.push(topic, payload, flags)
      batch.cost += cost
      if (batch.cost > Math.min(LARGEST_BATCH, maxPending / 4)) this.#endBatch(peer)
    }
  }

  flush(): void {
    for (const peer of this.#peers.values()) if (peer.batch.cost > 0) this.#endBatch(peer)
  }

  close(): void {
    if (this.#isClosed) return
    this.flush()
    this.#isClosed = true
    clearInterval(this.#signs)
    // The others do not listen yet, and have been sent nothing.
    const listening = [...this.#peers.values()].filter(({ isReady }) => isReady)
    for (const peer of listening) {
      while (peer.waiting.length > 0) this.#sendFirst(peer)
      this.#say(peer, { kind: 'bye' })
    }
    this.#greet({ kind: 'bye', from: this.#id, told: listening.map(({ id }) => id) })
    for (const peer of [...this.#peers.values()]) this.#forget(peer)
    this.#all.close()
  }

  #open(name: string, read: (data: unknown) => void): BroadcastChannel {
    const channel = new BroadcastChannel(name)
    channel.onmessage = (event: unknown) => {
      // The event is a MessageEvent, which the types of Node.js do not say.
      if (!this.#isClosed) read((event as { readonly data: unknown }).data)
    }
    channel.unref()
    return channel
  }

  #greet(greeting: Greeting): void {
    this.#all.postMessage(greeting)
  }

  #greeted(greeting: Greeting): void {
    const { kind, from } = greeting
    const known = this.#peers.get(from)
    if (greeting.kind === 'alive') {
      if (known !== undefined) known.lastSign = performance.now()
      return
    }
    if (greeting.kind === 'bye') {
      if (known !== undefined && !greeting.told.includes(this.#id)) this.#forget(known)
      return
    }
    if (greeting.to !== undefined && greeting.to !== this.#id) return
    if (known !== undefined && kind !== 'welcome') this.#forget(known)
    if (greeting.kind === 'hello') {
      this.#meet(from, greeting.maxPending)
      this.#greet({ kind: 'welcome', from: this.#id, to: from, maxPending: this.#maxPending })
    } else if (greeting.kind === 'welcome') {
      // Two that are new at once greet each other twice: the first welcome counts.
      this.#ready(known ?? this.#meet(from, greeting.maxPending))
    } else {
      if (greeting.lost > 0) this.#events.lost(greeting.lost)
      this.#greet({ kind: 'hello', from: this.#id, to: from, maxPending: this.#maxPending })
    }
  }

  #meet(id: string, maxPending: number): Peer {
    const peer: Peer = {
      id,
      out: this.#open(`${this.#name}/${this.#id}>${id}`, () => {}),
      in: this.#open(`${this.#name}/${id}>${this.#id}`, (data) => this.#read(peer, data as PairMessage)),
      isReady: false,
      wants: new Set(),
      maxPending,
      sent: 0,
      waiting: new Fifo(),
      waitingBytes: 0,
      lost: 0,
      batch: { items: [], cost: 0 },
      lastSign: performance.now(),
    }
    this.#peers.set(id, peer)
    return peer
  }

  #ready(peer: Peer): void {
    if (peer.isReady) return
    peer.isReady = true
    this.#say(peer, { kind: 'interest', added: [...this.#interest].filter((topic) => !this.#added.has(topic)), removed: [] })
    this.#tellInterestSoon()
  }

  #say(peer: Peer, message: PairMessage): void {
    peer.out.postMessage(message)
  }

  #read(peer: Peer, message: PairMessage): void {
    peer.lastSign = performance.now()
    if (message.kind === 'bye') {
      this.#forget(peer)
      return
    }
    // Who speaks here listens as well.
    this.#ready(peer)
    if (message.kind === 'interest') {
      for (const topic of message.added) this.#want(peer, topic)
      for (const topic of message.removed) this.#unwant(peer, topic)
    } else if (message.kind === 'taken') {
      peer.sent -= message.cost
      this.#send(peer)
    } else {
      this.#deliver(message.items, message.lost)
      if (message.cost > 0 && !this.#isClosed) this.#say(peer, { kind: 'taken', cost: message.cost })
    }
  }

  #deliver(items: readonly (string | number | Uint8Array)[], lost: number): void {
    if (lost > 0) this.#events.lost(lost)
    for (let i = 0; i < items.length && !this.#isClosed; i += 3) {
      // `publish` puts them there in this order.
      const [topic, data, flags] = [items[i] as string, items[i + 1] as string | Uint8Array, items[i + 2] as number]
      if (!this.#interest.has(topic)) continue
      try {
        this.#events.arrival(
          topic,
          typeof data === 'string' ? data : Buffer.from(data.buffer, data.byteOffset, data.length),
          flags,
        )
      } catch (error) {
        queueMicrotask(() => {
          throw error
        })
      }
    }
  }

  #want(peer: Peer, topic: string): void {
    peer.wants.add(topic)
    const targets = this.#targets.get(topic)
    if (targets === undefined) this.#targets.set(topic, new Set([peer]))
    else targets.add(peer)
  }

  #unwant(peer: Peer, topic: string): void {
    peer.wants.delete(topic)
    const targets = this.#targets.get(topic)
    if (targets?.delete(peer) && targets.size === 0) this.#targets.delete(topic)
  }

  #drop(peer: Peer): void {
    const batch = this.#shift(peer)
    if (batch !== undefined) peer.lost += batch.items.length / 3
  }

  /** The oldest batch that waits. */
  #shift(peer: Peer): Batch | undefined {
    const batch = peer.waiting.shift()
    if (batch !== undefined) peer.waitingBytes -= batch.cost
    return batch
  }

  #tick(): void {
    this.#greet({ kind: 'alive', from: this.#id })
    const now = performance.now()
    const wasBlocked = now - this.#lastTick > 2 * SIGN_INTERVAL
    this.#lastTick = now
    for (const peer of [...this.#peers.values()]) {
      // What has come meanwhile may not have been read.
      if (wasBlocked) peer.lastSign = now
      if (now - peer.lastSign < SILENCE) continue
      // At least one: what it was not sent since then, or has not read, is not counted here.
      this.#greet({ kind: 'forgotten', from: this.#id, to: peer.id, lost: Math.max(peer.lost, 1) })
      this.#forget(peer)
    }
  }

  #endBatch(peer: Peer): void {
    const { batch } = peer
    peer.batch = { items: [], cost: 0 }
    batch.cost += COST_OF_BATCH
    peer.waiting.push(batch)
    peer.waitingBytes += batch.cost
    this.#send(peer)
  }

  /** One batch is always sent, however long it is. */
  #send(peer: Peer): void {
    for (let next = peer.waiting.first; next !== undefined; next = peer.waiting.first) {
      if (peer.sent > 0 && peer.sent + next.cost > peer.maxPending / 2) break
      this.#sendFirst(peer)
    }
  }

  #sendFirst(peer: Peer): void {
    const batch = this.#shift(peer)
    if (batch === undefined) return
    const { lost } = peer
    peer.lost = 0
    peer.sent += batch.cost
    this.#say(peer, { kind: 'batch', items: batch.items, cost: batch.cost, lost })
  }

  #forget(peer: Peer): void {
    this.#peers.delete(peer.id)
    for (const topic of [...peer.wants]) this.#unwant(peer, topic)
    peer.in.close()
    peer.out.close()
  }

  #tellInterestSoon(): void {
    if (this.#isTellingInterest || this.#added.size + this.#removed.size === 0) return
    this.#isTellingInterest = true
    queueMicrotask(() => {
      this.#isTellingInterest = false
      if (this.#isClosed) return
      const change: PairMessage = { kind: 'interest', added: [...this.#added], removed: [...this.#removed] }
      this.#added.clear()
      this.#removed.clear()
      for (const peer of this.#peers.values()) if (peer.isReady) this.#say(peer, change)
    })
  }
}
