/** Which Pongs answer a Ping (RFC 6455, section 5.5.3): the Pings of one socket that no Pong has answered. */
import { Buffer } from 'node:buffer'
import type { Payload } from '../engine/contract.js'

/** More Pings than this are forgotten, the oldest first: a client need not answer any. */
const MAX_PINGS = 16

export class SentPings {
  /** What each had in it, one character for each byte. */
  #payloads: string[] = []

  add(data: Payload): void {
    this.#payloads.push(Buffer.from(data).toString('latin1'))
    if (this.#payloads.length > MAX_PINGS) this.#payloads.shift()
  }

  /** Whether the Pong answers one of the Pings. It then answers all before that one. */
  answeredBy(pong: Buffer): boolean {
    const at = this.#payloads.indexOf(pong.toString('latin1'))
    if (at < 0) return false
    this.#payloads = this.#payloads.slice(at + 1)
    return true
  }
}
