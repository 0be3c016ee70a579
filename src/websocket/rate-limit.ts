/** A route's `rateLimit`, measured for one socket. */

/** Values are validated and complete. */
export interface RateLimitSettings {
  /** Messages, and bytes of them, in each window; Infinity for any number. */
  readonly messages: number
  readonly bytes: number
  /** Milliseconds of a window. */
  readonly window: number
  /** Whether a message too many ends the connection. Otherwise it waits. */
  readonly closes: boolean
}

/**
 * Counts in windows of a fixed length. The first begins with the first message, and another when the one
 * before is over and everything that was counted has been paid for: a message longer than `bytes` is taken
 * when the window is empty, and paid for with as many windows as it needs. Times are those of
 * `performance.now`.
 */
export class RateMeter {
  readonly #settings: RateLimitSettings
  #start = 0
  /** Taken in this window, or still to be paid for. Below zero: what may be taken beyond the limit. */
  #messages = 0
  #bytes = 0

  constructor(settings: RateLimitSettings) {
    this.#settings = settings
  }

  /**
   * 0 when a message of `bytes` is within the limit, and counted. Else the milliseconds after which it is, if
   * nothing comes first.
   */
  take(bytes: number, now: number): number {
    this.#advance(now)
    const { messages: maxMessages, bytes: maxBytes, window, closes } = this.#settings
    const messagesOver = this.#messages + 1 - maxMessages
    const bytesOver = this.#bytes + bytes - maxBytes
    // What waits must not wait for ever.
    const bytesDue = closes ? bytesOver : Math.min(bytesOver, this.#bytes)
    if (messagesOver <= 0 && bytesDue <= 0) {
      this.#messages += 1
      this.#bytes += bytes
      return 0
    }
    const windows = Math.ceil(Math.max(messagesOver > 0 ? messagesOver / maxMessages : 0, bytesDue > 0 ? bytesDue / maxBytes : 0))
    return this.#start + windows * window - now
  }

  /**
   * The client was not read between these two times. What it has sent meanwhile comes all at once, through no
   * fault of its own: so much more is taken as it was free to send.
   */
  forgive(from: number, until: number): void {
    this.#advance(from)
    const { messages, bytes, window } = this.#settings
    const windows = (until - from) / window
    if (messages !== Number.POSITIVE_INFINITY) this.#messages -= windows * messages
    if (bytes !== Number.POSITIVE_INFINITY) this.#bytes -= windows * bytes
    this.#start += until - from
  }

  #advance(now: number): void {
    const { messages, bytes, window } = this.#settings
    const windows = Math.floor((now - this.#start) / window)
    if (windows > 0) {
      this.#start += windows * window
      this.#messages = Math.max(0, this.#messages - windows * messages)
      this.#bytes = Math.max(0, this.#bytes - windows * bytes)
    }
    if (this.#messages === 0 && this.#bytes === 0) this.#start = now
  }
}
