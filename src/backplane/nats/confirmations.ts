/**
 * Learns from the broker that it has read what was published. NATS core confirms nothing but a PING, behind
 * all that was sent before it; and the reply wakes this process up once more, which costs more than many
 * messages. So one PING stands for all that is sent within a few milliseconds.
 */

/** Milliseconds after the first message that is not confirmed, from which on a PING goes with the next. */
const PING_DELAY = 5
/** The same, after which it goes by itself, which takes a write of its own. */
const MOST_DELAY = 10
/**
 * Bytes of memory of what is not confirmed, at which it follows at once: on a slow line, each reply is a sign
 * of life.
 */
const MOST_BYTES = 65_536
/** The same, as a part of what may be pending: what waits for a PING takes its room. */
const MOST_PART = 1 / 256

/** What one PING will confirm. */
interface Batch {
  readonly confirmed: Promise<void>
  /** Settles `confirmed` as the reply does. */
  settle(reply: Promise<void>): void
  readonly timer: NodeJS.Timeout
  /** By `performance.now()`. */
  readonly begun: number
  bytes: number
}

export class Confirmations {
  readonly #ping: () => Promise<void>
  readonly #mostBytes: number
  /** What was sent since the last PING. */
  #open: Batch | undefined

  /**
   * `ping` resolves when the broker has read all that was sent before it. `maxPendingBytes`: of the link,
   * which drops the oldest of what waits beyond it, together with what is not confirmed.
   */
  constructor(ping: () => Promise<void>, maxPendingBytes: number) {
    this.#ping = ping
    this.#mostBytes = Math.min(MOST_BYTES, maxPendingBytes * MOST_PART)
  }

  /**
   * To be called behind each message that was sent, with its bytes as the link counts them. Resolves when the
   * broker has read it.
   */
  sent(bytes: number): Promise<void> {
    this.#open ??= this.#begin()
    const { confirmed } = this.#open
    this.#open.bytes += bytes
    if (this.#open.bytes >= this.#mostBytes || performance.now() - this.#open.begun >= PING_DELAY) void this.ask()
    return confirmed
  }

  /** Asks now. Resolves when the broker has read all that was sent. */
  ask(): Promise<void> {
    const open = this.#open
    this.#open = undefined
    const reply = this.#ping()
    // Whoever has published waits for it, or has given up.
    reply.catch(() => {})
    if (open !== undefined) {
      clearTimeout(open.timer)
      open.settle(reply)
    }
    return reply
  }

  #begin(): Batch {
    let settle: Batch['settle'] = () => {}
    const confirmed = new Promise<void>((resolve) => {
      settle = resolve
    })
    confirmed.catch(() => {})
    const timer = setTimeout(() => void this.ask(), MOST_DELAY).unref()
    return { confirmed, settle, timer, begun: performance.now(), bytes: 0 }
  }
}
