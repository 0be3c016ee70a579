/**
 * The server's end of a backplane: what is published here goes out in envelopes, and what comes in is
 * published here. Everything that does not depend on the broker is here, once for all engines.
 *
 * Long because it is the one place where the states of an engine become calls, errors and counts.
 */
import { Buffer, isUtf8 } from 'node:buffer'
import { randomBytes } from 'node:crypto'
import { BackplaneError, ClosedError, OptionError } from '../errors.js'
import type { OutgoingMessage } from '../options/arguments.js'
import type { BackplaneMetrics, EverywhereResult } from '../types/index.js'
import { bufferOver } from '../util/bytes.js'
import { Complaints, quote } from './complaints.js'
import type { BackplaneEngine, BackplaneEnvelope, BackplaneHost, BackplaneStatus } from './contract.js'
import {
  ENVELOPE_VERSION,
  type EnvelopeHead,
  HEAD_BYTES,
  ID_BYTES,
  isWhole,
  MESSAGE_HEAD_BYTES,
  OWN_TOPIC,
  readHead,
  readMessages,
} from './envelope.js'
import { Interest, type InterestChanges } from './interest.js'
import { LatestNumbers } from './latest-numbers.js'
import { costOf, MAX_ENVELOPES, MAX_ENVELOPES_IN_FLIGHT, MAX_IN_FLIGHT, Outbox } from './outbox.js'
import { type Question, Questions } from './questions.js'
import { AGE_INTERVAL, Sequences } from './sequences.js'

/** Milliseconds after a first missing message in which further ones belong to the same gap, at least. */
const GAP_WINDOW = 1000
/**
 * The same after `down` and `up`: other members lose the same broker, and come back up to 1.5 s later, since
 * none waits longer before it connects again (`MOST_RETRY` in session-engine.ts, and a half). Then they have
 * to connect, and to say where their numbers are.
 */
const RETURN_WINDOW = 2500
/** Milliseconds between two starts of an engine that is not required. */
const RETRY_INTERVAL = 2000

/** What a server does for its link. */
export interface LinkOwner {
  /** To the subscribers here, and not to the backplane. */
  publishHere(topic: string, payload: Buffer, isText: boolean, compress: boolean | undefined): void
  report(error: Error): void
  answer(question: Question): number
}

type State = 'new' | 'up' | 'down' | 'closed'

export class BackplaneLink implements BackplaneHost {
  readonly id: string
  readonly #engine: BackplaneEngine
  readonly #owner: LinkOwner
  readonly #outbox: Outbox
  readonly #interest: Interest
  readonly #window: number
  readonly #sequences = new Sequences()
  readonly #complaints: Complaints
  readonly #questions: Questions
  readonly #latestNumbers: LatestNumbers
  #state: State = 'new'
  #starting: Promise<void> | undefined
  #retry: NodeJS.Timeout | undefined
  #isFlushDue = false
  /** Since the last gap was told. */
  #missing = 0
  /** The same: whether there are others, of which the number is not known. */
  #isMissingMore = false
  /** The same: envelopes that the engine has lost. What was in them may be in `missing`, too. */
  #lostEnvelopes = 0
  /** The same: what this server has not sent, where no other error tells it. */
  #dropped = 0
  /** Counted as dropped: an engine may refuse an envelope, and then fail to send those that went with it. */
  readonly #dead = new WeakSet<BackplaneEnvelope>()
  /** Something is missing, perhaps, and not told. */
  #isGapOpen = false
  /** Until it is told; undefined while the engine is down. */
  #gapTimer: NodeJS.Timeout | undefined
  #aging: NodeJS.Timeout | undefined
  /** When it was last up again, and had gone down before, by `performance.now()`: clocks may be set back. */
  #returned = Number.NEGATIVE_INFINITY
  #left = 0
  readonly #counts = { published: 0, delivered: 0, dropped: 0, missing: 0, gaps: 0, reconnects: 0, foreign: 0, lag: 0 }

