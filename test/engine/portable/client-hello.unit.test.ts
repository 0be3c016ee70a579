/** The server name (SNI) in a ClientHello, which the portable engine reads before any TLS server does. */
import { Buffer } from 'node:buffer'
import { Duplex } from 'node:stream'
import { createSecureContext, type SecureContext, TLSSocket } from 'node:tls'
import { describe, expect, test } from 'vitest'
import { ClientHelloReader } from '../../../src/engine/portable/tls.js'
import { localhostCertificate } from '../../support/certificates.js'
import { Deferred, within } from '../../support/waiting.js'

const SERVER_NAME = 0
const ALPN = 16
const GROUPS = 10
const SIGNATURE_ALGORITHMS = 13
/** The type of a record with an alert. */
const ALERT = 21
const MAX_HELLO_BYTES = 64 * 1024

const uint16 = (value: number) => Buffer.from([value >> 8, value & 0xff])
const extension = (type: number, content: Buffer, length = content.length) =>
  Buffer.concat([uint16(type), uint16(length), content])

/** The extension of RFC 6066, section 3, with one name. */
function serverName(name: string, { type = 0, length = name.length } = {}): Buffer {
  const entry = Buffer.concat([Buffer.from([type]), uint16(length), Buffer.from(name, 'latin1')])
  return extension(SERVER_NAME, Buffer.concat([uint16(entry.length), entry]))
}

/** What a ClientHello message has before its extensions: RFC 8446, section 4.1.2. */
function beginning(sessionId = Buffer.alloc(32)): Buffer {
  const suites = Buffer.from([0xc0, 0x2b]) // TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
  const version = uint16(0x0303)
  return Buffer.concat([
    version,
    Buffer.alloc(32, 0xaa),
    Buffer.from([sessionId.length]),
    sessionId,
    uint16(suites.length),
    suites,
    Buffer.from([1, 0]),
  ])
}

const message = (body: Buffer, length = body.length, type = 1) =>
  Buffer.concat([Buffer.from([type, length >> 16, (length >> 8) & 0xff, length & 0xff]), body])

function hello(...extensions: Buffer[]): Buffer {
  const list = Buffer.concat(extensions)
  return message(Buffer.concat([beginning(), uint16(list.length), list]))
}

/** The bytes as TLS records of so many bytes each. */
function records(bytes: Buffer, size = bytes.length): Buffer {
  const parts: Buffer[] = []
  for (let at = 0; at < bytes.length; at += size) {
    const content = bytes.subarray(at, at + size)
    parts.push(Buffer.from([22, 3, 1]), uint16(content.length), content)
  }
  return Buffer.concat(parts)
}

const read = (bytes: Buffer) => new ClientHelloReader().read(bytes)

/** Reads the bytes up to each of the ends, one after the other; gives the first result that is no number. */
function readInPieces(bytes: Buffer, ends: readonly number[]) {
  const reader = new ClientHelloReader()
  for (const end of ends) {
    const result = reader.read(bytes.subarray(0, end))
    if (typeof result !== 'number') return result
    expect(result).toBeGreaterThan(end)
  }
  return undefined
}

/** One that OpenSSL takes, with TLS 1.2. */
const EXAMPLE = hello(
  extension(GROUPS, Buffer.from([0, 4, 0, 29, 0, 23])),
  serverName('www.example.com'),
  extension(SIGNATURE_ALGORITHMS, Buffer.from([0, 2, 4, 3])),
)
const FOUND = { value: 'www.example.com', length: 0 }

