/**
 * When members say where the numbers of their topics are, so that a gap says all that is missing: a topic on
 * which nothing follows would otherwise show its loss only with its next message, whenever that comes.
 *
 * A member that has lost something asks all others, and says its own numbers as well: what it has published
 * may be what is lost. Whatever is asked within a pause has one answer.
 */

/**
 * Milliseconds between a question and its answer: members that have lost the same broker come back one after
 * the other, and a topic that has a message meanwhile needs no answer.
 */
const PAUSE = 250
/** Milliseconds between two questions of a member, or two answers, at least. */
const INTERVAL = 500
/** Milliseconds before an outage is noticed in which messages may have been lost already. */
const UNNOTICED = 60_000

export interface LatestNumbersOwner {
  /** Asks all others for the topics that they have used in so many milliseconds. */
  ask(within: number): void
  /**
   * Tells the numbers of the topics that were used last between two times, of `Date.now()`. False where it
   * cannot: it is called again.
   */
  tell(since: number, until: number): boolean
}

export class LatestNumbers {
  readonly #owner: LatestNumbersOwner
  /** Of what is to be asked, and to be told: since when, by `Date.now()`. */
  #lostSince = Number.POSITIVE_INFINITY
  #askedSince = Number.POSITIVE_INFINITY
  /** When what is to be told was asked last. */
  #asked = 0
  #lastQuestion = Number.NEGATIVE_INFINITY
  #lastAnswer = Number.NEGATIVE_INFINITY
  #questionTimer: NodeJS.Timeout | undefined
  #answerTimer: NodeJS.Timeout | undefined

  constructor(owner: LatestNumbersOwner) {
    this.#owner = owner
  }

  /** This member may have lost messages, and others some of its own, for so many milliseconds. */
  lost(milliseconds: number): void {
    this.mayMiss(milliseconds)
    this.#lostSince = Math.min(this.#lostSince, Date.now() - milliseconds - UNNOTICED)
    const wait = this.#lastQuestion + INTERVAL - performance.now()
    if (wait <= 0) this.#ask()
    else this.#questionTimer ??= setTimeout(() => this.#ask(), wait).unref()
  }

  /** Others may miss what this member has published in so many milliseconds. */
  mayMiss(milliseconds: number): void {
    this.asked(milliseconds + UNNOTICED)
  }

  /** Another member asks for the topics that were used in so many milliseconds. */
  asked(within: number): void {
    this.#asked = Date.now()
    this.#askedSince = Math.min(this.#askedSince, this.#asked - within)
    const wait = Math.max(PAUSE, this.#lastAnswer + INTERVAL - performance.now())
    this.#answerTimer ??= setTimeout(() => this.#tell(), wait).unref()
  }

  /** What is asked of this member is told now, if it can be. */
  close(): void {
    clearTimeout(this.#questionTimer)
    if (this.#answerTimer === undefined) return
    clearTimeout(this.#answerTimer)
    this.#owner.tell(this.#askedSince, this.#asked)
  }

  #ask(): void {
    this.#questionTimer = undefined
    this.#lastQuestion = performance.now()
    const within = Date.now() - this.#lostSince
    this.#lostSince = Number.POSITIVE_INFINITY
    this.#owner.ask(within)
  }

  #tell(): void {
    this.#answerTimer = undefined
    this.#lastAnswer = performance.now()
    if (this.#owner.tell(this.#askedSince, this.#asked)) this.#askedSince = Number.POSITIVE_INFINITY
    else this.#answerTimer = setTimeout(() => this.#tell(), INTERVAL).unref()
  }
}
