/**
 * What a client sends, on its way from the socket to its reader: HTTP first, then frames. Each turn of the
 * event loop takes no more input than the budget of its connection; the rest waits here, and while too much
 * waits the socket is not read.
 */
import type { Buffer } from 'node:buffer'
import type { Socket as NetSocket } from 'node:net'
import process from 'node:process'
import { GrowingBuffer } from '../../util/growing-buffer.js'
import { transportOf } from './tls.js'
import { MAX_HELD_BYTES } from './turn-budget.js'
import { TurnBudget, turns, type Waiting } from './turns.js'

/**
 * While this many bytes wait, the socket is not read. While fewer wait it is read, or a client that goes away
 * would not be noticed. One more read of Node, of 64 KiB at most, comes on top: no more than 80 KiB wait, and
 * 128 KiB while there is no reader, since a decision about the client may take long then.
 */
const PAUSE_AT = MAX_HELD_BYTES / 4
const PAUSE_WITHOUT_READER_AT = MAX_HELD_BYTES

/**
 * Bytes that the smallest read counts for: a client may send single bytes, or TLS records with one byte in
 * each.
 */
const MIN_READ = 256

/** Takes the bytes of a connection, in their order. */
export interface InputReader {
  /**
   * Returns how many bytes the reader has taken. After 0 the reader waits for something else than its turn,
   * and calls `PacedInput.proceed` when that has come. `bytes` may be empty where the reader `isDue`.
   */
  read(bytes: Buffer, budget: TurnBudget): number
  /** Whether the reader still works on bytes that it has taken. */
  readonly isBusy: boolean
  /** Whether a result of bytes that the reader has taken waits to be delivered by `read`. */
  readonly isDue: boolean
  /** Whether bytes that the reader has not taken mean nothing any more when the client has ended its side. */
  readonly forgetsRest: boolean
}

/**
 * The reader of a connection whose input is of no use any more. The socket is read nevertheless: to close a
 * socket with unread bytes would reset the connection.
 */
const DISCARDING: InputReader = { read: (bytes) => bytes.length, isBusy: false, isDue: false, forgetsRest: true }

/**
 * Stands between a socket and its stream: takes the place of `push`, by which the socket gives what was read,
 * and of `_read`, by which the stream asks for more (the two methods that Node documents for implementers of
 * streams).
 */
export class PacedInput implements Waiting {
  readonly #stream: NetSocket
  readonly #give: (bytes: Buffer | null) => boolean
  readonly #readSocket: () => void
  readonly #held = new GrowingBuffer()
  readonly #budget = new TurnBudget()
  #reader: InputReader | undefined
  #isPaused = false
  #isRunning = false
  /** Whether the client has ended its side, and whether the stream was told. */
  #hasEnded = false
  #hasGivenEnd = false
  #onDrained: (() => void) | undefined
  #reads = 0

