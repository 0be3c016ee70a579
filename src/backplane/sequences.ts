/**
 * Which messages of each topic and publisher have come, so that gaps are counted and repetitions left
 * out.
 */

/** Publishers of one topic that are remembered, the newest first. */
const MAX_ORIGINS = 4096

export interface Arrived {
  /** Messages of the envelope that came before. */
  readonly repeated: number
  /** Messages before the envelope that have not come. */
  readonly missing: number
}

const IN_ORDER: Arrived = { repeated: 0, missing: 0 }

export class Sequences {
  /** The last number, by publisher, by topic. */
  readonly #topics = new Map<string, Map<string, number>>()

  /** Notes an envelope of `messages` messages that has come. */
  arrived(topic: string, origin: string, sequence: number, messages: number, isRestart: boolean): Arrived {
    let origins = this.#topics.get(topic)
    if (origins === undefined) {
      origins = new Map()
      this.#topics.set(topic, origins)
    }
    const before = origins.get(origin)
    const last = sequence + messages - 1
    if (before === undefined) {
      if (origins.size >= MAX_ORIGINS) origins.delete(origins.keys().next().value ?? '')
      origins.set(origin, last)
      return IN_ORDER
    }
    if (last > before) origins.set(origin, last)
    if (sequence === before + 1) return IN_ORDER
    if (sequence <= before) return { repeated: Math.min(messages, before + 1 - sequence), missing: 0 }
    return { repeated: 0, missing: isRestart ? 0 : sequence - before - 1 }
  }

  /** The topic is of no interest any more: what comes of it later follows nothing. */
  forget(topic: string): void {
    this.#topics.delete(topic)
  }
}
