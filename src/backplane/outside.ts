/**
 * The way from the threads of a process to a backplane outside of it: one of them, the gateway, has the
 * connection, sends what the others publish, and gives them what comes in.
 *
 * The members find each other on a hub of their own, where each says every so often that it lives and what
 * it wants. The gateway is the oldest of those that live: where it ends, the next one learns from its
 * silence, or from its farewell, that the task is its own. While two take themselves for it, the links
 * above leave out what comes twice.
 *
 * Long because whose task it is and what that one does are one state.
 */
import type { Engine, ThreadMember } from '../engine/contract.js'
import { plainView } from '../util/bytes.js'
import type { BackplaneEngine, BackplaneEnvelope, BackplaneHost, BackplaneSettings, BackplaneStatus } from './contract.js'
import { readHead } from './envelope.js'
import { OWN_TOPIC } from './refused-topics.js'
import { reasonOf } from './session-engine.js'

export type MakeOutside = () => BackplaneEngine

/** Milliseconds between two signs of life. */
const SIGN_INTERVAL = 200
/** Milliseconds of silence, in which this thread itself was not busy, after which a member is no gateway. */
const SILENCE = 1000
/**
 * The same after which a member is taken for gone, and no longer wants anything. One that is blocked for
 * less reads what waits for it afterwards. As long as the portable hub waits for one that does not read.
 */
const ABSENCE = 30_000
/** Milliseconds between two attempts to connect. */
const RETRY_INTERVAL = 1000
/** Milliseconds in which those that are there already may say so, before the first gateway is chosen. */
const GREETING = 50

/** Topics of the hub: for all members, and for the gateway. */
const SIGNS = 'signs'
const FORWARD = 'forward'

type Message =
  | { readonly say: 'alive'; readonly topics?: readonly string[] }
  | { readonly say: 'interest'; readonly added: readonly string[]; readonly removed: readonly string[] }
  /** All are to say what they want. */
  | { readonly say: 'who' }
  /** What came from outside is not whole. */
  | { readonly say: 'gap' }
  | { readonly say: 'bye' }
/** `born` is in milliseconds since 1970; `isUp` is said by the gateway, of what is outside. */
type Sign = Message & { readonly id: string; readonly born: number; readonly isUp?: boolean }

interface Peer {
  readonly born: number
  lastSign: number
  /** It may be blocked: another one is the gateway meanwhile. */
  isSilent: boolean
  readonly topics: Set<string>
}

export class Outside {
  readonly #make: MakeOutside
  readonly #isRequired: boolean
  readonly #born = Date.now()
  readonly #host: BackplaneHost
  /** Where data goes to the other threads. */
  readonly #data: ThreadMember
  /** What this thread wants, as far as the link has told it: `host.topics()` may be ahead of that. */
  readonly #own: Set<string>
  readonly #hub: ThreadMember
  readonly #limit: number
  readonly #peers = new Map<string, Peer>()
  /** How many members want a topic, this one included. Kept by the gateway alone. */
  readonly #wanted = new Map<string, number>()
  /** Topics first or last wanted while the outside was not up, and may not have known. */
  readonly #untold = new Set<string>()
  #isGateway = false
  /** Of the gateway. */
  #outside: BackplaneEngine | undefined
  #isConnected = false
  #isUp = false
  /** What the gateway has said last, of members that are not it. */
  #isUpElsewhere = false
  /** Whether the reason why the outside is away is known to the user. */
  #isOutageTold: boolean
  /** Signs may have been dropped: all is to be said again. */
  #isUnsure = false
  /** Another thread had the connection before, or this one. */
  #hadPredecessor = false
  #isClosed = false
  /** The outside is at work on so many bytes. */
  #pending = 0
  #lastTick = performance.now()
  #timer: NodeJS.Timeout | undefined
  #connecting: Promise<void> | undefined
  #nextAttempt = 0

