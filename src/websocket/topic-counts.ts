/**
 * Which sockets subscribe to which topics, in the order in which handlers learn of changes. An engine's own
 * count runs ahead of the handlers: when several connections end at once, the engine has forgotten all of
 * them before the first `close` is delivered. Only servers with a backplane, and those on which a route has a
 * `subscription` handler, keep this count; on all other servers, subscribing costs nothing more.
 */

/** A socket, which is told of changes of its own subscriptions. */
export interface Subscriber {
  /** Must not throw: TopicCounts calls it in the middle of a change. */
  onSubscription(topic: string, subscribers: number, before: number): void
}

/** Is told of topics that have their first subscriber, or have lost their last. Must not throw. */
export interface TopicObserver {
  subscribed(topic: string): void
  unsubscribed(topic: string): void
}

export class TopicCounts {
  /** Undefined where there is no backplane. */
  observer: TopicObserver | undefined
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
    if (before === 0) this.observer?.subscribed(topic)
    subscriber.onSubscription(topic, before + 1, before)
  }

  /** After the subscriber has unsubscribed from a topic that it had subscribed to. */
  remove(subscriber: Subscriber, topic: string): void {
    this.#topics.get(subscriber)?.delete(topic)
    this.#drop(subscriber, topic)
  }

  /**
   * After the subscriber has left all its topics. Its handlers are called topic by topic, and a handler finds
   * the topics that are not reached yet still counted.
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
    else {
      this.#counts.delete(topic)
      this.observer?.unsubscribed(topic)
    }
    subscriber.onSubscription(topic, before - 1, before)
  }
}
