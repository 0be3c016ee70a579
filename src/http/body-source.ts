/** The body of a Response as a sequence of bytes, for any implementation of Response. */
import { plainView } from '../util/bytes.js'

/**
 * Where the pieces come from: a web stream, an async iterable such as a stream of Node's, or one promise of
 * the whole body.
 */
interface Pieces {
  next(): Promise<IteratorResult<unknown>>
  /** Tells the source to stop, without waiting for it. */
  cancel(reason: unknown): unknown
}

const LATE = Symbol()

export class BodySource {
  readonly #pieces: Pieces
  /** The piece that was asked for, and not yet taken. */
  #pending: Promise<IteratorResult<unknown>> | undefined
  /** Resolves with LATE when this turn of the event loop ends. */
  #turn: Promise<typeof LATE> | undefined
  /** Whether the last piece has been taken. */
  isDone = false

  private constructor(pieces: Pieces) {
    this.#pieces = pieces
  }

  /** Undefined when there is no body. Throws TypeError when it was read before. */
  static of(response: Response): BodySource | undefined {
    if (response.bodyUsed) throw new TypeError('the body of the Response was used before')
    const body: unknown = response.body
    if (body === null) return undefined
    if (typeof body === 'object') {
      if ('getReader' in body && typeof body.getReader === 'function') return new BodySource(fromStream(body as ReadableStream))
      // An object with the well-known method is an async iterable.
      if (Symbol.asyncIterator in body) return new BodySource(fromIterable(body as AsyncIterable<unknown>))
    }
    return new BodySource(fromPromise(() => response.arrayBuffer()))
  }

  /** The next piece; undefined after the last. Rejects with the body's error. */
  async next(): Promise<Uint8Array | undefined> {
    const result = await this.#ask()
    return this.#take(result)
  }

  /** Called when the caller has waited for another turn: `nextNow` then means that one. */
  beginTurn(): void {
    this.#turn = undefined
  }

  /**
   * As `next`, but undefined also when the piece does not come within the turn of the event loop in which
   * `nextNow` was called first; the next call then gets that piece.
   */
  async nextNow(): Promise<Uint8Array | undefined> {
    this.#turn ??= new Promise((resolve) => setImmediate(resolve, LATE))
    const result = await Promise.race([this.#ask(), this.#turn])
    return result === LATE ? undefined : this.#take(result)
  }

  /**
   * Whether the source ends within this turn of the event loop. If a piece comes instead, the next call gets
   * it.
   */
  async endsNow(): Promise<boolean> {
    if (this.isDone) return true
    const turn = new Promise<typeof LATE>((resolve) => setImmediate(resolve, LATE))
    const result = await Promise.race([this.#ask(), turn])
    if (result === LATE || !result.done) return false
    this.#take(result)
    return true
  }

  /** Reads nothing more, and tells the source to stop. Errors of the source are ignored from here on. */
  cancel(reason?: unknown): void {
    if (this.isDone) return
    this.isDone = true
    this.#pending?.catch(() => {})
    Promise.resolve(this.#pieces.cancel(reason)).catch(() => {})
  }

  #ask(): Promise<IteratorResult<unknown>> {
    this.#pending ??= this.#pieces.next()
    return this.#pending
  }

  #take(result: IteratorResult<unknown>): Uint8Array | undefined {
    this.#pending = undefined
    if (result.done) {
      this.isDone = true
      return undefined
    }
    return toBytes(result.value)
  }
}

function fromStream(stream: ReadableStream): Pieces {
  const reader: ReadableStreamDefaultReader<unknown> = stream.getReader()
  return {
    // The cast is safe: a reader's result has the members of an IteratorResult.
    next: () => reader.read() as Promise<IteratorResult<unknown>>,
    cancel: (reason) => reader.cancel(reason),
  }
}

function fromIterable(iterable: AsyncIterable<unknown>): Pieces {
  const iterator = iterable[Symbol.asyncIterator]()
  return { next: () => iterator.next(), cancel: async () => iterator.return?.() }
}

function fromPromise(read: () => Promise<ArrayBuffer>): Pieces {
  let isRead = false
  return {
    next: async () => {
      if (isRead) return { done: true, value: undefined }
      isRead = true
      return { done: false, value: await read() }
    },
    cancel: () => {},
  }
}

function toBytes(piece: unknown): Uint8Array {
  if (piece instanceof Uint8Array) return plainView(piece)
  if (typeof piece === 'string') return new TextEncoder().encode(piece)
  if (ArrayBuffer.isView(piece)) return new Uint8Array(piece.buffer, piece.byteOffset, piece.byteLength)
  if (piece instanceof ArrayBuffer) return new Uint8Array(piece)
  throw new TypeError(`the body of a Response must give bytes, got ${piece === null ? 'null' : typeof piece}`)
}
