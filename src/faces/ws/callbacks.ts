/** Calls back, in order, when messages have been written: `ws` calls back when a write is done. */
import process from 'node:process'

export type SendCallback = (error?: Error) => void

export class SendCallbacks {
  /** Those of messages that wait behind bytes that the client has not read. */
  #waiting: SendCallback[] = []
  #isCut = false

  /** The message was taken; `waits` says whether it waits behind earlier ones. */
  taken(callback: SendCallback, waits: boolean): void {
    if (waits || this.#waiting.length > 0) this.#waiting.push(callback)
    else process.nextTick(() => (this.#isCut ? callback(unwritten()) : callback()))
  }

  /** The connection is cut: what was not written is lost. */
  cut(): void {
    this.#isCut = true
  }

  /** Nothing waits any more. */
  drained(): void {
    this.#settle(undefined)
  }

  /** The connection has ended: what waits will not be written. */
  failed(): void {
    this.#settle(unwritten())
  }

  #settle(error: Error | undefined): void {
    const settled = this.#waiting
    this.#waiting = []
    // Each by itself: one that throws, which is an uncaught exception, keeps no other from being called.
    for (const callback of settled) process.nextTick(callback, ...(error === undefined ? [] : [error]))
  }
}

function unwritten(): Error {
  return new Error('The socket was closed before the data was written')
}