describe('the server name (SNI) of a ClientHello', () => {
  test.each([
    ['among other extensions', EXAMPLE, 'www.example.com'],
    ['in upper case', hello(serverName('WWW.Example.COM')), 'www.example.com'],
    ['with the dot of an absolute name', hello(serverName('example.com.')), 'example.com'],
    ['with two dots at its end, of which one counts', hello(serverName('example.com..')), 'example.com.'],
    ['that is one dot', hello(serverName('.')), ''],
    ['that is empty', hello(serverName('')), ''],
    ['with bytes beyond ASCII, as they are', hello(serverName('b\u00fccher.example')), 'b\u00fccher.example'],
    ['of another type than a host name', hello(serverName('example.com', { type: 1 })), ''],
    ['behind which the list of extensions ends', hello(extension(ALPN, Buffer.alloc(0)), serverName('a')), 'a'],
    ['that is missing', hello(extension(ALPN, Buffer.alloc(4))), ''],
    ['in an empty list of extensions', hello(), ''],
    ['where no list of extensions is sent', message(beginning()), ''],
    ['behind a session id of no bytes', message(Buffer.concat([beginning(Buffer.alloc(0)), uint16(10), serverName('a')])), 'a'],
  ])('%s', (_which, bytes, value) => {
    expect(read(records(bytes))).toEqual({ value, length: 0 })
  })

  test('is found wherever the bytes are split in two', () => {
    const bytes = records(EXAMPLE)
    for (let split = 1; split < bytes.length; split++) expect(readInPieces(bytes, [split, bytes.length])).toEqual(FOUND)
  })

  test('is found when one byte comes after the other, with the last one and not before', () => {
    for (const size of [1, 2, 5, EXAMPLE.length - 1, EXAMPLE.length]) {
      const bytes = records(EXAMPLE, size)
      const ends = Array.from(bytes, (_byte, at) => at + 1)
      expect(readInPieces(bytes, ends.slice(0, -1))).toBeUndefined()
      expect(readInPieces(bytes, ends)).toEqual(FOUND)
    }
  })

  test('is found in records of every size', () => {
    for (let size = 1; size <= EXAMPLE.length; size++) expect(read(records(EXAMPLE, size))).toEqual(FOUND)
  })

  test('is found whatever stands behind the ClientHello, in its record or in another', () => {
    expect(read(records(Buffer.concat([EXAMPLE, Buffer.alloc(100, 0xff)])))).toEqual(FOUND)
    expect(read(Buffer.concat([records(EXAMPLE), Buffer.from([21, 3, 1, 0, 0])]))).toEqual(FOUND)
  })
})

describe('what is no ClientHello in handshake records is invalid', () => {
  const inTwo = (between: Buffer) => Buffer.concat([records(EXAMPLE.subarray(0, 40)), between, records(EXAMPLE.subarray(40))])

  test.each([
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
    ['the form of SSL 2.0', Buffer.from([0x80, 0x2e, 1, 3, 1])],
    ['an alert before it', Buffer.concat([Buffer.from([21, 3, 1, 0, 2, 1, 0]), records(EXAMPLE)])],
    ['an alert between its records', inTwo(Buffer.from([21, 3, 1, 0, 2, 1, 0]))],
    ['an empty record before it', Buffer.concat([Buffer.from([22, 3, 1, 0, 0]), records(EXAMPLE)])],
    ['an empty record between its records', inTwo(Buffer.from([22, 3, 1, 0, 0]))],
    ['another message of a handshake', records(message(beginning(), undefined, 2))],
  ])('%s', (_what, bytes) => {
    expect(read(bytes)).toBe('invalid')
  })

  test('at its first wrong byte, without waiting for more', () => {
    expect(read(Buffer.from([21]))).toBe('invalid')
    expect(read(Buffer.from([22, 3, 1, 0, 100, 2]))).toBe('invalid')
  })
})

/** Whether OpenSSL answers the bytes of a client with an alert, rather than with a ServerHello. */
async function isRefusedByOpenSsl(bytes: Buffer, secureContext: SecureContext): Promise<boolean> {
  const answer = new Deferred<Buffer>()
  const transport = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, callback) {
      answer.resolve(chunk)
      callback()
    },
  })
  const server = new TLSSocket(transport, { isServer: true, secureContext }).on('error', () => {})
  transport.push(bytes)
  const [type] = await within(answer.promise, 'the answer of OpenSSL')
  server.destroy()
  return type === ALERT
}

