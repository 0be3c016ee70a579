/**
 * A queue whose cost does not depend on its length: the `shift` of a long array moves everything behind it.
 */

/** Items that were taken and whose places are still there, before what is left moves to the front. */
const MIN_TAKEN = 64

/** First in, first out. */
export class Fifo<T> {
  #items: (T | undefined)[] = []
  /** Items that were taken: the places before this one are empty. */
  #taken = 0

  get length(): number {
    return this.#items.length - this.#taken
  }

  push(item: T): void {
    this.#items.push(item)
  }

  /** The oldest item, which stays. Undefined when there is none. */
  get first(): T | undefined {
    return this.#items[this.#taken]
  }

  /** Takes the oldest item. Undefined when there is none. */
  shift(): T | undefined {
    const item = this.#items[this.#taken]
    if (this.length === 0) return undefined
    this.#items[this.#taken] = undefined
    this.#taken += 1
    // Each item is moved once for each that was taken, at most.
    if (this.length === 0) this.clear()
    else if (this.#taken >= MIN_TAKEN && this.#taken >= this.length) {
      this.#items = this.#items.slice(this.#taken)
      this.#taken = 0
    }
    return item
  }

  clear(): void {
    this.#items = []
    this.#taken = 0
  }

  /** What waits, the oldest first. */
  toArray(): T[] {
    // What was taken is not among them, and undefined is there only where T has it.
    return this.#items.slice(this.#taken) as T[]
  }
}
