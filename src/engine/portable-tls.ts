/**
 * TLS of the portable engine: one of Node's own TLS servers for each certificate, none of which listens.
 * Which one a connection is for is read from its ClientHello before any of them sees it. So each keeps its
 * own protocol versions, ciphers, authorities and sessions, where Node's own SNI would choose a certificate
 * only, after everything else has been decided.
 */
import { Buffer } from 'node:buffer'
import { constants } from 'node:crypto'
import type { Socket as NetSocket } from 'node:net'
import { createServer, type Server, type TLSSocket } from 'node:tls'
import { TlsError } from '../errors.js'
import type { EngineTls } from './contract.js'
import { type Prologue, readPrologue } from './portable-prologue.js'
import { nodeTlsSettings } from './portable-tls-settings.js'
import { turns, type Waiting } from './portable-turns.js'
import { MAX_TLS_HANDSHAKES_PER_TURN } from './turn-budget.js'

export class PortableTls {
  readonly #default: Server
  readonly #byName = new Map<string, Server>()

  /** There is at least one entry. Throws TlsError. */
  constructor(entries: readonly EngineTls[], onSecure: (stream: TLSSocket) => void) {
    const servers = entries.map((entry) => makeServer(entry, onSecure))
    // The cast holds because there is at least one entry.
    this.#default = servers[0] as Server
    for (const [index, { serverName }] of entries.entries()) {
      const server = servers[index]
      if (server !== undefined && serverName !== undefined && entries.length > 1) this.#byName.set(serverName, server)
    }
  }

  /** Takes a connection on which nothing of TLS has been read. */
  accept(socket: NetSocket): void {
    readPrologue(socket, parseServerName, (name) => handshakes.begin(socket, () => this.#find(name).emit('connection', socket)))
  }

  #find(name: string): Server {
    const dot = name.indexOf('.')
    // In place of the star stands one label, which is not empty.
    const wildcard = dot > 0 ? this.#byName.get(`*${name.slice(dot)}`) : undefined
    return this.#byName.get(name) ?? wildcard ?? this.#default
  }
}

/**
 * Handshakes that begin: all that costs time in one, the signature, is done as soon as Node has the whole
 * ClientHello. So many of them in a turn, and the others in later turns, in their order.
 */
class Handshakes implements Waiting {
  readonly #waiting = new Map<NetSocket, () => void>()
  #turn = turns.number
  #begun = 0

  begin(socket: NetSocket, start: () => void): void {
    this.#waiting.set(socket, start)
    this.proceed()
  }

  proceed(): void {
    if (this.#turn !== turns.number) {
      this.#turn = turns.number
      this.#begun = 0
    }
    for (const [socket, start] of this.#waiting) {
      if (this.#begun >= MAX_TLS_HANDSHAKES_PER_TURN) {
        turns.wait(this)
        return
      }
      this.#waiting.delete(socket)
      if (socket.destroyed) continue
      this.#begun += 1
      if (this.#begun * 2 > MAX_TLS_HANDSHAKES_PER_TURN) turns.watch()
      start()
    }
  }
}

/** Of all servers of this thread. */
const handshakes = new Handshakes()

function makeServer(entry: EngineTls, onSecure: (stream: TLSSocket) => void): Server {
  // Node does not look at a certificate again when a session is resumed: one that has expired since would
  // still count.
  const secureOptions = entry.requestCert && entry.rejectUnauthorized ? constants.SSL_OP_NO_TICKET : 0
  try {
    const server = createServer({ ...nodeTlsSettings(entry), secureOptions, ALPNProtocols: ['http/1.1'] }, onSecure)
    server.on('tlsClientError', (_error, stream) => stream.destroy())
    return server
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new TlsError('ERR_TLS_CONTEXT', `OpenSSL refused ${entry.sources.settings.name}: ${reason}`, undefined, {
      cause: error,
    })
  }
}

/** RFC 8446, sections 4 and 5.1. */
const HANDSHAKE_RECORD = 22
const CLIENT_HELLO = 1
/** Of a record: type, version and length (section 5.1). Of a message: type and length (section 4). */
const RECORD_HEAD = 5
const MESSAGE_HEAD = 4
/** A larger ClientHello goes to the default entry. OpenSSL has a limit of its own. */
const MAX_HELLO_BYTES = 64 * 1024
/** One in more records goes there too. Clients use one, or a few of 16 KiB. */
const MAX_HELLO_RECORDS = 64

/**
 * The name in lower case, without the dot that an absolute one ends with; empty where there is none, or where
 * the bytes are no ClientHello: that is for OpenSSL to say.
 */
export function parseServerName(bytes: Buffer): Prologue<string> {
  const hello = helloOf(bytes)
  if (typeof hello === 'number') return hello
  try {
    return { value: serverNameIn(hello).replace(/\.$/, ''), length: 0 }
  } catch {
    return { value: '', length: 0 } // a length in it leads beyond its end
  }
}

/**
 * The body of the ClientHello, out of its records; empty when there is none. A number while more is needed: each byte that is missing
 * takes one at least, and the record that brings the first of them has a head of 5.
 */
function helloOf(bytes: Buffer): Buffer | number {
  const none = Buffer.alloc(0)
  const parts: Buffer[] = []
  let received = 0
  let end = MESSAGE_HEAD
  let at = 0
  while (at < bytes.length) {
    if (bytes[at] !== HANDSHAKE_RECORD || parts.length === MAX_HELLO_RECORDS) return none
    if (at + RECORD_HEAD > bytes.length) return at + RECORD_HEAD + end - received
    const length = bytes.readUInt16BE(at + 3)
    if (length === 0) return none
    const part = bytes.subarray(at + RECORD_HEAD, at + RECORD_HEAD + length)
    const isHeadNew = received < MESSAGE_HEAD
    parts.push(part)
    received += part.length
    at += RECORD_HEAD + length
    if (isHeadNew && received > 0) {
      const head = Buffer.concat(parts)
      if (head[0] !== CLIENT_HELLO) return none
      if (received >= MESSAGE_HEAD) end += head.readUIntBE(1, 3)
      if (end > MAX_HELLO_BYTES) return none
    }
    // Whatever is behind it: that is for OpenSSL.
    if (received >= MESSAGE_HEAD && received >= end) return Buffer.concat(parts).subarray(MESSAGE_HEAD, end)
  }
  const missing = end - received
  return bytes.length + missing + (missing > at - bytes.length ? RECORD_HEAD : 0)
}

/** RFC 8446, section 4.1.2, and RFC 6066, section 3. Throws RangeError at what is cut short. */
function serverNameIn(hello: Buffer): string {
  if (hello.length === 0) return ''
  let at = 2 + 32 // version and random
  at += 1 + hello.readUInt8(at) // session id
  at += 2 + hello.readUInt16BE(at) // cipher suites
  at += 1 + hello.readUInt8(at) // compression methods
  const end = at + 2 + hello.readUInt16BE(at)
  at += 2
  while (at < end) {
    const type = hello.readUInt16BE(at)
    const length = hello.readUInt16BE(at + 2)
    // Of its list, which can only hold one name of each type: the type of a host name is 0.
    if (type === 0 && hello.readUInt8(at + 6) === 0) {
      const from = at + 9
      return hello.toString('latin1', from, from + hello.readUInt16BE(at + 7)).toLowerCase()
    }
    at += 4 + length
  }
  return ''
}
