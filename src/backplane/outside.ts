/**
 * The way from the threads of a process to a backplane outside of it: one of them, the gateway, has the
 * connection, sends what the others publish, and gives them what comes in.
 *
 * The members find each other on a hub of their own, where each says every so often that it lives and what it
 * wants. The gateway is the oldest of those that live: where it ends, the next one learns from its silence,
 * or from its farewell, that the task is its own. Each member keeps what it has for the outside until the
 * gateway says that it is there (outside-queue.ts, outside-intake.ts), and sends it to the next one where
 * that ends. So some comes twice, as it does while two take themselves for the gateway: the links above leave
 * it out.
 *
 * Long because whose task it is and what that one does are one state.
 */
import type { Engine, ThreadMember } from '../engine/contract.js'
import { OptionError } from '../errors.js'
import { checkOutsideSettings } from '../options/backplane.js'
import type { BackplaneEngine, BackplaneEnvelope, BackplaneHost, BackplaneSettings, BackplaneStatus } from './contract.js'
import { readHead } from './envelope.js'
import { inTime } from './in-time.js'
import { type Frame, pack, type Reply, unpack } from './outside-frames.js'
import { OutsideIntake } from './outside-intake.js'
import { OutsideQueue, type QueueState } from './outside-queue.js'
import { reasonOf } from './reasons.js'

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

/**
 * Milliseconds that `close` gives to what is on its way: to the gateway and back, or to the outside, which
 * gives a second of its own to what is left then.
 */
const CLOSE_PATIENCE = 500
/** How often it gives them again, as long as something is taken, or a gateway is connecting. */
const MOST_PATIENCES = 8

/** Topic of the hub for all members. The id of each is one too: frames for the gateway, and its replies. */
const SIGNS = 'signs'

/** Of the outside, as the gateway knows it. `connecting` is said before its first attempt has ended. */
type OutsideState = 'connecting' | 'up' | 'down'

type Message =
  | { readonly say: 'alive'; readonly topics?: readonly string[] }
  | { readonly say: 'interest'; readonly added: readonly string[]; readonly removed: readonly string[] }
  /** All are to say what they want. */
  | { readonly say: 'who' }
  /** What came from outside is not whole. */
  | { readonly say: 'gap' }
  | { readonly say: 'bye' }
/** What the gateway says in each sign, and no other member. */
interface Outlook {
  readonly state: OutsideState
  readonly isReplayed: boolean
}
/** `born` is in milliseconds since 1970. */
type Sign = Message & { readonly id: string; readonly born: number; readonly outlook?: Outlook }

interface Peer {
  readonly born: number
  lastSign: number
  /** It may be blocked: another one is the gateway meanwhile. */
  isSilent: boolean
  /** Of one that is the gateway, or takes itself for it. */
  outlook: Outlook | undefined
  readonly topics: Set<string>
}

