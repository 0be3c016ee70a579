/**
 * WebSocket frames that a client sends (RFC 6455, section 5). The receiver of `ws` does the same, but cannot
 * be told three things: to stop within the bytes that it was given, to keep no object for each fragment, and
 * to check text before the message is whole.
 */

import { Buffer, isUtf8 } from 'node:buffer'
import { GrowingBuffer } from '../../util/growing-buffer.js'
import { CLOSE_CODE } from '../../websocket/close-codes.js'
import type { CompressionAgreement } from '../contract.js'
import { closeCodeOf } from './errors.js'
import { Inflater } from './inflate.js'
import type { InputReader, PacedInput } from './input.js'
import { unmask } from './mask.js'
import { MessageBuffer } from './messages.js'
import { LONG_MESSAGE } from './turn-budget.js'
import type { TurnBudget } from './turns.js'

const [CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG] = [0, 1, 2, 8, 9, 10]
/** Bits of the first two bytes of a frame. */
const [FIN, RSV1, RSV2_AND_3, MASKED] = [0x80, 0x40, 0x30, 0x80]
const MAX_CONTROL_LENGTH = 125
/** The longest head: two bytes, eight of the length, four of the mask. */
const MAX_HEAD_LENGTH = 14

export interface FrameEvents {
  /** A whole message. Text is UTF-8. */
  onMessage(data: Buffer, isBinary: boolean): void
  onPing(data: Buffer): void
  onPong(data: Buffer): void
  /** Bytes behind the Close frame are not looked at. */
  onCloseFrame(payload: Buffer): void
  /** The connection is to fail with this code. */
  onFailure(code: number): void
}

/**
 * Bytes of compressed fragments that have come together, from which on they are inflated. Each way to zlib
 * and back takes some 100 µs, for a fragment of one byte as well.
 */
const MIN_INFLATED = 256

export class FrameReader implements InputReader {
  readonly forgetsRest = false
  readonly #input: PacedInput
  readonly #maxLength: number
  readonly #maxCompressedLength: number
  readonly #inflater: Inflater | undefined
  readonly #events: FrameEvents
  #isInflating = false
  #hasEnded = false
  /** Work for a later turn of the connection. */
  #due: ((budget: TurnBudget) => void) | undefined

  /** A head that has not come whole, and the number of its bytes that have. */
  #head: Buffer | undefined
  #headLength = 0
  #isInPayload = false

  /** The frame that is coming. */
  #isLast = false
  #opcode = 0
  #length = 0
  #left = 0
  #mask = 0
  /**
   * The payload of a control frame, or of a compressed frame, which is needed whole and has not come whole.
   */
  readonly #payload = new GrowingBuffer()

  /**
   * The message that is coming, from its first fragment on, and the sum of what its frames have announced.
   */
  #message: MessageBuffer | undefined
  #isCompressed = false
  #announced = 0
  /** Short compressed fragments of one message that have come together, and are inflated together. */
  readonly #fragments = new GrowingBuffer()

  /** `maxLength` is `EngineRoute.maxPayloadLength`. */
  constructor(input: PacedInput, maxLength: number, compression: CompressionAgreement | undefined, events: FrameEvents) {
    this.#input = input
    this.#maxLength = maxLength
    // The worst compressor makes a message longer by no more than this: RFC 1951 has stored blocks.
    this.#maxCompressedLength = maxLength + Math.ceil(maxLength / 8) + 64
    this.#events = events
    if (compression !== undefined) this.#inflater = new Inflater(compression.decompressor, (bytes) => this.#inflated(bytes))
  }

  get isBusy(): boolean {
    return this.#isInflating || this.isDue
  }

  get isDue(): boolean {
    return this.#due !== undefined
  }

