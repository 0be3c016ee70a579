/** The receiving half of permessage-deflate (RFC 7692) for one connection of the portable engine. */
import { Buffer } from 'node:buffer'
import { createInflateRaw, type InflateRaw } from 'node:zlib'
import type { CompressionWindow } from '../contract.js'

/** What a sender leaves out at the end of a message (RFC 7692, section 7.2.1). */
const TRAILER = Buffer.from([0x00, 0x00, 0xff, 0xff])

/**
 * Inflations that are under way at once, of all connections of this thread. Node inflates on its thread pool,
 * and too many inflations at once would keep every other task waiting; `ws` has the same limit for its
 * compressions.
 */
const MAX_AT_ONCE = 10

/** Bytes of one piece that comes out: the default of Node's zlib. */
const PIECE = 16 * 1024

/**
 * Bytes that come out of one message before it makes room for messages that wait. About a millisecond of
 * work: a short message waits that long for each long message before it, and not until the long ones are
 * done. To stop and go on costs some microseconds.
 */
const MAX_BYTES_AT_ONCE = 8 * PIECE

/** A fragment of a message that is being inflated, or waits for that. */
interface Task {
  readonly bytes: Buffer
  readonly isLast: boolean
  readonly callback: (error: Error | undefined) => void
}

export class Inflater {
  readonly #window: CompressionWindow
  readonly #onData: (bytes: Buffer) => void
  #zlib: InflateRaw | undefined
  #task: Task | undefined
  #hasBegun = false
  /** Whether zlib has a task: until all of its output has come. */
  #isWorking = false
  #isClosed = false
  /** Bytes that have come out since the task was given its place. */
  #length = 0

  /** The output goes to `onData` in pieces of up to 16 KiB, one in a turn of the event loop. */
  constructor(window: CompressionWindow, onData: (bytes: Buffer) => void) {
    this.#window = window
    this.#onData = onData
  }

  /** Inflates a fragment of a message. Calls back, later, when all of it has come out. One at a time. */
  inflate(bytes: Buffer, isLast: boolean, callback: (error: Error | undefined) => void): void {
    this.#task = { bytes, isLast, callback }
    this.#hasBegun = false
    places.ask(this)
  }

  /** Begins the task, or goes on with it. Called when there is a place for it. */
  proceed(): void {
    this.#length = 0
    if (this.#hasBegun) this.#zlib?.resume()
    else if (this.#task !== undefined) this.#begin(this.#task)
  }

  /**
   * Calls nothing back from here on. While the thread pool inflates a piece, the inflater keeps its place:
   * zlib would go on with that piece after it was closed.
   */
  close(): void {
    this.#task = undefined
    this.#isClosed = true
    if (!this.#isWorking || this.#zlib?.isPaused()) this.#drop()
  }

  #drop(): void {
    this.#zlib?.close()
    this.#zlib = undefined
    places.leave(this)
  }

  #begin({ bytes, isLast }: Task): void {
    this.#hasBegun = true
    this.#isWorking = true
    this.#zlib ??= this.#make()
    const zlib = this.#zlib
    zlib.write(bytes)
    if (isLast) zlib.write(TRAILER)
    zlib.flush(() => {
      if (this.#zlib !== zlib) return
      this.#isWorking = false
      if (this.#isClosed) {
        this.#drop()
        return
      }
      if (!zlib.isPaused()) {
        this.#finish(zlib, isLast)
        return
      }
      // zlib's last piece and its end have come while zlib was stopped: it emits both in ticks of this turn.
      zlib.resume()
      setImmediate(() => this.#finish(zlib, isLast))
    })
  }

  #finish(zlib: InflateRaw, isLast: boolean): void {
    if (this.#zlib !== zlib) return
    if (zlib.readableEnded) {
      // A final block (RFC 7692, section 7.2.3.5): the next message begins a new stream.
      zlib.close()
      this.#zlib = undefined
    } else if (isLast && !this.#window.takeover) {
      zlib.reset()
    }
    this.#end(undefined)
  }

  #end(error: Error | undefined): void {
    const task = this.#task
    this.#task = undefined
    places.leave(this)
    task?.callback(error)
  }

  #make(): InflateRaw {
    // A stopped stream keeps one piece, and begins no other.
    const options = { windowBits: this.#window.windowBits, chunkSize: PIECE, highWaterMark: PIECE }
    const zlib = createInflateRaw(options)
    zlib.on('data', (bytes: Buffer) => {
      if (this.#zlib !== zlib) return
      if (this.#isClosed) {
        this.#drop()
        return
      }
      this.#length += bytes.length
      if (this.#isWorking && this.#length >= MAX_BYTES_AT_ONCE && places.areWanted) {
        zlib.pause()
        places.giveBack(this)
      }
      this.#onData(bytes)
    })
    zlib.on('error', (error) => {
      if (this.#zlib !== zlib) return
      this.#zlib = undefined // it has closed itself
      this.#isWorking = false
      this.#end(error)
    })
    return zlib
  }
}

/** Lets some inflate at once, and the others wait in their order. */
class Places {
  readonly #taken = new Set<Inflater>()
  readonly #waiting = new Set<Inflater>()

  /** Whether others wait. */
  get areWanted(): boolean {
    return this.#waiting.size > 0
  }

  /** Has `Places` call the inflater's `proceed`, now or later. */
  ask(inflater: Inflater): void {
    this.#waiting.add(inflater)
    this.#fill()
  }

  /** The inflater goes on behind all that wait. */
  giveBack(inflater: Inflater): void {
    if (this.#taken.delete(inflater)) this.ask(inflater)
  }

  leave(inflater: Inflater): void {
    this.#waiting.delete(inflater)
    this.#taken.delete(inflater)
    this.#fill()
  }

  #fill(): void {
    for (const inflater of this.#waiting) {
      if (this.#taken.size >= MAX_AT_ONCE) return
      this.#waiting.delete(inflater)
      this.#taken.add(inflater)
      inflater.proceed()
    }
  }
}

const places = new Places()
