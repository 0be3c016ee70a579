/** What a client sends between its request for a WebSocket and the answer, on the portable engine. */
import { Buffer } from 'node:buffer'
import type { Socket as NetSocket } from 'node:net'

/** Bytes that a client may send before it is answered. One that sends more is cut: the native engine stops to read it (HttpPipeline::max_held). */
const MAX_EARLY_BYTES = 64 * 1024

/**
 * Reads a connection that waits for its upgrade. It has to be read: only then does Node tell that the client has gone. Frames that come
 * early are kept for the WebSocket. A client that ends its side is let go, as with the native engine.
 */
export class EarlyBytes {
  readonly #stream: NetSocket
  readonly #chunks: Buffer[]
  #length: number
  readonly #onData = (chunk: Buffer) => this.#add(chunk)
  readonly #onEnd = () => this.#stream.destroy()

  /** `head` is what came along with the request. */
  constructor(stream: NetSocket, head: Buffer) {
    this.#stream = stream
    this.#chunks = [head]
    this.#length = head.length
  }

  /** Reads from now on. Not called for those who are answered at once. */
  start(): void {
    this.#stream.on('data', this.#onData)
    this.#stream.on('end', this.#onEnd)
  }

  /** Stops reading, and gives what has come. The stream is paused: whoever reads from now on resumes it. */
  take(): Buffer {
    this.#stream.off('data', this.#onData)
    this.#stream.off('end', this.#onEnd)
    this.#stream.pause()
    return Buffer.concat(this.#chunks)
  }

  /**
   * The upgrade is refused: what comes is read, and thrown away. Closing a connection with unread bytes resets it, and the client might
   * lose the answer.
   */
  discard(): void {
    this.#stream.off('data', this.#onData)
    this.#stream.off('end', this.#onEnd)
    this.#stream.resume()
  }

  #add(chunk: Buffer): void {
    this.#chunks.push(chunk)
    this.#length += chunk.length
    if (this.#length > MAX_EARLY_BYTES) this.#stream.destroy()
  }
}
