/**
 * Which topics this server wants from its backplane: those with a subscriber here, and for a while those that
 * had one. Changes are collected, and told once a turn.
 */
export interface InterestChanges {
  readonly added: readonly string[]
  readonly removed: readonly string[]
}

const NO_CHANGES: InterestChanges = { added: [], removed: [] }

export class Interest {
  readonly #linger: number
  readonly #changed: () => void
  /** What the engine knows, or will know with the next `take`. */
  readonly #topics: Set<string>
  readonly #added = new Set<string>()
  readonly #removed = new Set<string>()
  /** Topics without a subscriber, with the time at which they are given up; the first is due first. */
  readonly #leaving = new Map<string, number>()
  #timer: NodeJS.Timeout | undefined

  /**
   * `linger` is in milliseconds, `always` are topics that are of interest from the start. `changed` is called
   * when there is something to take.
   */
  constructor(linger: number, always: readonly string[], changed: () => void) {
    this.#linger = linger
    this.#changed = changed
    this.#topics = new Set(always)
  }

  /**
   * Also of one that is given up, as long as the engine has not heard of it: should it be wanted again until
   * then, nothing that has come meanwhile is missing.
   */
  has(topic: string): boolean {
    return this.#topics.has(topic) || this.#removed.has(topic)
  }

  get topics(): ReadonlySet<string> {
    return this.#topics
  }

  /** The topic has its first subscriber. */
  add(topic: string): void {
    this.#leaving.delete(topic)
    if (this.#topics.has(topic)) return
    this.#topics.add(topic)
    if (!this.#removed.delete(topic)) this.#added.add(topic)
    this.#changed()
  }

  /** The topic has lost its last subscriber. */
  remove(topic: string): void {
    if (!this.#topics.has(topic)) return
    if (this.#linger === 0) {
      this.#giveUp(topic)
      return
    }
    this.#leaving.delete(topic)
    this.#leaving.set(topic, Date.now() + this.#linger)
    this.#timer ??= setTimeout(() => this.#sweep(), this.#linger).unref()
  }

  /** What has changed since the last call. */
  take(): InterestChanges {
    if (this.#added.size === 0 && this.#removed.size === 0) return NO_CHANGES
    const changes = { added: [...this.#added], removed: [...this.#removed] }
    this.#added.clear()
    this.#removed.clear()
    return changes
  }

  close(): void {
    clearTimeout(this.#timer)
    this.#leaving.clear()
  }

  #sweep(): void {
    this.#timer = undefined
    const now = Date.now()
    for (const [topic, due] of this.#leaving) {
      // Not longer than `linger`, should the clock have been set back.
      const left = Math.min(due - now, this.#linger)
      if (left > 0) {
        this.#timer = setTimeout(() => this.#sweep(), left).unref()
        return
      }
      this.#leaving.delete(topic)
      this.#giveUp(topic)
    }
  }

  #giveUp(topic: string): void {
    this.#topics.delete(topic)
    if (!this.#added.delete(topic)) this.#removed.add(topic)
    this.#changed()
  }
}
