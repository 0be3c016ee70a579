/** A route's `rateLimit`, measured for one socket. */

/** A rate limit, checked and complete. */
export interface RateLimitSettings {
  /** Messages, and bytes of messages, in each window; Infinity for any number. */
  readonly messages: number
  readonly bytes: number
  /** Milliseconds of a window. */
  readonly window: number
  /** Whether a message too many ends the connection. Otherwise the message waits. */
  readonly closes: boolean
}

/**
 * Counts in windows of a fixed length. The first window begins with the first message; another begins when
 * the one before is over and everything that was counted has been paid for: a message longer than `bytes` is
 * taken when the window is empty, and uses up as many windows as it needs. Times are those of
 * `performance.now`.
 */
export class RateMeter {
  readonly #settings: RateLimitSettings
  #start = 0
  /**
   * Messages and bytes taken in this window, or still to be paid for. Below zero: how many may be taken
   * beyond the limit.
   */
  #messages = 0
  #bytes = 0

  constructor(settings: RateLimitSettings) {
    this.#settings = settings
  }

  /**
   * 0 when a message of `bytes` is within the limit; the message was then counted. Otherwise the milliseconds
   * after which the message is within the limit, if no other message comes first.
   */
  take(bytes: number, now: number): number {
    this.#advance(now)
    const { messages: maxMessages, bytes: maxBytes, window, closes } = this.#settings
    const messagesOver = this.#messages + 1 - maxMessages
    const bytesOver = this.#bytes + bytes - maxBytes
    // A message that waits must not wait for ever.
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
   * The server did not read from the client between these two times. The client's messages from that time
   * come all at once, through no fault of the client: so many more are taken as the client was free to send.
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