export class Outside {
  readonly #make: MakeOutside
  readonly #settings: BackplaneSettings
  readonly #born = Date.now()
  readonly #host: BackplaneHost
  /** Where data goes to the other threads. */
  readonly #data: ThreadMember
  /** What this thread wants, as far as the link has told it: `host.topics()` may be ahead of that. */
  readonly #own: Set<string>
  readonly #hub: ThreadMember
  readonly #queue: OutsideQueue
  readonly #peers = new Map<string, Peer>()
  /** How many members want a topic, this one included. Kept by the gateway alone. */
  readonly #wanted = new Map<string, number>()
  /** Topics first or last wanted while the outside was not up, and may not have known. */
  readonly #untold = new Set<string>()
  /** The member that this one takes for the gateway: perhaps itself. */
  #gateway: string | undefined
  /** What that one has said last. */
  #outlook: Outlook | undefined
  /** Of this member while it is the gateway. */
  #intake: OutsideIntake | undefined
  #outside: BackplaneEngine | undefined
  #isConnected = false
  #isUp = false
  /** `isUp`, as it was last. */
  #wasUp = false
  /** When it ceased to be up, by `performance.now()`, until the gap of that outage is told. */
  #left: number | undefined
  /** The gateway has tried to connect, and is not connecting for the first time. */
  #hasTried = false
  /** Of the outside that was made last. */
  #isReplayed = false
  /** Whether the reason why the outside is away is known to the user. */
  #isOutageTold: boolean
  /** Signs may have been dropped: all is to be said again. */
  #isUnsure = false
  /** Another thread had the connection before, or this one. */
  #hadPredecessor = false
  /** `close` was called: it ends as soon as what it has is sent. */
  #isClosing = false
  #isClosed = false
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
    this.#settings = settings
    this.#host = host
    this.#data = data
    this.#own = new Set(topics)
    // `start` rejects with it.
    this.#isOutageTold = settings.required
    const drop = (envelope: BackplaneEnvelope, why: string) => host.onDropped(envelope, why)
    this.#queue = new OutsideQueue({ id: host.id, send: (frames) => this.#send(frames), drop }, settings.maxPendingBytes)
    this.#hub = engine.joinThreads(
      { hub: `signs of ${group}`, maxPendingBytes: settings.maxPendingBytes },
      {
        arrival: (topic, message) => {
          // Signs and replies are text, and what is for the gateway is bytes: nothing else has this hub.
          if (topic === SIGNS) this.#heard(JSON.parse(message as string) as Sign)
          else if (typeof message === 'string') this.#replied(JSON.parse(message) as Reply & { readonly gateway: string })
          else this.#intake?.take(unpack(message))
        },
        lost: () => this.#unsure(),
      },
    )
    this.#hub.addInterest(SIGNS)
    this.#hub.addInterest(host.id)
  }

  /** Whether messages go out and come in, by way of this thread or of the gateway. */
  get isUp(): boolean {
    return this.#isGateway ? this.#isConnected && this.#isUp : this.#outlook?.state === 'up'
  }

  get #isGateway(): boolean {
    return this.#intake !== undefined
  }

  /** Bytes of memory that wait for what is outside. */
  get pendingBytes(): number {
    return this.#queue.bytes
  }

  /** Rejects where this thread is the gateway, cannot connect, and must. */
  async start(): Promise<void> {
    this.#say({ say: 'who' })
    await new Promise((resolve) => setTimeout(resolve, GREETING))
    if (this.#isClosing) return
    this.#say({ say: 'alive', topics: [...this.#own] })
    this.#timer = setInterval(() => this.#tick(), SIGN_INTERVAL).unref()
    this.#choose()
    try {
      await this.#connecting
    } catch (cause) {
      if (this.#settings.required || cause instanceof OptionError) throw cause
    }
    this.#isOutageTold &&= !this.#settings.required
  }

  interest(added: readonly string[], removed: readonly string[]): void {
    this.#say({ say: 'interest', added, removed })
    this.#change(this.#own, added, removed)
  }

  /** The threads have the envelopes already, and do not wait for the broker: what is dropped is told. */
  publish(envelopes: readonly BackplaneEnvelope[]): void {
    this.#queue.publish(envelopes)
  }

  async close(): Promise<void> {
    if (this.#isClosing) return
    this.#isClosing = true
    await this.#finish()
    this.#isClosed = true
    clearInterval(this.#timer)
    this.#intake?.tellDue()
    this.#say({ say: 'bye' })
    this.#hub.close()
    try {
      await this.#outside?.close()
      // What the outside says of its last messages is heard.
      if (this.#intake !== undefined) await isDoneSoon(this.#intake.settled())
    } finally {
      this.#intake?.close()
      this.#queue.close()
    }
  }

  /**
   * Waits for what this thread has, and as the gateway for what others have given it. They may all be
   * closing: a thread that has something left takes over then.
   */
  async #finish(): Promise<void> {
    for (let n = 0; n < MOST_PATIENCES; n++) {
      const before = this.#queue.taken + (this.#intake?.taken ?? 0)
      if (await isDoneSoon(Promise.all([this.#queue.emptied(), this.#intake?.settled()]))) return
      const isConnecting = this.#outlook?.state === 'connecting'
      if (!isConnecting && this.#queue.taken + (this.#intake?.taken ?? 0) === before) return
    }
  }

  #say(message: Message): void {
    const sign: Sign = {
      ...message,
      id: this.#host.id,
      born: this.#born,
      ...(this.#isGateway && this.#outlook !== undefined && { outlook: this.#outlook }),
    }
    this.#hub.publish(SIGNS, JSON.stringify(sign), 0)
    this.#hub.flush()
  }

  #heard(sign: Sign): void {
    const { say, id, born } = sign
    this.#hadPredecessor ||= !this.#isGateway && this.#isAfter(id, born)
    if (say === 'bye') {
      this.#forget(id)
      this.#choose()
      return
    }
    let peer = this.#peers.get(id)
    if (peer === undefined) {
      peer = { born, lastSign: 0, isSilent: false, outlook: undefined, topics: new Set() }
      this.#peers.set(id, peer)
      this.#queue.members = this.#peers.size + 1
      // One that was silent for long, or is new: all of what it wants is to be known.
      if (this.#isGateway && (say !== 'alive' || sign.topics === undefined)) this.#say({ say: 'who' })
    }
    peer.lastSign = performance.now()
    peer.isSilent = false
    peer.outlook = sign.outlook
    this.#look()
    if (say === 'gap') this.#tellOwnGap()
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

  /** Whom to send to, and whether. Of two that take themselves for the gateway, it is the older one. */
  #look(): void {
    if (this.#isGateway) return
    let gateway: [id: string, peer: Peer] | undefined
    for (const [id, peer] of this.#peers) {
      if (peer.outlook === undefined || peer.isSilent) continue
      if (gateway === undefined || isBefore(id, peer.born, gateway[0], gateway[1].born)) gateway = [id, peer]
    }
    this.#follow(gateway?.[0], gateway?.[1].outlook)
  }

  #follow(gateway: string | undefined, outlook: Outlook | undefined): void {
    this.#outlook = outlook
    if (gateway !== this.#gateway) {
      this.#gateway = gateway
      this.#queue.become('hold')
      this.#queue.again()
    }
    this.#noteState()
    this.#queue.become(queueStateOf(outlook))
  }

  #replied(reply: Reply & { readonly gateway: string }): void {
    if (reply.gateway === this.#gateway) this.#queue.heard(reply)
  }

  /** Signs, frames or replies may have been dropped: all of them are to come again. */
  #unsure(): void {
    this.#isUnsure = true
    if (this.#intake !== undefined) {
      this.#intake.askAll()
      return
    }
    // A sign of a gap may be what was dropped.
    this.#host.onStatus('gap')
    this.#queue.heard({ say: 'again' })
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
    this.#queue.members = this.#peers.size + 1
    this.#intake?.forget(id)
    this.#look()
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
    this.#look()
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
    // Nothing is left to be sent.
    if (this.#isClosing && !this.#isGateway && this.#queue.isEmpty) return
    // The oldest keeps the task while it lives, or each new thread would make all connect anew.
    const isFirst = ![...this.#peers].some(([id, { born, isSilent }]) => !isSilent && this.#isAfter(id, born))
    if (isFirst && !this.#isGateway) this.#become()
    else if (!isFirst && this.#isGateway) this.#resign()
    else if (this.#isGateway && !this.#isConnected) this.#connect()
  }

  /** Whether that member comes before this one, as the gateway. */
  #isAfter(id: string, born: number): boolean {
    return isBefore(id, born, this.#host.id, this.#born)
  }

  #become(): void {
    this.#hasTried = false
    const { id } = this.#host
    const outside = () => (this.#isConnected && this.#isUp ? this.#outside : undefined)
    this.#intake = new OutsideIntake({
      id,
      get outside() {
        return outside()
      },
      reply: (to, reply) => {
        if (to === id) this.#queue.heard(reply)
        else if (!this.#isClosed) {
          this.#hub.publish(to, JSON.stringify({ ...reply, gateway: id }), 0)
          this.#hub.flush()
        }
      },
    })
    this.#follow(id, { state: 'connecting', isReplayed: this.#isReplayed })
    this.#wanted.clear()
    this.#want([...this.#own], [])
    for (const { topics } of this.#peers.values()) this.#want([...topics], [])
    this.#say({ say: 'who' })
    this.#connect()
  }

  #resign(): void {
    this.#intake?.close()
    this.#intake = undefined
    this.#look()
    // So that others send nothing here until they hear of the other one.
    this.#say({ say: 'alive' })
    this.#disconnect()
  }

  /** To the gateway, which may be this member. */
  #send(frames: readonly Frame[]): void {
    if (this.#intake !== undefined) {
      for (const frame of frames) this.#intake.take(frame)
      this.#intake.flush()
      return
    }
    if (this.#gateway === undefined) return
    for (const frame of frames) this.#hub.publish(this.#gateway, pack(frame), 0)
    this.#hub.flush()
  }

  /** What the gateway knows of the outside has changed, perhaps: to be told to all. */
  #tellOutlook(): void {
    if (this.#intake === undefined) return
    const state = this.isUp ? 'up' : this.#hasTried ? 'down' : 'connecting'
    const isNew = state !== this.#outlook?.state
    this.#outlook = { state, isReplayed: this.#isReplayed }
    this.#noteState()
    if (isNew && !this.#isClosed) this.#say({ say: 'alive' })
    this.#queue.become(queueStateOf(this.#outlook))
  }

  #connect(): void {
    if (this.#connecting !== undefined || performance.now() < this.#nextAttempt) return
    this.#nextAttempt = performance.now() + RETRY_INTERVAL
    const connecting = this.#start()
    this.#connecting = connecting
    const done = () => {
      this.#connecting = undefined
      this.#hasTried = true
      this.#tellOutlook()
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
      checkOutsideSettings(outside.settings, this.#settings)
      this.#outside = outside
      this.#isReplayed = outside.isReplayed
      // Still to be asked of `topics()`.
      this.#untold.clear()
      await outside.start({
        id: this.#host.id,
        deliver: (topic, data) => {
          if (outside === this.#outside) this.#arrived(topic, data)
        },
        onStatus: (status, reason) => {
          if (outside === this.#outside) this.#changed(status, reason)
        },
        onProblem: (problem) => this.#host.onProblem(problem),
        onDropped: (envelope, reason) => this.#intake?.refused(envelope, `has refused it: ${reason}`),
        topics: () => this.#wanted.keys(),
      })
    } catch (cause) {
      if (this.#outside === undefined || outside === this.#outside) {
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
    this.#isUp = status === 'up'
    this.#tellOutlook()
    if (this.#isUp) {
      this.#isOutageTold = false
      this.#tellInterest()
    } else this.#tellOutage(reason ?? 'the connection is lost')
  }

  /** Every thread has lost what it wanted. */
  #tellGap(): void {
    if (this.#isClosed) return
    this.#tellOwnGap()
    this.#say({ say: 'gap' })
  }

  #tellOwnGap(): void {
    const milliseconds = this.#left === undefined ? 0 : performance.now() - this.#left
    this.#left = undefined
    this.#host.onStatus('gap', undefined, 0, milliseconds)
  }

  /** To be called where `isUp` may have changed. */
  #noteState(): void {
    if (this.#wasUp && !this.isUp) this.#left = performance.now()
    this.#wasUp = this.isUp
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
}

function isBefore(id: string, born: number, otherId: string, otherBorn: number): boolean {
  return born < otherBorn || (born === otherBorn && id < otherId)
}

function queueStateOf(outlook: Outlook | undefined): QueueState {
  if (outlook?.state === 'up') return 'send'
  return outlook?.state === 'down' && !outlook.isReplayed ? 'drop' : 'hold'
}

/** Whether the work, which does not fail, is done within CLOSE_PATIENCE. */
function isDoneSoon(work: Promise<unknown>): Promise<boolean> {
  return inTime(work, CLOSE_PATIENCE, 'late').then(
    () => true,
    () => false,
  )
}
