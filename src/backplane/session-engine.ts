/**
 * What engines on a broker have in common: one session after the other, each on connections of its own. A
 * client's own reconnecting is off, with its queue of unsent commands: both would hide from the link what was
 * lost. So a session is up when all topics are subscribed, and ends for good at the first failure.
 *
 * Long because what begins, carries and ends a session shares that session's state.
 */
import { setTimeout as setTimeoutPromise } from 'node:timers/promises'
import { BackplaneError } from '../errors.js'
import type { BackplaneEngine, BackplaneEnvelope, BackplaneHost, BackplaneSettings } from './contract.js'
import { OWN_TOPIC } from './envelope.js'
import { inTime } from './in-time.js'
import { reasonOf, withoutSecrets } from './reasons.js'
import type { Session, SessionConnection, SessionEvents } from './session.js'

/** Milliseconds before the second attempt to connect; doubled with each, up to the most. */
const FIRST_RETRY = 50
const MOST_RETRY = 1000
/** Milliseconds of a session after which the next one is tried as soon as at first. */
const STABLE = 2 * MOST_RETRY
/** Milliseconds for a connection, with its handshakes, and for each 1000 topics. */
export const CONNECT_TIMEOUT = 5000
/** Topics of one command: some clients take them as arguments, and 130,000 overflow the stack. */
const SUBSCRIBE_BATCH = 1000
/** What is no envelope, and has no topic, is counted by the link as one of its own. */
const NOTHING = new Uint8Array(0)
/** Milliseconds that `close` gives to what is under way. */
const CLOSE_PATIENCE = 1000

export interface SessionEngineOptions {
  readonly name: string
  readonly address: string
  readonly settings: BackplaneSettings
  readonly isReplayed: boolean
  /** Milliseconds in which the broker must reply to a PING. */
  readonly pingTimeout: number
  /** Rejects when there is no broker, or it refuses. */
  connect(events: SessionEvents): Promise<Session>
}

/** Envelopes that the session has been given. */
interface Pending {
  readonly work: Promise<unknown>
  /** For the link. */
  reject(cause: Error): void
}

export class SessionEngine implements BackplaneEngine {
  readonly name: string
  readonly address: string
  readonly settings: BackplaneSettings
  readonly isReplayed: boolean
  readonly #options: SessionEngineOptions
  #host: BackplaneHost | undefined
  #session: Session | undefined
  #isClosed = false
  /** When the session began, by `performance.now()`. */
  #begun = 0
  /** Milliseconds before the next attempt to connect. */
  #wait = FIRST_RETRY
  #timer: NodeJS.Timeout | undefined
  /** Of interest, since what the session was told last: true where a topic is wanted. */
  readonly #changes = new Map<string, boolean>()
  /** Whether the session has been told of changes, and the broker has not confirmed them. */
  #isChanging = false
  /** Topics whose end the broker has not confirmed. */
  #leaving: ReadonlySet<string> = new Set()
  /** What the session has been given and has not done, the oldest first. */
  readonly #pending = new Set<Pending>()
  /** Aborted when the engine is closed. */
  readonly #closing = new AbortController()
  /** While a session is being made. */
  #attempt: Promise<void> | undefined

  constructor(options: SessionEngineOptions) {
    this.#options = options
    this.name = options.name
    this.address = options.address
    this.settings = options.settings
    this.isReplayed = options.isReplayed
  }

  /** Of the last session while there is none: more than any broker takes before the first. */
  get maxEnvelopeBytes(): number {
    return this.#session?.maxEnvelopeBytes ?? this.#maxEnvelopeBytes
  }

  #maxEnvelopeBytes = 2 ** 31 - 1

