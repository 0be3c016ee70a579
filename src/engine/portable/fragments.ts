/** Messages in fragments, for `ws`: the message that is being sent, and what waits behind that message. */
import { Fifo } from '../../util/fifo.js'
import type { Fragment, Payload } from '../contract.js'

export interface HeldMessage {
  readonly data: Payload
  readonly isBinary: boolean
  /** Bytes; an empty message counts for at least one. */
  readonly size: number
  /** As the sender chose. */
  readonly compress: boolean | undefined
  /** Whether `onSent` is asked for. */
  readonly isReported: boolean
}

/** What `ws` is told of a fragment. */
export interface WsFragment {
  readonly binary: boolean
  readonly compress: boolean
  readonly fin: boolean
}

export class MessageInFragments {
  /** Undefined where another message in fragments begins. */
  readonly #held = new Fifo<HeldMessage | undefined>()
  #heldBytes = 0
  #compress = false
  /**
   * ws cannot end a compressed message with an empty fragment: each one waits for the next, since it may be
   * the last.
   */
  #last: Uint8Array | undefined
  /** Whether the message's sender waits for the drain. */
  awaitsDrain = false

  /** The sum of the sizes of what waits. */
  get heldBytes(): number {
    return this.#heldBytes
  }

  hold(message: HeldMessage): void {
    this.#held.push(message)
    this.#heldBytes += message.size
  }

  beginAnother(): void {
    this.#held.push(undefined)
  }

  /** Calls back with each fragment that can go. `wantsCompression` is asked once, with the first fragment. */
  send(
    data: Uint8Array,
    { isBinary, isFirst, isLast, compress }: Fragment,
    wantsCompression: (size: number, choice: boolean | undefined) => boolean,
    write: (data: Uint8Array, options: WsFragment) => void,
  ): void {
    if (isFirst) this.#compress = wantsCompression(data.length, compress)
    const options = { binary: isBinary, compress: this.#compress, fin: isLast }
    if (!this.#compress) {
      write(data, options)
      return
    }
    const isBareFin = isLast && data.length === 0
    if (this.#last !== undefined) write(this.#last, { ...options, fin: isBareFin })
    this.#last = isLast ? undefined : data
    if (isLast && !isBareFin) write(data, options)
  }

  /**
   * Gives the messages that have waited, up to the next message in fragments. False when no message in
   * fragments waits.
   */
  release(send: (message: HeldMessage) => void): boolean {
    while (this.#held.length > 0) {
      const message = this.#held.shift()
      if (message === undefined) return true
      this.#heldBytes -= message.size
      send(message)
    }
    return false
  }
}