  constructor(
    engine: Engine,
    make: MakeOutside,
    group: string,
    settings: BackplaneSettings,
    host: BackplaneHost,
    data: ThreadMember,
    topics: ReadonlySet<string>,
  ) {
    this.#make = make
    this.#isRequired = settings.required
    this.#host = host
    this.#data = data
    this.#own = new Set(topics)
    // `start` rejects with it.
    this.#isOutageTold = settings.required
    this.#limit = settings.maxPendingBytes
    this.#hub = engine.joinThreads(
      { hub: `signs of ${group}`, maxPendingBytes: settings.maxPendingBytes },
      {
        arrival: (topic, message) => {
          // Signs are text, and what is forwarded is bytes.
          if (topic === SIGNS) this.#heard(JSON.parse(message as string) as Sign)
          else this.#send([unpack(message as Buffer)])
        },
        lost: () => {
          host.onStatus('gap')
          this.#isUnsure = true
        },
      },
    )
    this.#hub.addInterest(SIGNS)
  }

  /** Whether messages go out and come in, by way of this thread or of the gateway. */
  get isUp(): boolean {
    return this.#isGateway ? this.#isConnected && this.#isUp : this.#isUpElsewhere
  }

  /** Rejects where this thread is the gateway, cannot connect, and must. */
  async start(): Promise<void> {
    this.#say({ say: 'who' })
    await new Promise((resolve) => setTimeout(resolve, GREETING))
    if (this.#isClosed) return
    this.#say({ say: 'alive', topics: [...this.#own] })
    this.#timer = setInterval(() => this.#tick(), SIGN_INTERVAL).unref()
    this.#choose()
    try {
      await this.#connecting
    } catch (cause) {
      if (this.#isRequired) throw cause
    }
    this.#isOutageTold &&= !this.#isRequired
  }

  interest(added: readonly string[], removed: readonly string[]): void {
    this.#say({ say: 'interest', added, removed })
    this.#change(this.#own, added, removed)
  }

  /** The threads have the envelopes already, and do not wait for the broker: what it refuses is told. */
  publish(envelopes: readonly BackplaneEnvelope[]): void {
    if (this.#isGateway) {
      this.#send(envelopes)
      return
    }
    for (const envelope of envelopes) this.#hub.publish(FORWARD, pack(envelope), 0)
    this.#hub.flush()
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    clearInterval(this.#timer)
    this.#say({ say: 'bye' })
    this.#hub.close()
    await this.#outside?.close()
  }

  #say(message: Message): void {
    const sign: Sign = { ...message, id: this.#host.id, born: this.#born, ...(this.#isGateway && { isUp: this.isUp }) }
    this.#hub.publish(SIGNS, JSON.stringify(sign), 0)
    this.#hub.flush()
  }

  #heard(sign: Sign): void {
    const { say, id, born, isUp } = sign
    if (isUp !== undefined) this.#isUpElsewhere = isUp
    this.#hadPredecessor ||= !this.#isGateway && this.#isAfter(id, born)
    if (say === 'bye') {
      if (isUp !== undefined) this.#isUpElsewhere = false
      this.#forget(id)
      this.#choose()
      return
    }
    let peer = this.#peers.get(id)
    if (peer === undefined) {
      peer = { born, lastSign: 0, isSilent: false, topics: new Set() }
      this.#peers.set(id, peer)
      // One that was silent for long, or is new: all of what it wants is to be known.
      if (this.#isGateway && (say !== 'alive' || sign.topics === undefined)) this.#say({ say: 'who' })
    }
    peer.lastSign = performance.now()
    peer.isSilent = false
    if (say === 'gap') this.#host.onStatus('gap')
    else if (say === 'who') this.#say({ say: 'alive', topics: [...this.#own] })
    else if (say === 'interest') this.#change(peer.topics, sign.added, sign.removed)
    else if (sign.topics !== undefined) {
      const whole = new Set(sign.topics)
      this.#change(
        peer.topics,
        [...whole],
        [...peer.topics].filter((topic) => !whole.has(topic)),
      )
    }
  }

  /** `topics` are those of one member, which counts once for each. */
  #change(topics: Set<string>, added: readonly string[], removed: readonly string[]): void {
    const isNew = added.filter((topic) => !topics.has(topic))
    const isOld = removed.filter((topic) => topics.delete(topic))
    for (const topic of isNew) topics.add(topic)
    if (this.#isGateway) this.#want(isNew, isOld)
  }

  #forget(id: string): void {
    const peer = this.#peers.get(id)
    if (peer === undefined) return
    this.#peers.delete(id)
    if (this.#isGateway) this.#want([], [...peer.topics])
  }

  #tick(): void {
    if (this.#isUnsure) this.#sayAll()
    else this.#say({ say: 'alive' })
    const now = performance.now()
    const wasBusy = now - this.#lastTick > 2 * SIGN_INTERVAL
    this.#lastTick = now
    // What has come meanwhile may not have been read.
    if (wasBusy) for (const peer of this.#peers.values()) peer.lastSign = now
    for (const [id, peer] of this.#peers) {
      const silence = now - peer.lastSign
      if (silence > ABSENCE) this.#forget(id)
      else if (silence > SILENCE) peer.isSilent = true
    }
    this.#choose()
  }

  /** At most once for each sign of life: what it brings is large where much was lost. */
  #sayAll(): void {
    this.#isUnsure = false
    // A question of the gateway may be what was dropped.
    this.#say({ say: 'alive', topics: [...this.#own] })
    if (this.#isGateway) this.#say({ say: 'who' })
  }

  /** Becomes the gateway, or ceases to be it. */
  #choose(): void {
    if (this.#isClosed || this.#timer === undefined) return
    // The oldest keeps the task while it lives, or each new thread would make all connect anew.
    const isFirst = ![...this.#peers].some(([id, { born, isSilent }]) => !isSilent && this.#isAfter(id, born))
    if (isFirst && !this.#isGateway) this.#become()
    else if (!isFirst && this.#isGateway) this.#resign()
    else if (this.#isGateway && !this.#isConnected) this.#connect()
  }

  /** Whether that member comes before this one, as the gateway. */
  #isAfter(id: string, born: number): boolean {
    return born < this.#born || (born === this.#born && id < this.#host.id)
  }

  #become(): void {
    this.#isGateway = true
    this.#wanted.clear()
    this.#want([...this.#own], [])
    for (const { topics } of this.#peers.values()) this.#want([...topics], [])
    this.#hub.addInterest(FORWARD)
    this.#say({ say: 'who' })
    this.#connect()
  }

  #resign(): void {
    this.#isGateway = false
    this.#hub.removeInterest(FORWARD)
    this.#disconnect()
  }

  #connect(): void {
    if (this.#connecting !== undefined || performance.now() < this.#nextAttempt) return
    this.#nextAttempt = performance.now() + RETRY_INTERVAL
    const connecting = this.#start()
    this.#connecting = connecting
    const done = () => {
      this.#connecting = undefined
    }
    connecting.then(done, done)
  }

  #disconnect(): void {
    const outside = this.#outside
    this.#outside = undefined
    this.#isConnected = false
    this.#isUp = false
    if (outside !== undefined) Promise.resolve(outside.close()).catch(() => {})
  }

  async #start(): Promise<void> {
    let outside: BackplaneEngine | undefined
    try {
      outside = this.#make()
      this.#outside = outside
      // Still to be asked of `topics()`.
      this.#untold.clear()
      await outside.start({
        id: this.#host.id,
        deliver: (topic, data, isLate = false) => {
          // Questions from before an outage: to the threads they would be new.
          if (isLate && topic === OWN_TOPIC) return
          if (outside === this.#outside) this.#arrived(topic, data)
        },
        onStatus: (status, reason) => {
          if (outside === this.#outside) this.#changed(status, reason)
        },
        onProblem: (problem) => this.#host.onProblem(problem),
        onDropped: (envelope, reason) => this.#host.onDropped(envelope, reason),
        topics: () => this.#wanted.keys(),
      })
    } catch (cause) {
      if (outside === this.#outside) {
        this.#outside = undefined
        this.#tellOutage(reasonOf(cause))
      }
      throw cause
    }
    if (outside !== this.#outside) {
      await outside.close()
      return
    }
    this.#isConnected = true
    this.#changed('up', undefined)
    // What has come since the last one had it is lost.
    if (this.#hadPredecessor) this.#tellGap()
    this.#hadPredecessor = true
  }

  /** Between the threads all goes on. */
  #changed(status: BackplaneStatus, reason: string | undefined): void {
    if (status === 'gap') {
      this.#tellGap()
      return
    }
    const wasUp = this.isUp
    this.#isUp = status === 'up'
    if (this.isUp !== wasUp && !this.#isClosed) this.#say({ say: 'alive' })
    if (this.#isUp) {
      this.#isOutageTold = false
      this.#tellInterest()
    } else this.#tellOutage(reason ?? 'the connection is lost')
  }

  /** Every thread has lost what it wanted. */
  #tellGap(): void {
    if (this.#isClosed) return
    this.#host.onStatus('gap')
    this.#say({ say: 'gap' })
  }

  #tellOutage(reason: string): void {
    if (this.#isOutageTold || this.#isClosed) return
    this.#isOutageTold = true
    this.#host.onProblem(`what is outside of the process is down: ${reason}`)
  }

  #want(added: readonly string[], removed: readonly string[]): void {
    for (const topic of added) {
      const count = this.#wanted.get(topic) ?? 0
      this.#wanted.set(topic, count + 1)
      if (count === 0) this.#untold.add(topic)
    }
    for (const topic of removed) {
      const count = this.#wanted.get(topic) ?? 0
      if (count > 1) this.#wanted.set(topic, count - 1)
      else if (this.#wanted.delete(topic)) this.#untold.add(topic)
    }
    this.#tellInterest()
  }

  /**
   * While the outside connects it may have read `topics()` already and ignore what is told: so that is told
   * when it is up.
   */
  #tellInterest(): void {
    if (!this.#isConnected || !this.#isUp || this.#untold.size === 0) return
    const changed = [...this.#untold]
    this.#untold.clear()
    this.#outside?.interest(
      changed.filter((topic) => this.#wanted.has(topic)),
      changed.filter((topic) => !this.#wanted.has(topic)),
    )
  }

  /** From outside. */
  #arrived(topic: string, data: Uint8Array): void {
    const head = readHead(Buffer.from(data.buffer, data.byteOffset, data.byteLength))
    // The threads have had their own already.
    if (typeof head === 'object' && (head.origin === this.#host.id || this.#peers.has(head.origin))) return
    this.#data.publish(topic, data, 0)
    this.#data.flush()
    this.#host.deliver(topic, data)
  }

  /** Envelopes of this thread and of others, to the outside. */
  #send(envelopes: readonly BackplaneEnvelope[]): void {
    const outside = this.#outside
    if (outside === undefined || !this.#isConnected || !this.#isUp) {
      this.#drop(envelopes, 'is down')
      return
    }
    if (this.#pending > this.#limit) {
      this.#drop(envelopes, 'is too slow')
      return
    }
    const result = outside.publish(envelopes)
    if (result === undefined) return
    let bytes = 0
    for (const { data } of envelopes) bytes += data.length
    this.#pending += bytes
    result.then(
      () => {
        this.#pending -= bytes
      },
      (cause: unknown) => {
        this.#pending -= bytes
        this.#drop(envelopes, `has not sent it: ${reasonOf(cause)}`)
      },
    )
  }

  #drop(envelopes: readonly BackplaneEnvelope[], why: string): void {
    // The link's own messages, which have no topic, are said again.
    for (const envelope of envelopes) {
      if (envelope.topic !== '') this.#host.onDropped(envelope, `what is outside of the process ${why}`)
    }
  }
}

/** An envelope with what the outside has to know of it: sequence, messages, and the length of the topic. */
function pack({ topic, data, sequence, messages }: BackplaneEnvelope): Uint8Array {
  const length = Buffer.byteLength(topic)
  const packed = Buffer.allocUnsafe(16 + length + data.length)
  packed.writeDoubleBE(sequence, 0)
  packed.writeUInt32BE(messages, 8)
  packed.writeUInt32BE(length, 12)
  packed.write(topic, 16)
  packed.set(data, 16 + length)
  return packed
}

function unpack(packed: Buffer): BackplaneEnvelope {
  const start = 16 + packed.readUInt32BE(12)
  return {
    sequence: packed.readDoubleBE(0),
    messages: packed.readUInt32BE(8),
    topic: packed.toString('utf8', 16, start),
    // Memory of its own: the engine may keep it.
    data: plainView(packed.subarray(start)).slice(),
  }
}
