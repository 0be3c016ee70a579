/** Which connections subscribe to which topics, for `publish` of the portable engine. */
import type { ConnectionId } from '../contract.js'

const NO_SUBSCRIBERS: ReadonlySet<ConnectionId> = new Set()

export class Topics {
  readonly #subscribers = new Map<string, Set<ConnectionId>>()
  readonly #topics = new Map<ConnectionId, Set<string>>()

  /** False when the connection was subscribed already. */
  subscribe(id: ConnectionId, topic: string): boolean {
    return add(this.#topics, id, topic) && add(this.#subscribers, topic, id)
  }

  /** False when the connection was not subscribed. */
  unsubscribe(id: ConnectionId, topic: string): boolean {
    return remove(this.#topics, id, topic) && remove(this.#subscribers, topic, id)
  }

  unsubscribeAll(id: ConnectionId): void {
    for (const topic of this.of(id)) this.unsubscribe(id, topic)
  }

  has(id: ConnectionId, topic: string): boolean {
    return this.#topics.get(id)?.has(topic) ?? false
  }

  of(id: ConnectionId): string[] {
    return [...(this.#topics.get(id) ?? [])]
  }

  subscribers(topic: string): ReadonlySet<ConnectionId> {
    return this.#subscribers.get(topic) ?? NO_SUBSCRIBERS
  }
}

function add<K, V>(sets: Map<K, Set<V>>, key: K, value: V): boolean {
  const set = sets.get(key)
  if (set === undefined) sets.set(key, new Set([value]))
  else if (set.has(value)) return false
  else set.add(value)
  return true
}

/** Empty sets are not kept: topics come and go. */
function remove<K, V>(sets: Map<K, Set<V>>, key: K, value: V): boolean {
  const set = sets.get(key)
  if (set === undefined || !set.delete(value)) return false
  if (set.size === 0) sets.delete(key)
  return true
}
