/**
 * The header that a proxy sends first on a connection when it speaks the PROXY protocol, version 2 (HAProxy's
 * `proxy-protocol.txt`, section 2.2). The twin of `native/server/net/proxy_protocol.cpp`.
 */
import type { Buffer } from 'node:buffer'
import { SocketAddress } from 'node:net'
import type { Prologue } from './prologue.js'

const SIGNATURE = '\r\n\r\n\0\r\nQUIT\n'
/** Signature, version and command, family, and the length of what follows. */
const FIXED_BYTES = 16
/**
 * A larger header is refused. Addresses take 216 bytes at most; the rest is for TLVs, client certificates
 * among them.
 */
const MAX_HEADER_BYTES = 16 * 1024

/**
 * Version 2 in the upper half, the command in the lower: LOCAL is the proxy's own connection, PROXY one that
 * it passes on.
 */
const LOCAL = 0x20
const PROXY = 0x21

/** Bytes of the addresses and ports of each family and transport; others must be refused. */
const ADDRESS_BYTES: Readonly<Record<number, number>> = {
  0: 0, // unspecified
  17: 12, // TCP over IPv4
  18: 12, // UDP over IPv4
  33: 36, // TCP over IPv6
  34: 36, // UDP over IPv6
  49: 216, // a unix stream socket
  50: 216, // a unix datagram socket
}

/** Gives the client's address: empty where the header names no numeric address of a TCP client. */
export function parseProxyHeader(bytes: Buffer): Prologue<string> {
  const begin = bytes.toString('latin1', 0, SIGNATURE.length)
  if (!SIGNATURE.startsWith(begin)) return 'invalid'
  const command = bytes[SIGNATURE.length]
  if (command === undefined) return FIXED_BYTES
  if (command !== LOCAL && command !== PROXY) return 'invalid'
  if (bytes.length < FIXED_BYTES) return FIXED_BYTES
  const family = bytes.readUInt8(SIGNATURE.length + 1)
  const length = FIXED_BYTES + bytes.readUInt16BE(SIGNATURE.length + 2)
  if (length > MAX_HEADER_BYTES) return 'invalid'
  if (command === PROXY) {
    const needed = ADDRESS_BYTES[family]
    if (needed === undefined || FIXED_BYTES + needed > length) return 'invalid'
  }
  if (bytes.length < length) return length
  return { value: command === PROXY ? sourceAddress(bytes, family) : '', length }
}

function sourceAddress(bytes: Buffer, family: number): string {
  if (family === 0x11) return bytes.subarray(FIXED_BYTES, FIXED_BYTES + 4).join('.')
  if (family !== 0x21) return ''
  const groups = Array.from({ length: 8 }, (_, group) => bytes.readUInt16BE(FIXED_BYTES + 2 * group).toString(16))
  return withoutMapping(new SocketAddress({ address: groups.join(':'), family: 'ipv6' }).address)
}

/** An IPv4 peer of a dual-stack socket shows as ::ffff:192.0.2.1 (RFC 4291, section 2.5.5.2). */
export function withoutMapping(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.)/i, '')
}