  async start(host: BackplaneHost): Promise<void> {
    if (this.#isClosed) throw this.#refusal('it was closed')
    if (this.#host !== undefined && this.#host.id !== host.id) throw this.#refusal('another server has it')
    this.#host = host
    await this.#connect()
  }

  /** Servers see to it themselves, and what `threads` calls as `outside` need not. */
  #refusal(why: string): BackplaneError {
    const what = `failed to start: one object serves one server, and ${why}`
    return new BackplaneError('ERR_BACKPLANE', this.name, this.address, what, 0)
  }

  interest(added: readonly string[], removed: readonly string[]): void {
    if (this.#session === undefined) return
    for (const topic of added) this.#note(topic, true)
    for (const topic of removed) this.#note(topic, false)
    if (!this.#isChanging) void this.#change(this.#session)
  }

  /** What takes back a change that has not been sent cancels it. */
  #note(topic: string, isWanted: boolean): void {
    if (this.#changes.get(topic) === !isWanted) this.#changes.delete(topic)
    else this.#changes.set(topic, isWanted)
  }

  /**
   * One after the other: node-redis takes a channel for subscribed, and sends nothing for it, where the reply
   * to an earlier SUBSCRIBE comes while an UNSUBSCRIBE is on its way.
   */
  async #change(session: Session): Promise<void> {
    this.#isChanging = true
    try {
      while (this.#changes.size > 0 && session === this.#session) {
        const added: string[] = []
        const removed: string[] = []
        for (const [topic, isWanted] of this.#changes) (isWanted ? added : removed).push(topic)
        this.#changes.clear()
        this.#leaving = new Set(removed)
        await Promise.all([this.#subscribe(session, added), this.#unsubscribe(session, removed)])
        if (session === this.#session) this.#leaving = new Set()
      }
      if (session === this.#session) this.#isChanging = false
    } catch (cause) {
      this.#ended(session, reasonOf(cause))
    }
  }

  publish(envelopes: readonly BackplaneEnvelope[]): Promise<void> {
    const session = this.#session
    if (session === undefined) return Promise.reject(new Error('the broker is not connected'))
    const work = session.publish(this.#within(session.maxEnvelopeBytes, envelopes))
    // Rejects at the latest when the session ends, whatever the client does. This runs with each turn that
    // publishes: hence one promise, where a chain of `catch` and `finally` would make six.
    return new Promise((resolve, reject) => {
      const pending = { work, reject }
      this.#pending.add(pending)
      work.then(
        () => {
          this.#pending.delete(pending)
          resolve()
        },
        (cause: unknown) => {
          // The link gives again what was not sent: at once, were the session not over. It gets the oldest
          // first, and so this one with the others.
          this.#ended(session, reasonOf(cause))
          reject(withoutSecrets(cause))
        },
      )
    })
  }

  /** Envelopes that were made before the broker was known, or for one that takes more, are dropped. */
  #within(most: number, envelopes: readonly BackplaneEnvelope[]): readonly BackplaneEnvelope[] {
    if (envelopes.every(({ data }) => data.length <= most)) return envelopes
    return envelopes.filter((envelope) => {
      const { length } = envelope.data
      if (length > most) this.#host?.onDropped(envelope, `the broker takes at most ${most} bytes, and not ${length}`)
      return length <= most
    })
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#closing.abort()
    await this.#attempt?.catch(() => {})
    const session = this.#session
    if (session === undefined) return
    // A PING goes behind all that was given before; but its reply may be there before the link knows of the
    // others, and where there are several connections, before the broker has the messages.
    const pings = session.connections.map((connection) => connection.ping())
    const sent = Promise.allSettled([...this.#pending].map(({ work }) => work).concat(pings))
    await Promise.race([sent, setTimeoutPromise(CLOSE_PATIENCE, undefined, { ref: false })])
    this.#end(session, 'the server was closed')
  }

  #connect(): Promise<void> {
    this.#attempt = this.#tryToConnect().finally(() => {
      this.#attempt = undefined
    })
    return this.#attempt
  }

  async #tryToConnect(): Promise<void> {
    const events: SessionEvents = {
      closing: this.#closing.signal,
      deliver: (topic, data) => {
        if (this.#isClosed || over !== undefined) return
        // Where it is wanted again by now, this would be told as the last one before a gap.
        if (this.#leaving.size > 0 && this.#leaving.has(topic)) return
        this.#host?.deliver(topic, data)
      },
      foreign: () => this.#host?.deliver(OWN_TOPIC, NOTHING),
      problem: (reason) => this.#host?.onProblem(reason),
      dropped: (envelope, reason) => this.#host?.onDropped(envelope, reason),
      ended: (reason) => {
        over ??= reason
        if (session !== undefined) this.#ended(session, reason)
      },
      gap: () => this.#host?.onStatus('gap'),
    }
    let over: string | undefined
    let session: Session | undefined
    const { connect } = this.#options
    try {
      // A session that comes too late is ended.
      const late = new AbortController()
      const connecting = connect(events).then((made) => {
        if (late.signal.aborted) made.destroy()
        return made
      })
      const made = inTime(connecting, CONNECT_TIMEOUT, 'the broker has not replied', this.#closing.signal)
      session = await made.catch((cause: unknown) => {
        late.abort()
        connecting.catch(() => {})
        throw cause
      })
      this.#maxEnvelopeBytes = session.maxEnvelopeBytes
      const topics = [...(this.#host?.topics() ?? [])]
      const patience = CONNECT_TIMEOUT * (1 + topics.length / SUBSCRIBE_BATCH)
      const subscribing = this.#subscribe(session, topics)
      await inTime(subscribing, patience, 'the broker has not subscribed', this.#closing.signal)
      if (over !== undefined) throw new Error(over)
    } catch (cause) {
      session?.destroy()
      // What `close` has ended has not failed.
      if (this.#isClosed) return
      const what = `failed to start: ${reasonOf(cause)}`
      throw new BackplaneError('ERR_BACKPLANE', this.name, this.address, what, 0, { cause: withoutSecrets(cause) })
    }
    if (this.#isClosed) {
      session.destroy()
      return
    }
    this.#session = session
    this.#begun = performance.now()
    this.#watch(session)
  }

  async #subscribe(session: Session, topics: readonly string[]): Promise<void> {
    await Promise.all(batchesOf(topics).map((batch) => session.subscribe(batch)))
  }

  async #unsubscribe(session: Session, topics: readonly string[]): Promise<void> {
    await Promise.all(batchesOf(topics).map((batch) => session.unsubscribe(batch)))
  }

  #watch(session: Session): void {
    const { pingTimeout } = this.#options
    const asked = new Set<SessionConnection>()
    this.#timer = setInterval(() => {
      for (const connection of session.connections) {
        if (asked.has(connection)) continue
        asked.add(connection)
        alive(connection, pingTimeout)
          .catch((cause: unknown) => this.#ended(session, reasonOf(cause)))
          .finally(() => asked.delete(connection))
      }
    }, pingTimeout / 2).unref()
  }

  #ended(session: Session, reason: string): void {
    if (session !== this.#session) return
    // A broker that lets servers connect, and then refuses what they send, is not asked over and over.
    if (performance.now() - this.#begun > STABLE) this.#wait = FIRST_RETRY
    this.#end(session, reason)
    if (this.#isClosed) return
    this.#host?.onStatus('down', reason)
    void this.#reconnect()
  }

  #end(session: Session, reason: string): void {
    clearInterval(this.#timer)
    this.#session = undefined
    this.#changes.clear()
    this.#isChanging = false
    this.#leaving = new Set()
    session.destroy()
    const error = new Error(reason)
    for (const { reject } of this.#pending) reject(error)
    this.#pending.clear()
  }

  async #reconnect(): Promise<void> {
    while (!this.#isClosed) {
      const wait = this.#wait
      this.#wait = Math.min(2 * wait, MOST_RETRY)
      try {
        // Servers that have lost the same broker do not all come back at once.
        await setTimeoutPromise(wait * (0.5 + Math.random()), undefined, { ref: false, signal: this.#closing.signal })
        await this.#connect()
        break
      } catch {
        // Told already, by `down`.
      }
    }
    if (this.#isClosed || this.#session === undefined) return
    this.#host?.onStatus('up')
    if (!this.isReplayed) this.#host?.onStatus('gap')
  }
}

/** Topics for commands, which the broker works on one after the other. */
function batchesOf(topics: readonly string[]): string[][] {
  const batches: string[][] = []
  for (let at = 0; at < topics.length; at += SUBSCRIBE_BATCH) batches.push(topics.slice(at, at + SUBSCRIBE_BATCH))
  return batches
}

/**
 * Rejects when nothing has come on the connection for so long. The reply to a PING comes behind the replies
 * to all that was sent before, which may be megabytes on a slow line: each of those counts.
 */
async function alive(connection: SessionConnection, milliseconds: number): Promise<void> {
  const reply = connection.ping()
  for (;;) {
    const begun = performance.now()
    try {
      await inTime(reply, milliseconds, `the broker has not replied within ${milliseconds} ms`)
      return
    } catch (cause) {
      if (connection.heard <= begun) throw cause
    }
  }
}
