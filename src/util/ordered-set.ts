/**
 * A Set would do, but not for members that live for a moment. When the table of a Set is full V8 makes
 * another, and the old one refers to it. As soon as one of them has become old, for the garbage collector,
 * all that follow it stay until the next full collection, with their members: of a server that does nothing
 * but handshakes that was a fifth of all that it allocated.
 */

/**
 * A name that nothing of a user's can have: sockets are members, and carry whatever their users give them.
 */
export const kIndex = Symbol('place')

export interface Member {
  /** Written by `OrderedSet` alone, of which it may be in one at a time. */
  [kIndex]: number
}

/** Gaps that are left where they are, beside as many as there are members. */
const FEW_GAPS = 64

/** What is there, in the order of its coming. */
export class OrderedSet<M extends Member> {
  /** Undefined where one has gone. */
  readonly #members: (M | undefined)[] = []
  /** Of each, or of the one that has gone; in ascending order, as they count on. */
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
   * As with a Set: those that come meanwhile are visited too, those that have gone are not, and who leaves a
   * loop may go on later.
   */
  [Symbol.iterator](): IterableIterator<M, undefined> {
    let place = 0
    const next = (): IteratorResult<M, undefined> => {
      let index = this.#indexOf(place + 1)
      while (index < this.#members.length && this.#members[index] === undefined) index += 1
      const member = this.#members[index]
      // Once at its end it stays there.
      // Beside the member.
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

  /** Where a place is, or else the one after it. */
  #indexOf(place: number): number {
    let first = 0
    let end = this.#places.length
    while (first < end) {
      const middle = (first + end) >>> 1
      // Within the array.
      if ((this.#places[middle] as number) < place) first = middle + 1
      else end = middle
    }
    return first
  }

  /** In the same memory. */
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