describe('lengths that lie', () => {
  const secureContext = createSecureContext(localhostCertificate())
  const body = EXAMPLE.subarray(4)
  const whole = beginning().length

  test('are none in the example, which OpenSSL takes', async () => {
    expect(await isRefusedByOpenSsl(records(EXAMPLE), secureContext)).toBe(false)
  })

  test('a message that ends within its fields is invalid, or OpenSSL refuses it', async () => {
    let refused = 0
    for (let length = 0; length < body.length; length++) {
      if (length === whole) continue // without extensions, the message is whole
      const bytes = records(message(body.subarray(0, length)))
      if (read(bytes) === 'invalid') continue
      refused += 1
      expect([length, await isRefusedByOpenSsl(bytes, secureContext)]).toEqual([length, true])
    }
    // Before the name, the reader itself finds that something is missing.
    expect(refused).toBeLessThan(body.length - whole)
  })

  test('a session id, cipher suites or compression methods beyond the end are invalid', () => {
    const afterSession = 34 + 1 + 32
    for (const at of [34, afterSession, afterSession + 2 + 2]) {
      const lying = Buffer.from(body)
      lying[at] = 0xff
      expect([at, read(records(message(lying)))]).toEqual([at, 'invalid'])
    }
  })

  test.each([
    ['a list of extensions that leads beyond the end', (lying: Buffer) => lying.writeUInt16BE(0xffff, whole)],
    ['a list of extensions that ends before the last', (lying: Buffer) => lying.writeUInt16BE(4, whole)],
    ['an extension that leads beyond the end', (lying: Buffer) => lying.writeUInt16BE(0xffff, whole + 4)],
    ['a name that leads beyond its extension', (lying: Buffer) => (lying[lying.indexOf('www.') - 1] = 0xff)],
    ['a name that ends before its extension', (lying: Buffer) => (lying[lying.indexOf('www.') - 1] = 3)],
  ])('%s is invalid, or OpenSSL refuses it', async (_what, lie) => {
    const lying = Buffer.from(body)
    lie(lying)
    const bytes = records(message(lying))
    if (read(bytes) !== 'invalid') expect(await isRefusedByOpenSsl(bytes, secureContext)).toBe(true)
  })

  test('a message that is announced longer than it is has the reader wait for the rest', () => {
    const bytes = records(message(body, body.length + 1))
    expect(read(bytes)).toBe(bytes.length + 1)
  })

  test('a record that is announced longer than it is has the reader wait, unless the ClientHello is whole', () => {
    const long = Buffer.concat([Buffer.from([22, 3, 1]), uint16(EXAMPLE.length + 50), EXAMPLE])
    expect(read(long)).toEqual(FOUND)
    expect(read(long.subarray(0, -1))).toBe(long.length)
  })

  test('a message of more than 64 KiB is invalid as soon as its length has come', () => {
    const head = (length: number) => Buffer.concat([Buffer.from([22, 3, 1, 0x40, 0]), message(Buffer.alloc(0), length)])
    expect(read(head(MAX_HELLO_BYTES - 3))).toBe('invalid')
    expect(read(head(0xff_ffff))).toBe('invalid')
    expect(read(head(MAX_HELLO_BYTES - 4))).toBe(head(0).length + 1)
  })

  test('a ClientHello that takes more than 64 KiB with the heads of its records is invalid', () => {
    const bytes = records(hello(extension(ALPN, Buffer.alloc(12_000)), serverName('a')), 1)
    expect(bytes.length).toBeGreaterThan(MAX_HELLO_BYTES)
    expect(read(bytes)).toBe('invalid')
    expect(read(bytes.subarray(0, MAX_HELLO_BYTES))).toBe('invalid')
    expect(read(bytes.subarray(0, MAX_HELLO_BYTES - 1))).toBe(MAX_HELLO_BYTES)
  })
})
