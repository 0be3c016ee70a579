/**
 * Who subscribes to what, in the order in which handlers learn of it. An engine's own count runs ahead of
 * that: when several connections end at once it has forgotten all of them before the first `close` is
 * delivered. This one is kept only by servers on which a route has a `subscription` handler; to all others,
 * subscribing costs nothing more.
 */

/** Is told of the changes of its own subscriptions. */
export interface Subscriber {
  /** Must not throw: it is called in the middle of a change. */
  onSubscription(topic: string, subscribers: number, before: number): void
}

export class TopicCounts {
  readonly #counts = new Map<string, number>()
  readonly #topics = new Map<Subscriber, Set<string>>()

  count(topic: string): number {
    return this.#counts.get(topic) ?? 0
  }

  /** After the subscriber has subscribed to a topic that was new to it. */
  add(subscriber: Subscriber, topic: string): void {
    const topics = this.#topics.get(subscriber)
    if (topics === undefined) this.#topics.set(subscriber, new Set([topic]))
    else topics.add(topic)
    const before = this.count(topic)
    this.#counts.set(topic, before + 1)
    subscriber.onSubscription(topic, before + 1, before)
  }

  /** After it has unsubscribed from a topic that was among its own. */
  remove(subscriber: Subscriber, topic: string): void {
    this.#topics.get(subscriber)?.delete(topic)
    this.#drop(subscriber, topic)
  }

  /**
   * After it has left all its topics. What a handler does meanwhile finds each topic counted until its turn
   * comes.
   */
  leave(subscriber: Subscriber): void {
    const topics = this.#topics.get(subscriber)
    if (topics === undefined) return
    this.#topics.delete(subscriber)
    for (const topic of topics) this.#drop(subscriber, topic)
  }

  #drop(subscriber: Subscriber, topic: string): void {
    const before = this.count(topic)
    if (before > 1) this.#counts.set(topic, before - 1)
    else this.#counts.delete(topic)
    subscriber.onSubscription(topic, before - 1, before)
  }
}
