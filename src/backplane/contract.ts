/**
 * The interface between a server and what carries its topics to other threads, processes and hosts.
 *
 * An engine moves envelopes of bytes between the members of one group: all servers that use the same broker
 * (or hub) with the same prefix. It knows topics as strings and envelopes as opaque bytes. The link above it
 * (`BackplaneLink` in link.ts) makes and reads the envelopes, leaves a member's own messages out, numbers
 * messages and notices gaps, limits what waits, and turns failures into errors and metrics. So an engine
 * needs none of that; and an engine may stand in front of another one (threads inside, a broker outside),
 * because an envelope that came from one may be given to the other as it is.
 *
 * Calls. All methods are called on the thread of the server, never from inside `deliver` or `onStatus`. None
 * but `start` and `close` may wait for the broker, and none may throw because of it.
 */
import type { Awaitable } from '../types/common.js'

/** Settings that every engine has; the functions that make engines take them as options. */
export interface BackplaneSettings {
  /**
   * Whether `listen` rejects with BackplaneError when the engine cannot start. When false, the server listens
   * without it, and the engine is started again every few seconds until it succeeds. Default true.
   */
  readonly required: boolean
  /**
   * Bytes of memory that may wait for the engine: messages, and about 310 bytes beside the topic for each
   * envelope, which has the messages of one topic and turn. 65,536 to 2^31-1. Beyond it the oldest messages
   * are dropped and counted. Default 16 MiB.
   */
  readonly maxPendingBytes: number
  /**
   * Milliseconds for which a topic stays subscribed behind the backplane after its last subscriber here has
   * left: 0 to 2^31-1. It keeps clients that come and go from making the engine subscribe each time. Default
   * 1,000.
   */
  readonly linger: number
}

/** One envelope on its way out: messages of one topic, by one server, numbered without a gap. */
export interface BackplaneEnvelope {
  /**
   * An exact string of 0 to 65,535 bytes of UTF-8. The empty topic is the link's own: questions to all
   * members and their replies. No engine replays it: what was asked of those who were there is not to be
   * done by one that is there later.
   */
  readonly topic: string
  /**
   * Never larger than `maxEnvelopeBytes`. Its bytes never change, and may be kept; they cannot be
   * transferred, since small envelopes share an ArrayBuffer with other Buffers.
   */
  readonly data: Uint8Array
  /** The number of the first message: with topic and the member's id, no other message has it. */
  readonly sequence: number
  /** How many messages are in it: 0 where it only says where the numbers of the topic are. */
  readonly messages: number
}

/**
 * - `up`: the engine is connected, and its subscriptions hold. Also the state after `start` has resolved,
 *   where it need not be told.
 * - `down`: nothing comes or goes, until the next `up`. Promises that `publish` has given reject.
 * - `gap`: messages may have been lost, in a way that the engine has noticed. After `up`, where it was down
 *   and does not replay what was sent meanwhile; at any time, where it was too slow. The link counts what is
 *   missing by the numbers of the messages.
 */
export type BackplaneStatus = 'up' | 'down' | 'gap'

/** What the link gives to an engine. */
export interface BackplaneHost {
  /** Names this member: 8 bytes in hexadecimal, different for each server object. */
  readonly id: string
  /**
   * Takes an envelope that came in, in the order in which its publisher sent it. The memory of `data` must
   * stay as it is from then on: payloads in it are not copied. The link leaves out what this member has sent
   * itself, what it has no interest in, and what is no envelope, so that an engine need not. Never throws.
   */
  deliver(topic: string, data: Uint8Array): void
  /**
   * Tells a change of state. `reason` is for people: it names no password. `envelopes` is for `gap`: how many
   * were lost, where the engine knows it. The numbers of the messages do not say it of a publisher and topic
   * of which none has come before. `milliseconds` is for `gap` too, without a `down` before it: for how long
   * messages may have been lost, where the engine has gone on without one that is behind it.
   */
  onStatus(status: BackplaneStatus, reason?: string, envelopes?: number, milliseconds?: number): void
  /**
   * An envelope that was given to `publish` could not be sent, while others could. Counted once, and
   * reported: also when the promise of that call rejects, if it is the same object.
   */
  onDropped(envelope: BackplaneEnvelope, reason: string): void
  /**
   * Tells what is wrong while the engine is up, for example with an engine behind it. `reason` is for people:
   * it names no password. Reported, at most once a second.
   */
  onProblem(reason: string): void
  /**
   * All topics of interest, for an engine that subscribes anew, in batches, before it tells `up`. What has
   * changed since the last call is told by `interest` after `up`.
   */
  topics(): Iterable<string>
}

/** Carries envelopes between the members of one group. One object serves one server. */
export interface BackplaneEngine {
  /** For messages and metrics, for example `redis`. */
  readonly name: string
  /** Where the broker is, for messages: an address without user and password. */
  readonly address: string
  /** What the user has chosen, defaults filled in. */
  readonly settings: BackplaneSettings
  /**
   * Whether members get, after `down` and `up`, what was sent meanwhile on their topics. Then the link keeps
   * what is published while the engine is down (as far as `maxPendingBytes` allows), gives it to `publish`
   * again after `up`, and leaves repeated envelopes out where they come in.
   */
  readonly isReplayed: boolean
  /**
   * Of an engine that stands in front of another one, and goes on without it: whether that one is up, as far
   * as this member knows. Missing, or undefined, where there is none. It is for metrics and health alone.
   */
  readonly isOutsideUp?: boolean | undefined
  /** The same: bytes of memory that wait here for that one. Missing where there is none. For metrics. */
  readonly pendingBytes?: number
  /** Bytes of one envelope. Read after `start`, and before each envelope is made. */
  readonly maxEnvelopeBytes: number
  /**
   * Connects. Resolves when envelopes can go and come; rejects when that is not possible now, and leaves
   * nothing behind: it may be called again. `close` may be called meanwhile.
   */
  start(host: BackplaneHost): Awaitable<void>
  /**
   * From now on this member wants the topics `added`, and no longer those in `removed`: once a turn, both
   * without repetitions, `added` in one call for up to 100,000 topics. While the engine is down it may be
   * ignored, since `topics()` then has the whole. To deliver more than what is wanted is allowed.
   */
  interest(added: readonly string[], removed: readonly string[]): void
  /**
   * Sends envelopes to the other members, in order for each topic: once a turn. Returns undefined when they
   * have been handed over for good, or a promise that resolves when the broker has them. What is unresolved
   * counts as waiting, and is limited. When the promise rejects, all of them are taken for lost. With
   * `isReplayed` they are given again after the next `up`: such an engine rejects only because it is down,
   * and then everything from the first envelope on that may not have arrived, in the order of the calls. May
   * be called while earlier promises are pending.
   */
  publish(envelopes: readonly BackplaneEnvelope[]): void | Promise<void>
  /**
   * Ends all connections that the engine has made. What `publish` has taken before is sent first, within
   * reason. Nothing is delivered afterwards. Also called when `start` is under way.
   */
  close(): Awaitable<void>
}
