/**
 * Ends TLS connections whose clients send much that is no data. TLS 1.3 lets a client change its keys as
 * often as it likes (KeyUpdate; RFC 8446, section 4.6.3). OpenSSL takes any number of KeyUpdates, each of
 * which costs about 10 µs, and Node tells of none of them: what shows is that bytes come, and no data.
 */
import { performance } from 'node:perf_hooks'
import type { TLSSocket } from 'node:tls'
import type { PacedInput } from './input.js'
import { transportOf } from './tls.js'

/** Of each record in TLS 1.3: its head, its type, and the tag of its cipher (RFC 8446, section 5.2). */
const RECORD_OVERHEAD = 5 + 1 + 16

/**
 * Bytes that are no data which a client may have sent, beyond one for each byte of data: 1,200 KeyUpdates,
 * and more than a record that has not come whole, whose bytes count as no data until it has. Keys wear out
 * after gigabytes, but records may be padded (section 5.4).
 */
const MAX_EXCESS = 32 * 1024
/** And in each second: 38 KeyUpdates. */
const MAX_EXCESS_PER_SECOND = 1024

/**
 * Milliseconds between two looks at the connections: while the loop has little to do, once in SLOW_INTERVAL.
 * To read Node's two counters of a connection takes 0.1 µs.
 */
const FAST_INTERVAL = 100
const SLOW_INTERVAL = 1000
/**
 * The part of its time for which the loop must have worked to count as busy. A flood of KeyUpdates makes it.
 */
const BUSY = 0.25

/** What has come on one connection, when it was looked at last. */
class Watched {
  readonly #stream: TLSSocket
  readonly #input: PacedInput
  #bytes: number
  #data: number
  #records: number
  #excess = 0

  constructor(stream: TLSSocket, input: PacedInput) {
    this.#stream = stream
    this.#input = input
    this.#bytes = transportOf(stream).bytesRead
    this.#data = stream.bytesRead
    this.#records = input.reads
  }

  /** `allowance`: bytes for the time since the last look. */
  check(allowance: number): void {
    const [bytes, data, records] = [transportOf(this.#stream).bytesRead, this.#stream.bytesRead, this.#input.reads]
    const rest = bytes - this.#bytes - 2 * (data - this.#data) - RECORD_OVERHEAD * (records - this.#records)
    this.#bytes = bytes
    this.#data = data
    this.#records = records
    this.#excess = Math.max(0, this.#excess + rest - allowance)
    if (this.#excess > MAX_EXCESS) this.#stream.destroy()
  }
}

/** One object for all servers of this thread. */
class TlsWatch {
  readonly #watched = new Set<Watched>()
  #timer: NodeJS.Timeout | undefined
  #utilization = performance.eventLoopUtilization()
  #checked = 0

  /** From the end of the handshake until the stream closes. Earlier versions of TLS have no KeyUpdates. */
  add(stream: TLSSocket, input: PacedInput): void {
    if (stream.getProtocol() !== 'TLSv1.3') return
    const watched = new Watched(stream, input)
    this.#watched.add(watched)
    if (this.#timer === undefined) {
      this.#checked = performance.now()
      this.#utilization = performance.eventLoopUtilization()
      this.#timer = setInterval(() => this.#check(), FAST_INTERVAL).unref()
    }
    stream.once('close', () => {
      this.#watched.delete(watched)
      if (this.#watched.size > 0) return
      clearInterval(this.#timer)
      this.#timer = undefined
    })
  }

  #check(): void {
    const [now, utilization] = [performance.now(), performance.eventLoopUtilization()]
    const isBusy = performance.eventLoopUtilization(utilization, this.#utilization).utilization >= BUSY
    this.#utilization = utilization
    const time = now - this.#checked
    if (!isBusy && time < SLOW_INTERVAL) return
    this.#checked = now
    for (const watched of this.#watched) watched.check((MAX_EXCESS_PER_SECOND * time) / 1000)
  }
}

export const tlsWatch = new TlsWatch()
