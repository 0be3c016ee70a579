/**
 * Messages that are sent from many chunks, in fragments: `Socket.sendStream`. The streams of one socket take
 * turns, in the order of the calls; messages that are sent or published meanwhile wait behind the streams, in
 * the engine.
 */
import { Readable } from 'node:stream'
import { TurnShare } from '../core/turn-share.js'
import type { ConnectionId, EngineConnections } from '../engine/contract.js'
import { ClosedError } from '../errors.js'
import { toPayload } from '../options/arguments.js'
import type { StreamSettings } from '../options/websocket.js'
import type { Data } from '../types/index.js'
import { Fifo } from '../util/fifo.js'
import { FragmentEncoder } from './fragment-encoder.js'

/** What the streams of one socket have in common. */
interface Target {
  readonly connections: EngineConnections
  readonly connection: ConnectionId
  readonly maxFragmentLength: number
  /** Closes the socket: a message of which a part was sent cannot be completed. */
  fail(): void
}

export class SendStreams {
  readonly #target: Target
  /** The first stream has its turn. */
  readonly #streams = new Fifo<MessageStream>()
  #hasEnded = false

  constructor(target: Target) {
    this.#target = target
  }

  async send(source: AsyncIterable<Data>, settings: StreamSettings): Promise<void> {
    const stream = new MessageStream(this.#target, source, settings)
    // The constructor has called the source's own code for an iterator, and that code may have closed the
    // socket.
    if (this.#hasEnded) stream.interrupt(closedMeanwhile())
    this.#target.connections.beginMessage(this.#target.connection)
    this.#streams.push(stream)
    stream.onEnd = () => this.#advance()
    if (this.#streams.length === 1) this.#beginFirst()
    await stream.done
  }

  #advance(): void {
    this.#streams.shift()
    this.#beginFirst()
  }

  #beginFirst(): void {
    while (this.#streams.first?.begin() === false) {
      this.#target.connections.withdrawMessage(this.#target.connection)
      this.#streams.shift()
    }
  }

  /** The engine can take the next fragment. */
  fragmentDrained(): void {
    this.#streams.first?.proceed()
  }

  /** The socket is closing. */
  end(): void {
    this.#hasEnded = true
    for (const stream of this.#streams.toArray()) stream.interrupt(closedMeanwhile())
  }
}

function closedMeanwhile(): ClosedError {
  return new ClosedError('the socket has closed')
}

/**
 * Tells the source to stop, without waiting for it: the source may be waiting itself. A stream of Node's is
 * destroyed, since its iterator's `return` has no effect while the iterator waits for a chunk, or before the
 * first chunk was asked for.
 */
export function abandon(source: AsyncIterable<Data>, iterator = source[Symbol.asyncIterator]()): void {
  if (source instanceof Readable) source.destroy()
  else void (async () => iterator.return?.())().catch(() => {})
}

class MessageStream {
  readonly done: Promise<void>
  /** Called at the end of the stream's turn. */
  onEnd: () => void = () => {}
  readonly #target: Target
  readonly #source: AsyncIterable<Data>
  readonly #iterator: AsyncIterator<Data>
  readonly #settings: StreamSettings
  readonly #encoder: FragmentEncoder
  #hasBegun = false
  #begin: () => void = () => {}
  /** Whether the source must be told to stop when the stream fails. */
  #isSourceOpen = true
  #isFirst = true
  readonly #share = new TurnShare()
  #interruption: { readonly error: unknown } | undefined
  /** These settle the promise that `#run` waits for. */
  #reject: (error: unknown) => void = () => {}
  #resolve: () => void = () => {}

  constructor(target: Target, source: AsyncIterable<Data>, settings: StreamSettings) {
    this.#target = target
    this.#source = source
    this.#iterator = source[Symbol.asyncIterator]()
    this.#settings = settings
    this.#encoder = new FragmentEncoder(settings.binary)
    const turn = new Promise<void>((resolve) => {
      this.#begin = resolve
    })
    this.done = this.#run(turn)
  }

  /** Begins the stream's turn. False when the stream was interrupted before: then the stream has no turn. */
  begin(): boolean {
    if (this.#interruption !== undefined) return false
    this.#hasBegun = true
    this.#begin()
    return true
  }

  proceed(): void {
    this.#resolve()
  }

  interrupt(error: unknown): void {
    this.#interruption ??= { error }
    this.#reject(error)
  }

  async #run(turn: Promise<void>): Promise<void> {
    const { signal } = this.#settings
    const abort = () => this.interrupt(signal?.reason)
    signal?.addEventListener('abort', abort)
    try {
      await this.#unlessInterrupted(turn)
      for (let result = await this.#next(); !result.done; result = await this.#next()) {
        await this.#sendAll(this.#encoder.encode(toPayload(result.value)))
      }
      await this.#send(this.#encoder.end(), true)
      this.onEnd()
    } catch (error) {
      this.#release()
      this.interrupt(error)
      if (!this.#isFirst) this.#target.fail()
      else if (this.#hasBegun) this.#withdraw()
      throw error
    } finally {
      signal?.removeEventListener('abort', abort)
    }
  }

  async #next(): Promise<IteratorResult<Data>> {
    try {
      const result = await this.#unlessInterrupted(this.#iterator.next())
      if (result.done) this.#isSourceOpen = false
      return result
    } catch (error) {
      // A source that has thrown by itself is not told to stop.
      if (this.#interruption === undefined) this.#isSourceOpen = false
      throw error
    }
  }

  #release(): void {
    if (!this.#isSourceOpen) return
    this.#isSourceOpen = false
    abandon(this.#source, this.#iterator)
  }

  #withdraw(): void {
    this.#target.connections.withdrawMessage(this.#target.connection)
    this.onEnd()
  }

  async #sendAll(bytes: Uint8Array): Promise<void> {
    const { maxFragmentLength } = this.#target
    for (let start = 0; start < bytes.length; start += maxFragmentLength) {
      await this.#send(bytes.subarray(start, start + maxFragmentLength), false)
    }
    // A source may give empty chunks for ever.
    if (bytes.length > 0) return
    if (this.#share.mustWait) await this.#awaitShare()
    this.#share.spendChunk(0)
  }

  async #send(data: Uint8Array, isLast: boolean): Promise<void> {
    const { connections, connection } = this.#target
    if (this.#share.mustWait) await this.#awaitShare()
    this.#share.spendChunk(data.length)
    while (connections.isOpen(connection) && !connections.readyForFragment(connection)) {
      await this.#unlessInterrupted(
        new Promise<void>((resolve) => {
          this.#resolve = resolve
        }),
      )
    }
    // The connection is ending: no fragment would leave.
    if (!connections.isOpen(connection)) throw new ClosedError('the socket has closed')
    const { isBinary } = this.#encoder
    connections.sendFragment(connection, data, { isBinary, isFirst: this.#isFirst, isLast, compress: this.#settings.compress })
    this.#isFirst = false
  }

  #awaitShare(): Promise<void> {
    return this.#unlessInterrupted(this.#share.wait())
  }

  /**
   * Settles as the promise does, unless `interrupt` comes first. Unlike Promise.race, this leaves no callback
   * behind in a promise that lives long.
   */
  #unlessInterrupted<R>(promise: Promise<R>): Promise<R> {
    return new Promise((resolve, reject) => {
      this.#reject = reject
      if (this.#interruption !== undefined) reject(this.#interruption.error)
      // An iterator's `next` may return something else than a promise.
      Promise.resolve(promise).then(resolve, reject)
    })
  }
}