  constructor(engine: BackplaneEngine, owner: LinkOwner) {
    const id = randomBytes(ID_BYTES)
    this.id = id.toString('hex')
    this.#engine = engine
    this.#owner = owner
    this.#window = Math.min(MAX_IN_FLIGHT, engine.settings.maxPendingBytes / 2)
    this.#outbox = new Outbox(id, engine.settings.maxPendingBytes)
    this.#interest = new Interest(engine.settings.linger, [OWN_TOPIC], () => this.#flushSoon())
    this.#complaints = new Complaints((error) => owner.report(error))
    this.#questions = new Questions({
      id: this.id,
      send: (text) => {
        if (this.isUp) this.#add(OWN_TOPIC, { payload: text, compress: undefined, isText: true })
      },
      answer: (question) => owner.answer(question),
      askedForNumbers: (within) => this.#latestNumbers.asked(within),
    })
    this.#latestNumbers = new LatestNumbers({
      ask: (within) => this.#questions.askForNumbers(within),
      tell: (since, until) => {
        if (!this.isUp) return false
        this.#outbox.tellNumbers(since, until)
        this.#flushSoon()
        return true
      },
    })
  }

  get isUp(): boolean {
    return this.#state === 'up'
  }

  /** Whether messages go everywhere, also to what is behind an engine that goes on without it. */
  get isWhole(): boolean {
    return this.isUp && this.#engine.isOutsideUp !== false
  }

  get metrics(): BackplaneMetrics {
    const dropped = this.#counts.dropped + this.#outbox.dropped
    const { isOutsideUp } = this.#engine
    return {
      ...this.#counts,
      dropped,
      up: this.isUp,
      ...(isOutsideUp !== undefined && { outsideUp: this.isUp && isOutsideUp }),
      pendingBytes: this.#outbox.bytes + (this.#engine.pendingBytes ?? 0),
      members: this.#questions.members,
    }
  }

  /**
   * Once for a server, however often it tries to listen. Rejects with BackplaneError, or with ClosedError
   * after `close`.
   */
  async start(): Promise<void> {
    this.#starting ??= this.#start()
    try {
      await this.#starting
    } catch (cause) {
      this.#starting = undefined
      if (this.#state !== 'closed') throw cause
    }
    if (this.#state === 'closed') throw new ClosedError()
  }

  /**
   * As `start`, for a server that serves without waiting for it, whatever `required` says: a failure is
   * reported once, and it is tried again until it succeeds.
   */
  startBeside(): void {
    const attempt = (isFirst: boolean) => {
      this.start().catch((error: Error) => {
        if (this.#state === 'closed') return
        if (isFirst) this.#owner.report(error)
        if (this.#state === 'new') this.#state = 'down'
        this.#retry = setTimeout(() => attempt(false), RETRY_INTERVAL).unref()
      })
    }
    attempt(true)
  }

  /** Sends out what was published here. Never throws because of the engine, and never waits for it. */
  publish(topic: string, message: OutgoingMessage): void {
    if (this.#state === 'new' || this.#state === 'closed') return
    this.#counts.published += 1
    if (this.#state === 'down' && !this.#engine.isReplayed) {
      this.#outbox.skip(topic)
      this.#drop(1)
    } else this.#add(topic, message)
  }

  /** A topic has its first subscriber here. */
  subscribed(topic: string): void {
    this.#interest.add(topic)
  }

  /** A topic has lost its last subscriber here. */
  unsubscribed(topic: string): void {
    this.#interest.remove(topic)
  }

  ask(question: Question, timeout: number): Promise<EverywhereResult> {
    return this.#questions.ask(question, timeout, this.isUp)
  }

  /**
   * Resolves when the engine has closed, which it need not if it was never started. What goes wrong is
   * reported.
   */
  async close(): Promise<void> {
    this.#questions.close()
    this.#latestNumbers.close()
    if (this.#state === 'up') this.#flush(Number.POSITIVE_INFINITY)
    this.#state = 'closed'
    this.#tellGap()
    // With what was dropped since it went down: the gap that would have told it does not come.
    const before = this.#counts.dropped - this.#dropped
    // What waits for a broker that is down.
    this.#drop(this.#outbox.clear())
    this.#interest.close()
    clearTimeout(this.#retry)
    clearInterval(this.#aging)
    if (this.#starting !== undefined) {
      try {
        await this.#engine.close()
      } catch (cause) {
        this.#owner.report(this.#failure('failed to close', cause))
      }
    }
    const unsent = this.#counts.dropped - before
    if (unsent > 0) {
      const what = `was closed before ${unsent} messages were sent and confirmed`
      this.#owner.report(this.#error('ERR_BACKPLANE', what, unsent))
    }
    this.#complaints.close()
  }

  deliver(topic: string, bytes: Uint8Array): void {
    if (this.#state === 'closed' || !this.#interest.has(topic)) return
    const data = bufferOver(bytes)
    const head = readHead(data)
    if (typeof head !== 'object' || !isWhole(data, head.messages)) {
      this.#refuse(topic, head)
      return
    }
    if (head.origin === this.id) return
    if (topic === OWN_TOPIC || head.isControl) {
      this.#control(topic, head, data)
      return
    }
    const { repeated, missing } = this.#sequences.arrived(topic, head)
    if (missing !== 0) this.#miss(missing)
    this.#counts.lag = Math.max(0, Date.now() - head.time)
    readMessages(data, head.messages, repeated, (payload, isText, compress) => {
      if (isText && !isUtf8(payload)) {
        this.#refuse(topic, undefined)
        return
      }
      this.#counts.delivered += 1
      this.#owner.publishHere(topic, payload, isText, compress)
    })
  }

  onStatus(status: BackplaneStatus, reason?: string, envelopes = 0, milliseconds = 0): void {
    if (this.#state === 'closed') return
    if (status === 'gap') {
      if (milliseconds > 0) this.#cameBack(performance.now() - milliseconds)
      this.#lostEnvelopes += envelopes
      this.#gap()
      if (this.isUp) this.#askForNumbers()
    } else if (status === 'up' && this.#state === 'down') this.#goUp()
    else if (status === 'down' && this.#state === 'up') this.#goDown(reason)
  }

  onDropped(envelope: BackplaneEnvelope, reason: string): void {
    if (envelope.messages === 0 || this.#dead.has(envelope)) return
    this.#dead.add(envelope)
    this.#counts.dropped += envelope.messages
    // `close` tells it, with all else that was not sent.
    if (this.#state === 'closed') return
    this.#complaints.addByState('refused', envelope.messages, (count, isMore) =>
      this.#error(
        'ERR_BACKPLANE',
        `refused ${count} ${isMore ? 'more messages, and none in the last second; the last was' : 'messages, the last'} on the topic ${quote(envelope.topic)}, ${envelope.data.length} bytes: ${reason}`,
        count,
      ),
    )
  }

  onProblem(reason: string): void {
    if (this.#state === 'closed') return
    this.#complaints.add('problem', 1, (count) =>
      this.#error('ERR_BACKPLANE', `has a problem: ${reason}${count > 1 ? `, and ${count - 1} others` : ''}`, 0),
    )
  }

  topics(): Iterable<string> {
    // What changes while the engine subscribes to these is a change of what it has, and told after `up`.
    if (this.#state !== 'up') this.#takeInterest()
    return this.#interest.topics
  }

  async #start(): Promise<void> {
    // All of them are in `topics()`.
    this.#interest.take()
    try {
      await this.#engine.start(this)
    } catch (cause) {
      if (this.#state === 'closed') return
      // Another attempt would end in the same way.
      if (cause instanceof OptionError) throw cause
      const failure = this.#failure('failed to start', cause)
      if (this.#engine.settings.required) throw failure
      if (this.#state === 'new') this.#owner.report(failure)
      this.#state = 'down'
      this.#retry = setTimeout(() => void this.#start(), RETRY_INTERVAL).unref()
      return
    }
    if (this.#state === 'closed') return
    if (this.#state === 'down') this.#goUp()
    else this.#state = 'up'
    this.#questions.start()
    this.#aging ??= setInterval(() => {
      // While it is down, nothing is heard of those that are alive.
      if (this.#state === 'up') this.#sequences.age()
    }, AGE_INTERVAL).unref()
    this.#flushSoon()
  }

  #goUp(): void {
    this.#state = 'up'
    this.#counts.reconnects += 1
    this.#questions.start()
    this.#flushSoon()
    this.#returned = performance.now()
    if (this.#isGapOpen) this.#askForNumbers()
    if (this.#dropped > 0 || this.#isGapOpen) this.#gap()
  }

  #goDown(reason: string | undefined): void {
    // Of an earlier outage: each has its own.
    this.#tellGap()
    this.#state = 'down'
    // What it asks for in the first moments may have no reply: then it is asked for once more.
    if (!this.#isBack) this.#left = performance.now()
    if (this.#engine.isReplayed) this.#outbox.clearOwn()
    else this.#drop(this.#outbox.clear())
    this.#owner.report(this.#error('ERR_BACKPLANE_DOWN', `is down: ${reason ?? 'the connection is lost'}`, 0))
  }

  /** What is behind the engine is there again, as this server would be after `down` and `up`. */
  #cameBack(left: number): void {
    // Of an earlier outage. Otherwise the gap that is open is of this one, and is to have all of it.
    if (this.#isBack) this.#tellGap()
    else this.#left = left
    this.#returned = performance.now()
    clearTimeout(this.#gapTimer)
    this.#gapTimer = undefined
  }

  #add(topic: string, { payload, compress, isText }: OutgoingMessage): void {
    const dropped = this.#outbox.dropped
    const limit = this.#engine.maxEnvelopeBytes
    const text = isText || typeof payload === 'string'
    if (this.#outbox.add(topic, payload, text, compress, limit)) {
      if (this.#outbox.dropped !== dropped) this.#overflow(this.#outbox.dropped - dropped)
      this.#flushSoon()
      return
    }
    this.#counts.dropped += 1
    const size = typeof payload === 'string' ? Buffer.byteLength(payload) : payload.byteLength
    this.#complaints.add('too large', 1, (count) => {
      const most = limit - HEAD_BYTES - MESSAGE_HEAD_BYTES
      const others = count > 1 ? `, and ${count - 1} others` : ''
      return this.#error(
        'ERR_BACKPLANE',
        `takes at most ${most} bytes: a message of ${size} on the topic ${quote(topic)}${others} was not sent`,
        count,
      )
    })
  }

  #flushSoon(): void {
    if (this.#isFlushDue || this.#state !== 'up') return
    this.#isFlushDue = true
    setImmediate(() => {
      this.#isFlushDue = false
      if (this.#state === 'up') this.#flush(this.#window)
    })
  }

  #flush(window: number): void {
    const { added, removed } = this.#takeInterest()
    try {
      if (added.length > 0 || removed.length > 0) this.#engine.interest(added, removed)
      const most = window === Number.POSITIVE_INFINITY ? window : MAX_ENVELOPES_IN_FLIGHT
      while (!this.#outbox.isEmpty && this.#outbox.inFlight < window && this.#outbox.envelopesInFlight < most) {
        const envelopes = this.#outbox.take(window - this.#outbox.inFlight, MAX_ENVELOPES)
        const result = this.#engine.publish(envelopes)
        if (result !== undefined) this.#await(result, envelopes)
      }
    } catch (cause) {
      // Contrary to the contract.
      this.#owner.report(this.#failure('threw', cause))
    }
  }

  #takeInterest(): InterestChanges {
    const changes = this.#interest.take()
    for (const topic of changes.removed) this.#sequences.forget(topic)
    return changes
  }

  #await(result: Promise<void>, envelopes: readonly BackplaneEnvelope[]): void {
    let bytes = 0
    for (const { topic, data } of envelopes) bytes += costOf(topic, data.length)
    this.#outbox.inFlight += bytes
    this.#outbox.envelopesInFlight += envelopes.length
    const settled = () => {
      this.#outbox.inFlight -= bytes
      this.#outbox.envelopesInFlight -= envelopes.length
    }
    result.then(
      () => {
        settled()
        if (!this.#outbox.isEmpty) this.#flushSoon()
      },
      (cause: unknown) => {
        settled()
        this.#unsent(envelopes, cause)
      },
    )
  }

  #unsent(envelopes: readonly BackplaneEnvelope[], cause: unknown): void {
    const lost = envelopes.filter((envelope) => !this.#dead.has(envelope))
    if (this.#engine.isReplayed && this.#state !== 'closed') {
      const { dropped } = this.#outbox
      // But for questions, whose time would be over.
      this.#outbox.giveBack(lost.filter(({ topic }) => topic !== OWN_TOPIC))
      if (this.#outbox.dropped !== dropped) this.#overflow(this.#outbox.dropped - dropped)
      // Should `up` have come before the promise was rejected.
      this.#flushSoon()
      return
    }
    let messages = 0
    for (const envelope of lost) {
      this.#dead.add(envelope)
      if (envelope.topic !== OWN_TOPIC) messages += envelope.messages
    }
    if (messages === 0) return
    if (this.#state !== 'up') {
      this.#drop(messages)
      return
    }
    this.#counts.dropped += messages
    this.#complaints.addByState('publish', messages, (count, isMore) =>
      this.#failure(`failed to publish ${count} ${isMore ? 'more messages, and none in the last second' : 'messages'}`, cause),
    )
  }

  #drop(messages: number): void {
    this.#counts.dropped += messages
    this.#dropped += messages
  }

  #overflow(messages: number): void {
    const { maxPendingBytes } = this.#engine.settings
    // Where nothing follows on a topic, others would not notice. It may have waited since this one went down.
    this.#latestNumbers.mayMiss(this.isUp ? 0 : Math.ceil(performance.now() - this.#left))
    this.#complaints.addByState('overflow', messages, (count, isMore) =>
      this.#error(
        'ERR_BACKPLANE',
        isMore
          ? `has kept up for a second: before, ${count} more messages were dropped beyond maxPendingBytes, ${maxPendingBytes}`
          : `is too slow: ${count} messages were dropped beyond maxPendingBytes, ${maxPendingBytes}; how many more are is told in the end`,
        count,
      ),
    )
  }

  /** Undefined: how many is not known. */
  #miss(messages: number | undefined): void {
    if (messages === undefined) this.#isMissingMore = true
    this.#missing += messages ?? 0
    this.#counts.missing += messages ?? 0
    this.#gap()
  }

  /**
   * Opens a gap, unless one is open. It is told when it closes, with all that was found missing
   * meanwhile.
   */
  #gap(): void {
    if (!this.#isGapOpen) this.#counts.gaps += 1
    this.#isGapOpen = true
    // What comes while it is down is the first of an engine that is about to tell `up`, or to fail once more.
    if (this.#state === 'down' || this.#gapTimer !== undefined) return
    const window = Math.max(GAP_WINDOW, this.#returned + RETURN_WINDOW - performance.now())
    this.#gapTimer = setTimeout(() => this.#tellGap(), window).unref()
  }

  /** Tells the gap that is open, if there is one, and closes it. */
  #tellGap(): void {
    clearTimeout(this.#gapTimer)
    this.#gapTimer = undefined
    if (!this.#isGapOpen) return
    this.#isGapOpen = false
    const [missing, dropped] = [this.#missing, this.#dropped]
    const found = missingOf(missing, this.#isMissingMore, this.#lostEnvelopes)
    this.#missing = 0
    this.#isMissingMore = false
    this.#lostEnvelopes = 0
    this.#dropped = 0
    const own = dropped > 0 ? `; ${dropped} of this server were not sent, or may not have arrived` : ''
    this.#owner.report(this.#error('ERR_BACKPLANE_GAP', `has a gap: ${found}${own}`, missing + dropped))
  }

  #askForNumbers(): void {
    this.#latestNumbers.lost(this.#isBack ? Math.ceil(this.#returned - this.#left) : 0)
  }

  /** Whether it has just come back: others may still be away. */
  get #isBack(): boolean {
    return performance.now() - this.#returned < RETURN_WINDOW
  }

  #control(topic: string, head: EnvelopeHead, data: Buffer): void {
    if (topic !== OWN_TOPIC || !head.isControl) {
      this.#refuse(topic, undefined)
      return
    }
    this.#sequences.heard(head.origin)
    readMessages(data, head.messages, 0, (payload) => {
      if (!this.#questions.heard(head.origin, payload.toString())) this.#refuse(topic, undefined)
    })
  }

  /** What came in is none of our envelopes, or one of another version. */
  #refuse(topic: string, head: EnvelopeHead | number | undefined): void {
    this.#counts.foreign += 1
    const what =
      typeof head === 'number' ? `envelopes of version ${head}, where this server has ${ENVELOPE_VERSION}` : 'no envelopes'
    this.#complaints.add(`foreign ${what}`, 1, (count) =>
      this.#error(
        'ERR_BACKPLANE',
        `has brought ${count} foreign messages, the last on ${topic === OWN_TOPIC ? 'no topic' : `the topic ${quote(topic)}`}: ${what}`,
        count,
      ),
    )
  }

  #failure(what: string, cause: unknown): BackplaneError {
    if (cause instanceof BackplaneError) return cause
    return this.#error('ERR_BACKPLANE', `${what}: ${cause instanceof Error ? cause.message : String(cause)}`, 0, cause)
  }

  #error(code: BackplaneError['code'], what: string, count: number, cause?: unknown): BackplaneError {
    const { name, address } = this.#engine
    return new BackplaneError(code, name, address, what, count, cause === undefined ? undefined : { cause })
  }
}

/** What is missing, for a message. `envelopes` were lost, of which some, or all, may be in `count`. */
function missingOf(count: number, isMore: boolean, envelopes: number): string {
  if (count === 0 && envelopes > 0) return `${envelopes} envelopes of others are missing`
  if (count === 0) return `messages of others ${isMore ? 'are missing, of which the number is not known' : 'may be missing'}`
  const known = `${count} messages of others are missing`
  if (envelopes > count) return `${known}, and more of ${envelopes} envelopes that were lost`
  return isMore ? `${known}, and more, of which the number is not known` : known
}
