/**
 * Topics as subjects: one token behind the prefix, which begins with how the rest is written: `t` as it is,
 * `b` in base64url, `h` as the hash of a topic that would be too long for a line of the protocol.
 */
import { Buffer } from 'node:buffer'
import { createHash } from 'node:crypto'

/** Characters of a token; a line of the protocol has 4096 bytes by default. */
const MAX_TOKEN = 1024

export class Subjects {
  readonly #prefix: string
  /** Topics that were hashed and subscribed, by their subjects. */
  readonly #hashed = new Map<string, string>()

  constructor(prefix: string) {
    this.#prefix = prefix
  }

  of(topic: string): string {
    return this.#prefix + tokenOf(topic)
  }

  /** From now on, `topicOf` knows the topic, also where its subject is a hash. */
  remember(topic: string, subject: string): void {
    if (this.#isHashed(subject)) this.#hashed.set(subject, topic)
  }

  forget(subject: string): void {
    this.#hashed.delete(subject)
  }

  /** Whether the subject can be one of a topic, be it of one that is not known. */
  isTopic(subject: string): boolean {
    return subject.startsWith(this.#prefix) && /^(t|b|h.)/.test(subject.slice(this.#prefix.length))
  }

  /** Undefined for subjects that are none of a topic, and for hashed topics that were not remembered. */
  topicOf(subject: string): string | undefined {
    if (!subject.startsWith(this.#prefix)) return undefined
    const at = this.#prefix.length
    const rest = subject.slice(at + 1)
    if (subject[at] === 't') return rest
    if (subject[at] === 'b') return Buffer.from(rest, 'base64url').toString()
    return this.#hashed.get(subject)
  }

  #isHashed(subject: string): boolean {
    return subject[this.#prefix.length] === 'h'
  }
}

function tokenOf(topic: string): string {
  if (topic.length < MAX_TOKEN && /^[\w:/-]*$/.test(topic)) return `t${topic}`
  const encoded = Buffer.from(topic).toString('base64url')
  return encoded.length < MAX_TOKEN ? `b${encoded}` : `h${createHash('sha256').update(topic).digest('base64url')}`
}
