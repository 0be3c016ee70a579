/** Calls back, in order, when messages have been written: `ws` calls back when a write is done. */
import process from 'node:process'
import type { Socket } from '../../index.js'

export type SendCallback = (error?: Error) => void

export class SendCallbacks {
  readonly #socket: Pick<Socket<unknown>, 'drained'>
  /** Those of messages that wait for the client to read, and that `drained` was asked for. */
  #watched: SendCallback[] = []
  /** Those of later messages: they may wait still when `drained` resolves. */
  #later: SendCallback[] = []
  #isCut = false

  constructor(socket: Pick<Socket<unknown>, 'drained'>) {
    this.#socket = socket
  }

  get areWaiting(): boolean {
    return this.#watched.length > 0
  }

  /** The message was taken; `waits` says whether it, or a part of it, waits for the client to read. */
  taken(callback: SendCallback, waits: boolean): void {
    if (this.areWaiting) {
      this.#later.push(callback)
    } else if (waits) {
      this.#watched.push(callback)
      this.#watch()
    } else {
      process.nextTick(() => (this.#isCut ? callback(unwritten()) : callback()))
    }
  }

  /** The connection is cut: what was not written is lost. */
  cut(): void {
    this.#isCut = true
  }

  /** No message waits any more. */
  drained(): void {
    this.#settle(undefined)
  }

  /** The connection has ended: what waits will not be written. */
  failed(): void {
    // An error knows its stack, which takes longer than the rest of the end.
    if (this.areWaiting) this.#settle(unwritten())
  }

  #settle(error: Error | undefined): void {
    const settled = [...this.#watched, ...this.#later]
    this.#watched = []
    this.#later = []
    callBack(settled, error)
  }

  /** Asks `drained` once for all that wait, since each call may cost a look at the whole queue. */
  #watch(): void {
    const watched = this.#watched
    this.#socket.drained().then(
      () => {
        if (this.#watched !== watched) return // they have been settled
        this.#watched = this.#later
        this.#later = []
        callBack(watched, undefined)
        if (this.areWaiting) this.#watch()
      },
      // The socket is closing, or has closed: then the server calls `drained` or `failed`.
      () => {},
    )
  }
}

function callBack(callbacks: readonly SendCallback[], error: Error | undefined): void {
  // Each by itself: one that throws, which is an uncaught exception, keeps no other from being called.
  for (const callback of callbacks) process.nextTick(callback, ...(error === undefined ? [] : [error]))
}

function unwritten(): Error {
  return new Error('The socket was closed before the data was written')
}
