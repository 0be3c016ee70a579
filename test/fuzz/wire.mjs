// What goes over the wire, byte by byte, right or wrong: for clients that do not behave.
import { Buffer } from 'node:buffer'
import { constants, deflateRawSync } from 'node:zlib'

/** RFC 6455, section 5.2. */
export const OPCODE = { CONTINUATION: 0, TEXT: 1, BINARY: 2, CLOSE: 8, PING: 9, PONG: 10 }

/**
 * The bytes of one frame. `mask` has four bytes; null leaves it out. `claims` is the length that the head
 * tells, where it is not the payload's.
 */
export function frame(opcode, payload = '', { fin = true, reserved = 0, mask = NO_CHANGE, claims } = {}) {
  const body = Buffer.from(payload)
  const length = claims ?? body.length
  const extended = Buffer.alloc(length < 126 ? 0 : length < 65_536 ? 2 : 8)
  if (extended.length === 2) extended.writeUInt16BE(length)
  if (extended.length === 8) extended.writeBigUInt64BE(BigInt(length))
  const short = extended.length === 0 ? length : extended.length === 2 ? 126 : 127
  if (mask !== null) for (let i = 0; i < body.length; i++) body[i] ^= mask[i & 3]
  return Buffer.concat([
    Buffer.from([(fin ? 128 : 0) | (reserved << 4) | opcode, (mask !== null ? 128 : 0) | short]),
    extended,
    mask ?? Buffer.alloc(0),
    body,
  ])
}

/** A mask like any other, and the quickest. */
const NO_CHANGE = Buffer.alloc(4)

/** RSV1: the message is compressed (RFC 7692, section 6). */
export const COMPRESSED = { reserved: 4 }

/** What the payload of a compressed message is made of (RFC 7692, section 7.2.1). */
export function compress(payload) {
  return deflateRawSync(payload, { level: 9, finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4)
}

/** A message as frames, of these lengths; the rest of it is in the last one. */
export function fragments(opcode, payload, lengths, { reserved = 0 } = {}) {
  const body = Buffer.from(payload)
  const pieces = []
  let at = 0
  for (const length of lengths) {
    const isFirst = pieces.length === 0
    const piece = body.subarray(at, at + length)
    pieces.push(frame(isFirst ? opcode : OPCODE.CONTINUATION, piece, { fin: false, reserved: isFirst ? reserved : 0 }))
    at += length
  }
  const isOnly = pieces.length === 0
  pieces.push(frame(isOnly ? opcode : OPCODE.CONTINUATION, body.subarray(at), { reserved: isOnly ? reserved : 0 }))
  return pieces
}

/** The bytes of a request. */
export function request(method, path, fields = [], body = '') {
  return Buffer.concat([
    Buffer.from(`${[`${method} ${path} HTTP/1.1`, 'Host: localhost', ...fields].join('\r\n')}\r\n\r\n`),
    Buffer.from(body),
  ])
}

/** The bytes of a WebSocket handshake. */
export function handshake(path, fields = []) {
  return request('GET', path, [
    'Upgrade: websocket',
    'Connection: Upgrade',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    'Sec-WebSocket-Version: 13',
    ...fields,
  ])
}

/** One chunk of a body (RFC 9112, section 7.1). */
export function chunk(piece, extension = '') {
  const bytes = Buffer.from(piece)
  return Buffer.concat([Buffer.from(`${bytes.length.toString(16)}${extension}\r\n`), bytes, Buffer.from('\r\n')])
}
