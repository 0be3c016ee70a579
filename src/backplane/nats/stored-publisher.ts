/**
 * Publishes to a stream, and hears what became of it. The client's own way makes a timer, promises and an
 * Error for each message: small ones take twice as long with it.
 */
import { Buffer } from 'node:buffer'
import type { NatsConnection } from '@nats-io/transport-node'
import { violationOf } from './permissions.js'

/** What the stream replies to a message. */
interface Reply {
  readonly stream?: string
  readonly error?: { readonly description?: string }
}

/** The stream has refused a message, and would refuse it again. */
export class RefusedError extends Error {
  override readonly name = 'RefusedError'
  /** Whether the user has no right to publish it. */
  readonly isForbidden: boolean

  constructor(message: string, isForbidden: boolean) {
    super(message)
    this.isForbidden = isForbidden
  }
}

/** There is no stream for the subject, or, for a moment after it was made, none yet. */
export class NoStreamError extends Error {
  override readonly name = 'NoStreamError'
}

interface Sent {
  readonly subject: string
  resolve(): void
  reject(cause: Error): void
}

export class StoredPublisher {
  readonly #connection: NatsConnection
  readonly #inbox: string
  readonly #sent = new Map<string, Sent>()
  #last = 0

  /** `inbox` is a subject of this connection alone, without its last token. `ended`: why no reply comes. */
  constructor(connection: NatsConnection, inbox: string, ended: (reason: string) => void) {
    this.#connection = connection
    this.#inbox = inbox
    connection.subscribe(`${inbox}.*`, {
      callback: (error, message) => {
        if (error !== null) ended(error.message)
        else this.#replied(message.subject.slice(inbox.length + 1), message.data)
      },
    })
    this.#watch().catch(() => {})
  }

  /**
   * Resolves when it is stored; rejects with RefusedError or NoStreamError; does neither when the connection
   * is lost.
   */
  publish(subject: string, data: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      const number = `${++this.#last}`
      this.#connection.publish(subject, data, { reply: `${this.#inbox}.${number}` })
      this.#sent.set(number, { subject, resolve, reject })
    })
  }

  #replied(number: string, data: Uint8Array): void {
    const sent = this.#sent.get(number)
    if (sent === undefined) return
    this.#sent.delete(number)
    const { stream, error } = parse(data)
    if (error !== undefined) sent.reject(new RefusedError(error.description ?? 'the stream refuses it', false))
    else if (stream !== undefined) sent.resolve()
    // Nothing but a head says that there is no stream for the subject.
    else sent.reject(new NoStreamError('no stream has stored a message'))
  }

  async #watch(): Promise<void> {
    for await (const status of this.#connection.status()) {
      const violation = status.type === 'error' ? violationOf(status.error) : undefined
      if (violation?.operation !== 'publish') continue
      for (const [number, { subject, reject }] of this.#sent) {
        if (subject !== violation.subject) continue
        this.#sent.delete(number)
        reject(new RefusedError(violation.message, true))
        break
      }
    }
  }
}

function parse(data: Uint8Array): Reply {
  try {
    // The broker's own reply.
    return JSON.parse(Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString()) as Reply
  } catch {
    return {}
  }
}
