/**
 * Checks the arguments of calls on sockets and topics. These checks run for every message: a valid argument
 * passes quickly.
 */
import { Buffer, isUtf8 } from 'node:buffer'
import { isAnyArrayBuffer, isUint8Array } from 'node:util/types'
import type { Payload } from '../engine/contract.js'
import { OptionError } from '../errors.js'
import type { Data, SendOptions } from '../types/index.js'
import { byteLengthOf, plainView } from '../util/bytes.js'
import { SENDABLE_CLOSE_CODES } from '../websocket/close-codes.js'
import { checkBoolean, checkObject, isIntegerBetween, MAX_INT32, type Names } from './checks.js'

/** A control frame's payload (RFC 6455, section 5.5). */
const MAX_CONTROL_BYTES = 125
/** The code takes two bytes of a Close frame; the rest is for the reason. */
const MAX_REASON_BYTES = MAX_CONTROL_BYTES - 2
const MAX_TOPIC_BYTES = 65_535
/**
 * With the head of its frame, at most 10 bytes, a message is of no more bytes than µSockets can count:
 * 2^31-1.
 */
const MAX_MESSAGE_BYTES = MAX_INT32 - 10

export function checkTopic(topic: string): void {
  // A lone surrogate has no UTF-8: written as U+FFFD, different topics would become the same.
  if (typeof topic === 'string' && topic.length > 0 && topic.isWellFormed()) {
    // No UTF-16 unit takes more than 3 bytes of UTF-8, so that short topics need no counting.
    if (topic.length * 3 <= MAX_TOPIC_BYTES || utf8Length(topic) <= MAX_TOPIC_BYTES) return
  }
  throw new OptionError('topic', topic, 'a string of 1 to 65,535 bytes, without lone surrogates')
}

export function checkCloseFrame(code: number, reason: string): void {
  const isValid = SENDABLE_CLOSE_CODES.some(([first, last]) => isIntegerBetween(code, first, last))
  if (!isValid) throw new OptionError('code', code, '1000 to 1003, 1007 to 1014, or 3000 to 4999')
  if (typeof reason !== 'string' || utf8Length(reason) > MAX_REASON_BYTES) {
    throw new OptionError('reason', reason, `a string of at most ${MAX_REASON_BYTES} bytes of UTF-8`)
  }
}

export function checkPingLength(data: Payload): void {
  const length = typeof data === 'string' ? utf8Length(data) : byteLengthOf(data)
  if (length > MAX_CONTROL_BYTES) throw new OptionError('data', data, `at most ${MAX_CONTROL_BYTES} bytes`)
}

/**
 * A message as engines take it: strings and Uint8Arrays as they are, other buffers and views without a copy.
 */
export function toPayload(data: Data): Payload {
  // The longest string that V8 makes is short enough in UTF-8: 2^29 UTF-16 units of at most 3 bytes.
  if (typeof data === 'string') return data
  const payload = isUint8Array(data) ? data : toBytes(data)
  const length = byteLengthOf(payload)
  if (length > MAX_MESSAGE_BYTES) throw new OptionError('data', data, `at most ${MAX_MESSAGE_BYTES} bytes`)
  // A detached array would pass for an empty message; `plainView` throws for it.
  if (length === 0) toBytes(payload)
  return payload
}

/** A message with the options of `send` and `publish`, as engines take it. */
export interface OutgoingMessage {
  readonly payload: Payload
  readonly compress: boolean | undefined
  /** Whether bytes are to be sent as text. */
  readonly isText: boolean
}

const SEND_OPTION_NAMES: Names<SendOptions> = ['compress', 'binary', 'isUtf8']

/** Throws OptionError. */
export function toMessage(data: Data, options?: boolean | SendOptions): OutgoingMessage {
  const payload = toPayload(data)
  if (options === undefined) return { payload, compress: undefined, isText: false }
  if (typeof options !== 'object') {
    checkBoolean('compress', options)
    return { payload, compress: options, isText: false }
  }
  for (const name in options) {
    // To go through the names takes a tenth of the time that it takes to list them.
    if (name !== 'binary' && name !== 'compress' && name !== 'isUtf8') checkObject('options', options, SEND_OPTION_NAMES)
  }
  if (options === null || Array.isArray(options)) checkObject('options', options, SEND_OPTION_NAMES)
  const { compress, binary, isUtf8: isKnownUtf8 = false } = options
  if (compress !== undefined) checkBoolean('compress', compress)
  if (binary !== undefined) checkBoolean('binary', binary)
  checkBoolean('isUtf8', isKnownUtf8)
  if (typeof payload === 'string') {
    // The length is checked once more: a string's UTF-8 may be longer than a message of bytes.
    return { payload: binary ? toPayload(Buffer.from(payload)) : payload, compress, isText: false }
  }
  const isText = binary === false
  if (isText && !isKnownUtf8 && !isUtf8(payload)) throw new OptionError('data', data, 'UTF-8, to be sent as text')
  return { payload, compress, isText }
}

function toBytes(data: Exclude<Data, string>): Uint8Array {
  try {
    if (isUint8Array(data)) {
      plainView(data)
      return data
    }
    if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
    if (isAnyArrayBuffer(data)) return new Uint8Array(data)
  } catch {
    // The array is detached: its memory was transferred away.
    throw new OptionError('data', data, 'attached to its memory')
  }
  throw new OptionError('data', data, 'a string, an ArrayBuffer or an ArrayBufferView')
}

function utf8Length(text: string): number {
  return Buffer.byteLength(text)
}
