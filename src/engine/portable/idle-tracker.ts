/** How long a client of the portable engine has shown no sign of life: the measure of `idleTimeout`. */
import type { Socket as NetSocket } from 'node:net'

export class IdleTracker {
  readonly #stream: NetSocket
  #since = performance.now()
  #bytesRead: number
  /**
   * As the last `measure` has found them: the bytes that had left, the bytes still queued in the kernel or in
   * Node, and whether the client was behind with reading.
   */
  #given = 0
  #queued = 0
  #wasBehind = false

  constructor(stream: NetSocket) {
    this.#stream = stream
    this.#bytesRead = stream.bytesRead
  }

  /** Starts to measure. */
  begin(): void {
    this.#since = performance.now()
  }

  /**
   * Seconds of silence until `now`. Any byte from the client ends the silence, so that a large message may
   * take longer than the timeout. So does every byte of ours that the client reads while others wait
   * (`isBehind`): its Pong cannot come before the client has read what is in front of the Ping. `given` bytes
   * have left.
   */
  measure(now: number, given: number, isBehind: boolean): number {
    const { bytesRead } = this.#stream
    const queued = writeQueueOf(this.#stream)
    const hasTaken = this.#wasBehind && (given > this.#given || queued < this.#queued)
    if (bytesRead !== this.#bytesRead || hasTaken) this.#since = now
    this.#bytesRead = bytesRead
    this.#given = given
    this.#queued = queued
    this.#wasBehind = isBehind
    return (now - this.#since) / 1000
  }
}

interface Handle {
  readonly writeQueueSize?: number
  /** The transport's handle, where this handle is TLS. */
  readonly _parent?: Handle
}

/**
 * Bytes left of the write that is under way. Node measures its own timeouts by this number (net.Socket's
 * `_onTimeout`), but has no public name for it.
 */
function writeQueueOf(stream: NetSocket): number {
  const { _handle: handle } = stream as { _handle?: Handle | null }
  return (handle?._parent ?? handle)?.writeQueueSize ?? 0
}