  /**
   * Takes a stream that was not read yet; bytes that are in the stream already come first. Until there is a
   * reader, all input waits.
   */
  constructor(stream: NetSocket) {
    this.#stream = stream
    const first: Buffer | null = stream.read()
    if (first !== null) this.#held.append(first)
    this.#give = stream.push.bind(stream)
    const readSocket = stream._read.bind(stream)
    this.#readSocket = () => readSocket(0)
    stream.push = (chunk: Buffer | null) => this.#arrived(chunk)
    stream._read = () => {
      // Nothing is pushed from inside of `_read`: the stream would keep the bytes for later.
      if (this.#held.length === 0 && !this.#hasEnded) this.#readOn()
      else this.proceedSoon()
    }
    // The stream may have asked for more before it was paused, and then does not ask again.
    stream.on('resume', () => this.proceed())
    stream.once('close', () => turns.forget(this))
  }

  /** How often bytes have come; over TLS, how many records with data. */
  get reads(): number {
    return this.#reads
  }

  get isPaused(): boolean {
    return this.#isPaused
  }

  /** Whether something waits. */
  get holds(): boolean {
    return this.#held.length > 0 || (this.#hasEnded && !this.#hasGivenEnd)
  }

  /** Undefined lets everything wait. A client that ends its side then has its connection cut. */
  set reader(reader: InputReader | undefined) {
    this.#reader = reader
    this.proceedSoon()
  }

  /** Throws away the input that waits and the input still to come. */
  discard(): void {
    this.#isPaused = false
    this.reader = DISCARDING
    // The stream must flow, or its end would not be noticed.
    this.#stream.resume()
  }

  /** Neither reads nor gives anything until `resume`. */
  pause(): void {
    this.#isPaused = true
  }

  resume(): void {
    this.#isPaused = false
    this.proceedSoon()
  }

  /**
   * Calls back when the reader has taken all input that waits, turn by turn, also after the connection has
   * gone.
   */
  drain(callback: () => void): void {
    this.#isPaused = false
    if (this.#isIdle) {
      callback()
    } else {
      this.#onDrained = callback
      this.proceedSoon()
    }
  }

  /**
   * Notices that the client has reset the connection, though the socket is not read: an empty write sends
   * nothing, and fails on a reset connection. When the client has only ended its side, the end shows behind
   * all bytes that it has sent.
   */
  probe(): void {
    if (this.#mayRead || this.#hasEnded) return
    // Node does not report the result of an empty write through TLS.
    const transport = transportOf(this.#stream)
    // A write that has not ended fails by itself.
    if (transport.writable && transport.writableLength === 0) transport.write('')
  }

  /** Puts bytes into the stream. */
  give(bytes: Buffer): void {
    this.#give(bytes)
  }

  /** Goes on, when the call that is under way has returned. */
  proceedSoon(): void {
    if (this.#isRunning) return
    process.nextTick(() => this.proceed())
  }

  /**
   * Gives the reader the waiting input, as much as the turn allows; in a later turn when this turn has taken
   * long.
   */
  proceed(): void {
    if (this.#isRunning || turns.isAwaitedBy(this)) return
    if (!this.#hasWork) {
      this.takeTurn()
    } else if (turns.mayBegin()) {
      this.takeTurn()
      turns.noteEnd()
    } else {
      turns.waitAsFresh(this)
    }
  }

  takeTurn(): void {
    if (this.#isRunning) return
    this.#isRunning = true
    this.#budget.renew()
    try {
      this.#run()
    } catch (error) {
      // The reader has thrown: how much input it has taken is unknown.
      this.#held.clear()
      this.#stream.destroy()
      throw error
    } finally {
      this.#isRunning = false
    }
    this.#settle()
  }

  #arrived(chunk: Buffer | null): boolean {
    if (chunk === null) {
      this.#hasEnded = true
      this.proceed()
      return false
    }
    this.#reads += 1
    this.#held.append(chunk)
    this.proceed()
    this.#budget.renew()
    this.#budget.bytes += Math.max(chunk.length, MIN_READ)
    if (this.#budget.hasReadAll) turns.wait(this)
    this.#budget.settle()
    return this.#mayRead
  }

  /** Whether there is work for this connection's turn. */
  get #hasWork(): boolean {
    return !this.#isPaused && this.#reader !== undefined && (this.#held.length > 0 || this.#reader.isDue)
  }

  #run(): void {
    while (this.#hasWork && !this.#budget.isSpent) {
      const reader = this.#reader
      if (reader === undefined) return
      const { isDue } = reader
      const taken = reader.read(this.#held.view, this.#budget)
      if (taken > 0) this.#held.drop(taken)
      else if (!isDue && reader === this.#reader) return
    }
  }

  #settle(): void {
    if (this.#onDrained !== undefined && this.#isIdle) {
      const callback = this.#onDrained
      this.#onDrained = undefined
      callback()
    }
    if (this.#hasEnded && !this.#hasGivenEnd && !this.#isPaused) this.#end()
    if (this.#hasWork && this.#budget.isSpent) turns.wait(this)
    this.#budget.settle()
    this.#readOn()
  }

  get #isIdle(): boolean {
    return this.#held.length === 0 && !this.#reader?.isBusy
  }

  #end(): void {
    const reader = this.#reader
    if (reader === undefined) {
      this.#hasGivenEnd = true
      this.#stream.destroy()
    } else if (this.#isIdle || reader.forgetsRest) {
      this.#hasGivenEnd = true
      this.#held.clear()
      this.#give(null)
      this.#stream.read(0)
    }
  }

  get #mayRead(): boolean {
    const limit = this.#reader === undefined ? PAUSE_WITHOUT_READER_AT : PAUSE_AT
    return !this.#hasEnded && !this.#isPaused && this.#held.length < limit && !this.#budget.hasReadAll
  }

  /** Does nothing where the socket is being read. */
  #readOn(): void {
    if (this.#mayRead && !this.#stream.destroyed) this.#readSocket()
  }
}
