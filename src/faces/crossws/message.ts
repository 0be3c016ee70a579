/** A message as crossws gives it to its `message` hook. */
import { Buffer } from 'node:buffer'
import { randomUUID } from 'node:crypto'
import type { Peer } from './peer.js'

export class Message {
  readonly peer: Peer
  /** Text as a string, binary as a Buffer. */
  readonly rawData: string | Buffer
  #id: string | undefined

  constructor(rawData: string | Buffer, peer: Peer) {
    this.rawData = rawData
    this.peer = peer
  }

  get id(): string {
    this.#id ??= randomUUID()
    return this.#id
  }

  get data(): string | Buffer {
    return this.rawData
  }

  text(): string {
    return this.rawData.toString()
  }

  /** Throws SyntaxError when the message is not JSON. The type is the caller's claim. */
  json<T = unknown>(): T {
    return JSON.parse(this.text()) as T
  }

  uint8Array(): Uint8Array {
    return typeof this.rawData === 'string' ? Buffer.from(this.rawData) : this.rawData
  }

  /** Memory of its own. */
  arrayBuffer(): ArrayBuffer {
    return new Uint8Array(this.uint8Array()).buffer
  }

  blob(): Blob {
    return new Blob([this.arrayBuffer()])
  }

  toString(): string {
    return this.text()
  }

  [Symbol.toPrimitive](): string {
    return this.text()
  }
}
