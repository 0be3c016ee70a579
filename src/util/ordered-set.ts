/**
 * Like Set, but V8's rehash of a Set keeps garbage alive where members live only for a moment. When the table
 * of a Set is full, V8 makes another, and the full table refers to the new one. As soon as the garbage
 * collector takes one table for old, all later tables stay until the next full collection, with their
 * members: a fifth of all memory that a server allocated which did nothing but handshakes.
 */

/**
 * A symbol, so that no property of a user's can have the same name: sockets are members, and users may add
 * properties to sockets.
 */
export const kIndex = Symbol('place')

export interface Member {
  /** Written by `OrderedSet` alone. A member may be in one OrderedSet at a time. */
  [kIndex]: number
}

/** Gaps are closed when there are more of them than members, by this number. */
const FEW_GAPS = 64

/** Members in the order in which they were added. */
export class OrderedSet<M extends Member> {
  /** Undefined where a member was deleted. */
  readonly #members: (M | undefined)[] = []
  /**
   * The place of each member, deleted ones included; in ascending order, as each new place is the highest so
   * far.
   */
  readonly #places: number[] = []
  #lastPlace = 0
  #size = 0

  get size(): number {
    return this.#size
  }

  add(member: M): void {
    this.#lastPlace += 1
    member[kIndex] = this.#lastPlace
    this.#places.push(this.#lastPlace)
    this.#members.push(member)
    this.#size += 1
  }

  delete(member: M): void {
    const index = this.#indexOf(member[kIndex])
    if (this.#members[index] !== member) return
    this.#members[index] = undefined
    this.#size -= 1
    if (this.#members.length > 2 * this.#size + FEW_GAPS) this.#closeGaps()
  }

  /**
   * As with a Set: members that are added during the iteration are visited too, deleted members are not, and
   * an iterator whose loop was left may go on later.
   */
  [Symbol.iterator](): IterableIterator<M, undefined> {
    let place = 0
    const next = (): IteratorResult<M, undefined> => {
      let index = this.#indexOf(place + 1)
      while (index < this.#members.length && this.#members[index] === undefined) index += 1
      const member = this.#members[index]
      // An iterator that has come to its end stays there. The place is there, since the member is.
      place = member === undefined ? Number.POSITIVE_INFINITY : (this.#places[index] as number)
      return member === undefined ? { done: true, value: undefined } : { done: false, value: member }
    }
    return {
      next,
      [Symbol.iterator]() {
        return this
      },
    }
  }

  /** The index of a place, or of the next higher one. */
  #indexOf(place: number): number {
    let first = 0
    let end = this.#places.length
    while (first < end) {
      const middle = (first + end) >>> 1
      // The cast holds because `middle` is within the array.
      if ((this.#places[middle] as number) < place) first = middle + 1
      else end = middle
    }
    return first
  }

  /** Moves the members together, within the same arrays. */
  #closeGaps(): void {
    let count = 0
    for (const member of this.#members) {
      if (member === undefined) continue
      this.#members[count] = member
      this.#places[count] = member[kIndex]
      count += 1
    }
    this.#members.length = count
    this.#places.length = count
  }
}
