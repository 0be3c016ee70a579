import { describe, expect, test } from 'vitest'
import { parseProxyHeader, withoutMapping } from '../../../src/engine/portable/proxy.js'

const SIGNATURE = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1')

/** A header of version 2, with the length of its body unless another one is claimed. */
function header(command: number, family: number, body: Buffer, length = body.length): Buffer {
  return Buffer.concat([SIGNATURE, Buffer.from([command, family, length >> 8, length & 0xff]), body])
}

const IPV4 = Buffer.from([192, 0, 2, 1, 192, 0, 2, 2, 0x30, 0x39, 0x1b, 0x58])
const ipv6 = (address: string) =>
  Buffer.concat([Buffer.from(address.replaceAll(':', ''), 'hex'), Buffer.alloc(16), Buffer.alloc(4)])
const MAPPED = '0000:0000:0000:0000:0000:ffff:c000:0201'

describe('a PROXY header names the client', () => {
  test.each([
    ['over IPv4', header(0x21, 0x11, IPV4), '192.0.2.1'],
    ['over IPv6', header(0x21, 0x21, ipv6('2001:0db8:0000:0000:0000:0000:0000:0001')), '2001:db8::1'],
    ['over IPv4, mapped into IPv6', header(0x21, 0x21, ipv6(MAPPED)), '192.0.2.1'],
    ['not, over UDP', header(0x21, 0x12, IPV4), ''],
    ['not, on a unix socket', header(0x21, 0x31, Buffer.alloc(216)), ''],
    ['not, where the connection is the proxy’s own', header(0x20, 0x11, IPV4), ''],
    ['not, where it is unspecified', header(0x21, 0x00, Buffer.alloc(0)), ''],
    ['with more behind the addresses', header(0x21, 0x11, Buffer.concat([IPV4, Buffer.alloc(100)])), '192.0.2.1'],
  ])('%s', (_how, bytes, value) => {
    const more = Buffer.concat([bytes, Buffer.from('GET / HTTP/1.1')])
    expect(parseProxyHeader(more)).toEqual({ value, length: bytes.length })
  })
})

describe('a PROXY header is refused', () => {
  test.each([
    ['of version 1', Buffer.from('PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n')],
    ['of a version that is not known', header(0x11, 0x11, IPV4)],
    ['with a command that is not known', header(0x22, 0x11, IPV4)],
    ['of a family that is not known', header(0x21, 0x41, IPV4)],
    ['that is too short for its addresses', header(0x21, 0x11, IPV4.subarray(1))],
    ['of more than 16 KiB', header(0x21, 0x11, IPV4, 16 * 1024 - 15)],
  ])('%s', (_which, bytes) => {
    expect(parseProxyHeader(bytes)).toBe('invalid')
  })
})

test('a PROXY header that comes in pieces asks for the fixed part first, and then for the whole', () => {
  const bytes = header(0x21, 0x11, IPV4)
  for (let length = 1; length < 16; length++) expect(parseProxyHeader(bytes.subarray(0, length))).toBe(16)
  for (let length = 16; length < bytes.length; length++) expect(parseProxyHeader(bytes.subarray(0, length))).toBe(bytes.length)
})

test('only a mapped address loses its prefix', () => {
  expect(withoutMapping('::FFFF:192.0.2.1')).toBe('192.0.2.1')
  expect(withoutMapping('::ffff:1')).toBe('::ffff:1')
  expect(withoutMapping('2001:db8::1')).toBe('2001:db8::1')
})
