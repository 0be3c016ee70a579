/**
 * A client of a receiver. It reads WebSocket frames by itself, checks every byte of every message, and that
 * their numbers follow each other: a message that is lost, repeated or exchanged ends the run.
 */
import { Buffer } from 'node:buffer'
import { randomBytes } from 'node:crypto'
import { connect } from 'node:net'
import process from 'node:process'
import { FILLER, NUMBER_DIGITS, PROBE, SIZE, TIME_DIGITS } from './message.mjs'

const filler = Buffer.from(FILLER)
const NUMBER_START = TIME_DIGITS + 1
const FILLER_START = NUMBER_START + NUMBER_DIGITS
/** What socket.io puts around a text. */
const EVENT = { before: '42["message","', after: '"]' }
const ZERO = 48
/** First bytes of whole frames (RFC 6455, section 5.2). Servers send Pings to clients that say nothing. */
const TEXT = 0x81
const PING = 0x89
const PONG = 0x8a
/** Latencies that are kept of one measurement; what comes after them is counted alone. */
const MOST_LATENCIES = 4_000_000

/** Latencies of all subscribers of a contender, in microseconds. */
export class Latencies {
  #values = new Float64Array(1024)
  #count = 0

  clear() {
    this.#count = 0
  }

  /** @param {number} value */
  add(value) {
    if (this.#count === MOST_LATENCIES) return
    if (this.#count === this.#values.length) {
      const more = new Float64Array(Math.min(2 * this.#count, MOST_LATENCIES))
      more.set(this.#values)
      this.#values = more
    }
    this.#values[this.#count++] = value
  }

  /** @returns {Record<string, number>} */
  summary() {
    const sorted = this.#values.slice(0, this.#count).sort()
    /** @param {number} share */
    const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN
    return { p50: at(0.5), p99: at(0.99), 'p99.9': at(0.999), max: at(1) }
  }
}

export class Subscriber {
  /** @type {import('node:net').Socket} */ #socket
  /** @type {boolean} */ #isSocketIo
  /** @type {() => void} */ #onMessages
  /** Of a frame that has not come as a whole. @type {Buffer} */ #rest = Buffer.alloc(0)
  #isOpen = false
  /** Messages so far, which is the number of the next one. */
  received = 0
  hasProbe = false
  /** @type {Error | undefined} */ failure
  /** Where latencies go; nowhere while nothing is measured. @type {Latencies | undefined} */
  latencies

  /**
   * @param {number} port
   * @param {boolean} isSocketIo whether the receiver speaks socket.io's protocol
   * @param {() => void} onMessages some have come, or none will any more
   */
  constructor(port, isSocketIo, onMessages) {
    this.#isSocketIo = isSocketIo
    this.#onMessages = onMessages
    this.#socket = connect(port, '127.0.0.1').setNoDelay()
    const path = isSocketIo ? '/socket.io/?EIO=4&transport=websocket' : '/'
    this.#socket.write(
      `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
        `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\n\r\n`,
    )
    this.#socket.on('data', (data) => this.#read(data))
    this.#socket.on('error', (error) => this.#fail(error.message))
    this.#socket.on('close', () => this.#fail('the connection was closed'))
  }

  close() {
    this.failure = new Error('the client was closed')
    this.#socket.destroy()
  }

  /** @param {string} reason */
  #fail(reason) {
    this.failure ??= new Error(`client: ${reason}`)
    this.#socket.destroy()
    this.#onMessages()
  }

  /** @param {Buffer} data */
  #read(data) {
    const bytes = this.#rest.length > 0 ? Buffer.concat([this.#rest, data]) : data
    let at = 0
    if (!this.#isOpen) {
      const end = bytes.indexOf('\r\n\r\n')
      if (end >= 0 && !bytes.subarray(0, end).includes(' 101 ')) return this.#fail('the handshake was refused')
      this.#isOpen = end >= 0
      at = end < 0 ? 0 : end + 4
    }
    // Frames of servers are not masked.
    const now = Number(process.hrtime.bigint() / 1000n)
    while (this.#isOpen && this.failure === undefined && at + 2 <= bytes.length) {
      const short = bytes.readUInt8(at + 1)
      const head = short < 126 ? 2 : 4
      if (short === 127) return this.#fail('a frame is too long')
      if (at + head > bytes.length) break
      const length = short < 126 ? short : bytes.readUInt16BE(at + 2)
      if (at + head + length > bytes.length) break
      if (bytes[at] === PING) this.#send(PONG, bytes.subarray(at + head, at + head + length))
      else if (bytes[at] === TEXT) this.#text(bytes, at + head, length, now)
      else return this.#fail(`a frame begins with ${bytes[at]}`)
      at += head + length
    }
    this.#rest = bytes.subarray(at)
    this.#onMessages()
  }

  /** @param {Buffer} bytes @param {number} start @param {number} length @param {number} now */
  #text(bytes, start, length, now) {
    const { before, after } = this.#isSocketIo ? EVENT : { before: '', after: '' }
    if (length === before.length + SIZE + after.length) this.#message(bytes, start + before.length, now)
    else {
      const text = bytes.toString('latin1', start, start + length)
      if (text === before + PROBE + after) this.hasProbe = true
      // socket.io's server has opened its session, and wants the client to enter.
      else if (this.#isSocketIo && text.startsWith('0{')) this.#send(TEXT, Buffer.from('40'))
      else if (!this.#isSocketIo || !text.startsWith('40{')) this.#fail(`unexpected: ${text.slice(0, 100)}`)
    }
  }

  /** @param {Buffer} bytes @param {number} start @param {number} now */
  #message(bytes, start, now) {
    const number = digits(bytes, start + NUMBER_START, NUMBER_DIGITS)
    if (number !== this.received) return this.#fail(`message ${number} came instead of ${this.received}`)
    if (bytes.compare(filler, 0, filler.length, start + FILLER_START, start + SIZE) !== 0)
      return this.#fail(`message ${number} has other bytes than it was sent with`)
    this.received += 1
    this.latencies?.add(now - digits(bytes, start, TIME_DIGITS))
  }

  /**
   * A masked frame, with a mask of zeros.
   * @param {number} begin @param {Buffer} payload of up to 125 bytes
   */
  #send(begin, payload) {
    this.#socket.write(Buffer.concat([Buffer.from([begin, 0x80 | payload.length, 0, 0, 0, 0]), payload]))
  }
}

/** @param {Buffer} bytes @param {number} start @param {number} count */
function digits(bytes, start, count) {
  let value = 0
  for (let i = start; i < start + count; i++) value = value * 10 + (bytes[i] ?? 0) - ZERO
  return value
}
