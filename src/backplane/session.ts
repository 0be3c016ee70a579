/** A session of an engine on a broker, as `SessionEngine` has it made. */
import type { BackplaneEnvelope } from './contract.js'

/** One stretch of time in which the broker is connected. */
export interface Session {
  readonly maxEnvelopeBytes: number
  /**
   * Resolves when the broker has confirmed. Topics may be subscribed already. Neither this nor `unsubscribe`
   * is called while a change of the same topic is not confirmed.
   */
  subscribe(topics: readonly string[]): Promise<void>
  unsubscribe(topics: readonly string[]): Promise<void>
  /** Resolves when the broker has all of them, but for those that were told to be dropped. */
  publish(envelopes: readonly BackplaneEnvelope[]): Promise<void>
  readonly connections: readonly SessionConnection[]
  /** Ends the connections, whatever waits. Idempotent. */
  destroy(): void
}

/** One of the connections of a session. */
export interface SessionConnection {
  /** Resolves when the broker has replied to what is sent now, behind all that was sent before. */
  ping(): Promise<unknown>
  /** When the broker was last heard on this connection, whatever it said: by `performance.now()`. */
  readonly heard: number
}

/** What a session tells while it lasts. */
export interface SessionEvents {
  /** Aborted when the engine is closed: connections that are being made end. */
  readonly closing: AbortSignal
  deliver(topic: string, data: Uint8Array): void
  /** Something has come that is no message of a topic, and no envelope. */
  foreign(): void
  /** Tells what is wrong, while the session lasts. */
  problem(reason: string): void
  dropped(envelope: BackplaneEnvelope, reason: string): void
  /** A connection is lost. */
  ended(reason: string): void
  gap(): void
}
