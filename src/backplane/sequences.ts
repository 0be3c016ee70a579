/**
 * Which messages of each topic and publisher have come, so that gaps are counted and repetitions left out.
 *
 * Publishers are processes: they come and go, and each has an id of its own. What is kept of one is given
 * back when it has been silent for minutes; and there is a limit for what is kept of all.
 */

/** Numbers that are kept: one for each publisher of each topic, about 100 bytes. At least half as many. */
const MAX_NUMBERS = 524_288
/** Milliseconds between two calls of `age`. */
export const AGE_INTERVAL = 5000
/**
 * Calls of `age`, five minutes, after which a publisher that was not heard is taken for gone: it says hello
 * in each interval. One that is cut off for longer is counted from its next message on.
 */
const LIFETIME = 60
/** The same where room is needed. */
const SHORT_LIFETIME = 2
/** Numbers that are kept of topics which were given up: at least as many, and at most twice. */
const MAX_LEFT = 32_768
/** Topics from which one call of `age` removes those that are gone: a few milliseconds. */
const TOPICS_IN_ONE_CALL = 10_000

export interface Arrived {
  /** Messages of the envelope that came before. */
  readonly repeated: number
  /**
   * Messages before the envelope that have not come. Undefined where some have not come, and the publisher
   * has numbered the topic anew since: how many is not known then.
   */
  readonly missing: number | undefined
}

const IN_ORDER: Arrived = { repeated: 0, missing: 0 }
const UNKNOWN: Arrived = { repeated: 0, missing: undefined }

interface Publisher {
  /** When it was heard last, in calls of `age`. */
  heard: number
  isGone: boolean
  /** What is kept of it. */
  numbers: number
}

/** Of one publisher, of one topic. */
interface Numbering {
  readonly publisher: Publisher
  /** The number of the last message. */
  last: number
  numbering: number
}

/** The head of an envelope, as far as it matters here. */
export interface Numbered {
  readonly origin: string
  readonly sequence: number
  readonly messages: number
  readonly isRestart: boolean
  readonly numbering: number
}

export class Sequences {
  /** By publisher, by topic. */
  readonly #topics = new Map<string, Map<string, Numbering>>()
  readonly #publishers = new Map<string, Publisher>()
  /**
   * The same of topics that were given up: if one is wanted again, what came before may come once more, where
   * its publisher does not know that it arrived.
   */
  #left = new Map<string, Map<string, Numbering>>()
  #leftBefore = new Map<string, Map<string, Numbering>>()
  #leftNumbers = 0
  readonly #limit: number
  #numbers = 0
  /** Calls of `age`. */
  #age = 0
  /** Topics that are still to be freed of publishers that are gone. */
  #sweep: IterableIterator<[string, Map<string, Numbering>]> | undefined
  /** Publishers have gone since the sweep began. */
  #isSweepDue = false

  constructor(limit = MAX_NUMBERS) {
    this.#limit = limit
  }

  /** How many numbers are kept. */
  get size(): number {
    return this.#numbers
  }

  /** Publishers that are known. */
  get publishers(): number {
    return this.#publishers.size
  }

