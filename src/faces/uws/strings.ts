/** What uWebSockets.js takes and gives for text and bytes. */
import { Buffer } from 'node:buffer'
import { isIPv4 } from 'node:net'

/** Text as a string, or as its UTF-8. */
export type RecognizedString = string | ArrayBuffer | ArrayBufferView

/** As uWebSockets.js: nothing is empty text. */
export function textOf(value: RecognizedString | undefined): string {
  if (value === undefined) return ''
  return typeof value === 'string' ? value : bufferOf(value).toString()
}

/** The bytes where they are: not a copy. */
export function bufferOf(value: RecognizedString): Buffer<ArrayBuffer> {
  if (typeof value === 'string') return Buffer.from(value)
  if (!ArrayBuffer.isView(value)) return Buffer.from(value)
  // Shared memory does as well: the bytes are only read, and at once.
  return Buffer.from(value.buffer as ArrayBuffer, value.byteOffset, value.byteLength)
}

/** An ArrayBuffer with these bytes alone: that of the array, where nothing else is in it. */
export function arrayBufferOf(bytes: Uint8Array): ArrayBuffer {
  const { buffer, byteOffset, byteLength } = bytes
  // No engine gives shared memory.
  const memory = buffer as ArrayBuffer
  return byteLength === memory.byteLength ? memory : memory.slice(byteOffset, byteOffset + byteLength)
}

export function toArrayBuffer(text: string): ArrayBuffer {
  return arrayBufferOf(Buffer.from(text))
}

/**
 * An address as 4 or 16 bytes; none where there is no address. `isMapped`: IPv4 is told as IPv6, which is how
 * a socket that listens on both has it (RFC 4291, section 2.5.5.2).
 */
export function addressBytes(address: string, isMapped: boolean): ArrayBuffer {
  if (address === '') return new ArrayBuffer(0)
  if (isIPv4(address)) return isMapped ? addressBytes(`::ffff:${address}`, false) : bytesOfIpv4(address)
  // The zone of a link-local address is no part of its 16 bytes.
  const [head = '', tail] = (address.split('%', 1)[0] ?? '').split('::')
  const before = groupsOf(head)
  const after = groupsOf(tail ?? '')
  const groups = tail === undefined ? before : [...before, ...Array<number>(8 - before.length - after.length).fill(0), ...after]
  return arrayBufferOf(Uint8Array.from(groups.flatMap((group) => [group >> 8, group & 255])))
}

/** Those bytes as uWebSockets.js writes them: eight groups of four digits, or IPv4 with dots. */
export function addressText(address: string, isMapped: boolean): ArrayBuffer {
  const bytes = Buffer.from(addressBytes(address, isMapped))
  return toArrayBuffer(bytes.byteLength === 16 ? bytes.toString('hex').replace(/....(?!$)/g, '$&:') : bytes.join('.'))
}

function bytesOfIpv4(address: string): ArrayBuffer {
  return arrayBufferOf(Uint8Array.from(address.split('.'), Number))
}

function groupsOf(part: string): number[] {
  if (part === '') return []
  return part.split(':').flatMap((group) => {
    if (!isIPv4(group)) return [Number.parseInt(group, 16)]
    const [a = 0, b = 0, c = 0, d = 0] = group.split('.').map(Number)
    return [(a << 8) | b, (c << 8) | d]
  })
}
