// Counts what JavaScript gets in one turn of the event loop, for the bounds of docs/limits.md.

/** Bytes of a message from which on each KiB counts once more. */
const LONG = 64 * 1024

export class TurnCounts {
  /** Of the turn that had most: handlers of requests and upgrades, and messages, Pings and Pongs. */
  most = { requests: 0, events: 0, eventsOfOne: 0 }
  #requests = 0
  #events = 0
  /** By socket. */
  #each = new Map()
  #isWatched = false

  request() {
    this.#requests += 1
    this.#watch()
  }

  event(socket, length = 0) {
    const cost = 1 + (length > LONG ? Math.floor(length / 1024) : 0)
    this.#events += cost
    this.#each.set(socket, (this.#each.get(socket) ?? 0) + cost)
    this.#watch()
  }

  /** Node.js runs this after the sockets that were ready, and before the next ones. */
  #watch() {
    if (this.#isWatched) return
    this.#isWatched = true
    setImmediate(() => {
      this.#isWatched = false
      const { most } = this
      most.requests = Math.max(most.requests, this.#requests)
      most.events = Math.max(most.events, this.#events)
      for (const count of this.#each.values()) most.eventsOfOne = Math.max(most.eventsOfOne, count)
      this.#requests = 0
      this.#events = 0
      this.#each.clear()
    })
  }
}
