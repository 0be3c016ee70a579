/** Topics to which the user of a broker has no right. The others go on, and so does the connection. */
import { quote } from './complaints.js'
import { OWN_TOPIC } from './envelope.js'
import type { SessionEvents } from './session.js'

/** Topics that one error names. */
const MOST_NAMED = 10

/** Tells them together, once for each turn. Without the link's own one the session ends. */
export class RefusedTopics {
  readonly #events: SessionEvents
  #topics: string[] = []

  constructor(events: SessionEvents) {
    this.#events = events
  }

  add(topic: string, reason: string): void {
    if (topic === OWN_TOPIC) {
      this.#events.ended(reason)
      return
    }
    this.#topics.push(topic)
    if (this.#topics.length > 1) return
    setImmediate(() => {
      const topics = this.#topics
      this.#topics = []
      const named = topics.slice(0, MOST_NAMED).map(quote).join(', ')
      const others = topics.length > MOST_NAMED ? ` and ${topics.length - MOST_NAMED} others` : ''
      this.#events.problem(`nothing comes of the topics ${named}${others}: ${reason}`)
    })
  }
}