  read(bytes: Buffer, budget: TurnBudget): number {
    const due = this.#due
    this.#due = undefined
    due?.(budget)
    let at = 0
    while (!this.#hasEnded && !this.isBusy) {
      if (!this.#isInPayload) {
        if (at === bytes.length || budget.isSpent || this.#input.isPaused) break
        at = this.#readHead(bytes, at)
        if (!this.#isInPayload) continue
        budget.events += 1
      }
      const end = Math.min(at + this.#left, bytes.length)
      this.#readPayload(end - at === bytes.length ? bytes : bytes.subarray(at, end), budget)
      at = end
      if (this.#isInPayload) break
    }
    // Nothing more has come that could be inflated with them.
    const hasNoMore = at === bytes.length && !this.isBusy && !this.#hasEnded
    if (hasNoMore && this.#fragments.length > 0 && this.#message) this.#startInflating(false, this.#message)
    return at
  }

  /** The connection has gone: FrameReader reports no message that is still being inflated. */
  close(): void {
    this.#hasEnded = true
    this.#isInflating = false
    this.#due = undefined
    this.#inflater?.close()
  }

  /** Returns where the head ends, or where the bytes do. */
  #readHead(bytes: Buffer, from: number): number {
    if (this.#headLength === 0 && bytes.length - from >= 2) {
      const length = headLengthOf(bytes[from + 1] ?? 0)
      if (bytes.length - from >= length) {
        if (this.#begin(bytes[from] ?? 0, bytes[from + 1] ?? 0)) this.#beginPayload(bytes, from, length)
        return from + length
      }
    }
    this.#head ??= Buffer.alloc(MAX_HEAD_LENGTH)
    let at = from
    while (at < bytes.length) {
      this.#head[this.#headLength] = bytes[at] ?? 0
      this.#headLength += 1
      at += 1
      if (this.#headLength < 2) continue
      const [first = 0, second = 0] = this.#head
      if (this.#headLength === 2 && !this.#begin(first, second)) break
      if (this.#headLength < headLengthOf(second)) continue
      this.#beginPayload(this.#head, 0, this.#headLength)
      this.#headLength = 0
      break
    }
    return at
  }

  /** Takes the first two bytes. False when they have failed the connection. */
  #begin(first: number, second: number): boolean {
    const opcode = first & 0x0f
    const isLast = (first & FIN) !== 0
    const isCompressed = (first & RSV1) !== 0
    const isControl = opcode >= CLOSE
    const isAllowed =
      (first & RSV2_AND_3) === 0 &&
      (second & MASKED) !== 0 &&
      (isControl
        ? opcode <= PONG && isLast && !isCompressed && (second & ~MASKED) <= MAX_CONTROL_LENGTH
        : opcode === CONTINUATION
          ? this.#message !== undefined && !isCompressed
          : (opcode === TEXT || opcode === BINARY) &&
            this.#message === undefined &&
            (!isCompressed || this.#inflater !== undefined))
    if (!isAllowed) return this.#fail(CLOSE_CODE.PROTOCOL_ERROR)
    this.#opcode = opcode
    this.#isLast = isLast
    if (opcode === TEXT || opcode === BINARY) {
      this.#isCompressed = isCompressed
      this.#announced = 0
    }
    return true
  }

  /** Takes the rest of a head. */
  #beginPayload(head: Buffer, from: number, headLength: number): void {
    const short = (head[from + 1] ?? 0) & ~MASKED
    // Beyond 2^53 the number is not exact, and too large for every limit.
    if (short < 126) this.#length = short
    else if (short === 126) this.#length = head.readUInt16BE(from + 2)
    else this.#length = head.readUInt32BE(from + 2) * 2 ** 32 + head.readUInt32BE(from + 6)
    if (this.#opcode < CLOSE) {
      this.#announced += this.#length
      if (this.#announced > (this.#isCompressed ? this.#maxCompressedLength : this.#maxLength)) {
        this.#fail(CLOSE_CODE.MESSAGE_TOO_BIG)
        return
      }
    }
    this.#mask = head.readInt32LE(from + headLength - 4)
    this.#left = this.#length
    this.#isInPayload = true
  }

  /** Takes a piece of a payload; an empty payload is whole at once. */
  #readPayload(piece: Buffer, budget: TurnBudget): void {
    unmask(piece, this.#mask, this.#length - this.#left)
    this.#left -= piece.length
    const isWhole = piece.length === this.#length
    if (this.#left === 0) this.#isInPayload = false
    if (this.#opcode >= CLOSE || this.#isCompressed) {
      if (isWhole) this.#endFrame(piece)
      else this.#collect(piece)
    } else if (isWhole && this.#isLast && this.#message === undefined) {
      if (this.#opcode === BINARY || isUtf8(piece)) this.#events.onMessage(piece, this.#opcode === BINARY)
      else this.#fail(CLOSE_CODE.INVALID_PAYLOAD)
    } else {
      this.#message ??= new MessageBuffer(this.#opcode === BINARY, this.#maxLength)
      const failure = this.#message.append(piece, this.#isLast ? this.#announced : this.#maxLength)
      if (failure !== undefined) this.#fail(failure)
      else if (!this.#isInPayload && this.#isLast) this.#endMessage(this.#message, budget)
    }
  }

  #collect(piece: Buffer): void {
    this.#payload.copy(piece, this.#length)
    if (!this.#isInPayload) this.#endFrame(this.#payload.take())
  }

  /** Ends a control frame, or a compressed frame. */
  #endFrame(payload: Buffer): void {
    if (this.#opcode === PING) {
      this.#events.onPing(payload)
    } else if (this.#opcode === PONG) {
      this.#events.onPong(payload)
    } else if (this.#opcode === CLOSE) {
      this.#hasEnded = true
      this.#events.onCloseFrame(payload)
    } else {
      this.#message ??= new MessageBuffer(this.#opcode === BINARY, this.#maxLength)
      this.#inflate(payload, this.#message)
    }
  }

  #inflate(payload: Buffer, message: MessageBuffer): void {
    // An empty fragment changes nothing, except at the end of a message.
    if (payload.length === 0 && !this.#isLast) return
    this.#fragments.append(payload)
    if (this.#isLast || this.#fragments.length >= MIN_INFLATED) this.#startInflating(this.#isLast, message)
  }

  /** `isLast`: the message ends with these fragments. A frame behind them may have begun to come. */
  #startInflating(isLast: boolean, message: MessageBuffer): void {
    this.#isInflating = true
    this.#inflater?.inflate(this.#fragments.take(), isLast, (error) => {
      this.#isInflating = false
      // Messages of many connections may have been inflated in the same turn.
      this.#due = (budget) => {
        if (error !== undefined) this.#fail(closeCodeOf(error) ?? CLOSE_CODE.PROTOCOL_ERROR)
        else if (isLast) this.#endMessage(message, budget)
      }
      this.#input.proceed()
    })
  }

  #inflated(bytes: Buffer): void {
    const failure = this.#message?.append(bytes, this.#maxLength)
    if (failure !== undefined) this.#fail(failure)
  }

  #endMessage(message: MessageBuffer, budget: TurnBudget): void {
    this.#message = undefined
    const data = message.finish()
    if (data === CLOSE_CODE.INVALID_PAYLOAD) {
      this.#fail(CLOSE_CODE.INVALID_PAYLOAD)
    } else if (data.length <= LONG_MESSAGE) {
      this.#events.onMessage(data, message.isBinary)
    } else {
      // When messages of many clients have become whole together, each message gets a turn of its own.
      budget.spend()
      this.#due = (later) => {
        later.spend()
        this.#events.onMessage(data, message.isBinary)
      }
    }
  }

  #fail(code: number): false {
    this.close()
    this.#message = undefined
    this.#payload.clear()
    this.#events.onFailure(code)
    return false
  }
}

/** By the second byte. */
function headLengthOf(second: number): number {
  const short = second & ~MASKED
  return short < 126 ? 6 : short === 126 ? 8 : MAX_HEAD_LENGTH
}