  /** Notes an envelope that has come. */
  arrived(topic: string, { origin, sequence, messages, isRestart, numbering }: Numbered): Arrived {
    const last = sequence + messages - 1
    const known = this.#topics.get(topic)?.get(origin)
    if (known === undefined || known.publisher.isGone) {
      // Whether messages before it were sent since this member wants the topic, its number does not say.
      const before = (this.#left.get(topic)?.get(origin) ?? this.#leftBefore.get(topic)?.get(origin))?.last ?? 0
      this.#begin(topic, origin, Math.max(last, before), numbering)
      return sequence > before ? IN_ORDER : { repeated: Math.min(messages, before + 1 - sequence), missing: 0 }
    }
    known.publisher.heard = this.#age
    const before = known.last
    if (last > before) known.last = last
    if (sequence <= before) return { repeated: Math.min(messages, before + 1 - sequence), missing: 0 }
    const isSame = known.numbering === numbering
    known.numbering = numbering
    if (isRestart || sequence === before + 1) return IN_ORDER
    // Numbers that were begun anew are higher than all before: the difference is not a count.
    return isSame ? { repeated: 0, missing: sequence - before - 1 } : UNKNOWN
  }

  /** The publisher is alive. */
  heard(origin: string): void {
    const publisher = this.#publishers.get(origin)
    if (publisher !== undefined) publisher.heard = this.#age
  }

  /** The topic is of no interest any more: what comes of it later follows nothing. */
  forget(topic: string): void {
    const numberings = this.#topics.get(topic)
    if (numberings === undefined) return
    this.#topics.delete(topic)
    for (const { publisher } of numberings.values()) publisher.numbers -= 1
    this.#numbers -= numberings.size
    const before = this.#left.get(topic) ?? this.#leftBefore.get(topic)
    for (const [origin, known] of before ?? []) {
      if (!known.publisher.isGone && !numberings.has(origin)) numberings.set(origin, known)
    }
    this.#left.set(topic, numberings)
    this.#leftNumbers += numberings.size
    if (this.#leftNumbers < MAX_LEFT) return
    this.#leftBefore = this.#left
    this.#left = new Map()
    this.#leftNumbers = 0
  }

  /** To be called every AGE_INTERVAL in which publishers could be heard. Gives back what is not needed. */
  age(): void {
    this.#age += 1
    for (const [origin, publisher] of this.#publishers) {
      if (this.#age - publisher.heard < LIFETIME) continue
      publisher.isGone = true
      this.#publishers.delete(origin)
      if (publisher.numbers > 0) this.#isSweepDue = true
    }
    if (this.#sweep === undefined) {
      if (!this.#isSweepDue) return
      this.#isSweepDue = false
      this.#sweep = this.#topics.entries()
    }
    for (let n = 0; n < TOPICS_IN_ONE_CALL; n++) {
      const next = this.#sweep.next()
      if (next.done) {
        this.#sweep = undefined
        return
      }
      const [topic, numberings] = next.value
      for (const [origin, { publisher }] of numberings) if (publisher.isGone) this.#remove(topic, numberings, origin)
    }
  }

  #begin(topic: string, origin: string, last: number, numbering: number): void {
    if (this.#numbers >= this.#limit) this.#makeRoom()
    let publisher = this.#publishers.get(origin)
    if (publisher === undefined) {
      publisher = { heard: this.#age, isGone: false, numbers: 0 }
      this.#publishers.set(origin, publisher)
    }
    publisher.heard = this.#age
    publisher.numbers += 1
    let numberings = this.#topics.get(topic)
    if (numberings === undefined) {
      numberings = new Map()
      this.#topics.set(topic, numberings)
    }
    // One of a publisher that was taken for gone may be there.
    if (!numberings.has(origin)) this.#numbers += 1
    numberings.set(origin, { publisher, last, numbering })
  }

  /** Forgets half of all, first those of publishers that are gone or silent. */
  #makeRoom(): void {
    const isSilent = ({ publisher }: Numbering) => publisher.isGone || this.#age - publisher.heard > SHORT_LIFETIME
    for (const isRemoved of [isSilent, () => true]) {
      for (const [topic, numberings] of this.#topics) {
        for (const [origin, known] of numberings) {
          if (this.#numbers <= this.#limit / 2) return
          if (isRemoved(known)) this.#remove(topic, numberings, origin)
        }
      }
    }
  }

  #remove(topic: string, numberings: Map<string, Numbering>, origin: string): void {
    const known = numberings.get(origin)
    if (known === undefined) return
    known.publisher.numbers -= 1
    numberings.delete(origin)
    this.#numbers -= 1
    if (numberings.size === 0) this.#topics.delete(topic)
  }
}
