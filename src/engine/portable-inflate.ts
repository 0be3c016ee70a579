/** The receiving half of permessage-deflate (RFC 7692) for one connection of the portable engine. */
import { Buffer } from 'node:buffer'
import { createInflateRaw, type InflateRaw } from 'node:zlib'
import type { CompressionWindow } from './contract.js'

/** What a sender leaves out at the end of a message (RFC 7692, section 7.2.1). */
const TRAILER = Buffer.from([0x00, 0x00, 0xff, 0xff])

/**
 * Inflations that are under way at once, of all connections of this thread. Node does them on its thread
 * pool, where too many at once would keep everything else from it; ws has the same limit for what it
 * compresses.
 */
const MAX_AT_ONCE = 10

export class Inflater {
  readonly #window: CompressionWindow
  readonly #onData: (bytes: Buffer) => void
  #zlib: InflateRaw | undefined
  #isClosed = false
  #done: ((error: Error | undefined) => void) | undefined

  /**
   * What comes out goes to `onData`, in pieces of up to 16 KiB, the default of Node's zlib: one in a turn of
   * the event loop.
   */
  constructor(window: CompressionWindow, onData: (bytes: Buffer) => void) {
    this.#window = window
    this.#onData = onData
  }

  /** Inflates a fragment of a message. Calls back, later, when all of it has come out. One at a time. */
  inflate(bytes: Buffer, isLast: boolean, callback: (error: Error | undefined) => void): void {
    queue.add((release) => {
      if (this.#isClosed) return false
      this.#done = (error) => {
        this.#done = undefined
        release()
        if (!this.#isClosed) callback(error)
      }
      this.#start(bytes, isLast)
      return true
    })
  }

  /** Calls nothing back from here on. */
  close(): void {
    this.#isClosed = true
    this.#zlib?.close()
    this.#zlib = undefined
    this.#done?.(undefined)
  }

  #start(bytes: Buffer, isLast: boolean): void {
    this.#zlib ??= this.#make()
    const zlib = this.#zlib
    zlib.write(bytes)
    if (isLast) zlib.write(TRAILER)
    zlib.flush(() => {
      if (this.#zlib !== zlib) return
      if (zlib.readableEnded) {
        // A final block (RFC 7692, section 7.2.3.5): what follows begins anew.
        zlib.close()
        this.#zlib = undefined
      } else if (isLast && !this.#window.takeover) {
        zlib.reset()
      }
      this.#done?.(undefined)
    })
  }

  #make(): InflateRaw {
    const zlib = createInflateRaw({ windowBits: this.#window.windowBits })
    zlib.on('data', (bytes: Buffer) => {
      if (!this.#isClosed) this.#onData(bytes)
    })
    zlib.on('error', (error) => {
      this.#zlib = undefined // it has closed itself
      this.#done?.(error)
    })
    return zlib
  }
}

/** Lets a number of tasks run at once, and the others wait in their order. */
class TaskQueue {
  readonly #waiting = new Set<(release: () => void) => boolean>()
  #running = 0

  /** The task answers false when there is nothing to do any more; else it calls back when it has ended. */
  add(task: (release: () => void) => boolean): void {
    this.#waiting.add(task)
    this.#start()
  }

  #start(): void {
    for (const task of this.#waiting) {
      if (this.#running >= MAX_AT_ONCE) return
      this.#waiting.delete(task)
      this.#running += 1
      const release = () => {
        this.#running -= 1
        this.#start()
      }
      if (!task(release)) this.#running -= 1
    }
  }
}

const queue = new TaskQueue()
