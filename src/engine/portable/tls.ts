/**
 * TLS of the portable engine: one of Node's own TLS servers for each certificate, none of which listens. The
 * server name in a connection's ClientHello (SNI) chooses the server before any of the servers sees the
 * connection. So each entry keeps its own protocol versions, ciphers, authorities and sessions, where Node's
 * own SNI would choose only a certificate, after everything else has been decided.
 */
import type { Buffer } from 'node:buffer'
import { constants } from 'node:crypto'
import type { Socket as NetSocket } from 'node:net'
import { createServer, type Server, type TLSSocket } from 'node:tls'
import { TlsError } from '../../errors.js'
import { GrowingBuffer } from '../../util/growing-buffer.js'
import type { EngineTls } from '../contract.js'
import { MAX_PROLOGUE_TIME, type Prologue, readPrologue } from './prologue.js'
import { nodeTlsSettings } from './tls-settings.js'
import { MAX_TLS_HANDSHAKES_PER_TURN } from './turn-budget.js'
import { turns, type Waiting } from './turns.js'

export class PortableTls {
  readonly #default: Server
  readonly #byName = new Map<string, Server>()

  /** There is at least one entry. `handshakeTimeout` is in milliseconds. Throws TlsError. */
  constructor(
    entries: readonly EngineTls[],
    onSecure: (stream: TLSSocket) => void,
    handshakeTimeout: number = MAX_PROLOGUE_TIME,
  ) {
    const servers = entries.map((entry) => makeServer(entry, handshakeTimeout, onSecure))
    // The cast holds because there is at least one entry.
    this.#default = servers[0] as Server
    for (const [index, { serverName }] of entries.entries()) {
      const server = servers[index]
      if (server !== undefined && serverName !== undefined && entries.length > 1) this.#byName.set(serverName, server)
    }
  }

  /** Takes a connection on which nothing of TLS has been read. */
  accept(socket: NetSocket): void {
    const hello = new ClientHelloReader()
    readPrologue(
      socket,
      (bytes) => hello.read(bytes),
      (name) => handshakes.begin(socket, () => this.#find(name).emit('connection', socket)),
    )
  }

  #find(name: string): Server {
    const dot = name.indexOf('.')
    // The star stands for exactly one label, which is not empty.
    const wildcard = dot > 0 ? this.#byName.get(`*${name.slice(dot)}`) : undefined
    return this.#byName.get(name) ?? wildcard ?? this.#default
  }
}

/** The socket on which the TLS of a stream runs; without TLS the stream itself. */
export function transportOf(stream: NetSocket): NetSocket {
  // Node documents no way to tell which socket a TLSSocket was made from.
  const { _parent } = stream as { _parent?: NetSocket | null }
  return _parent ?? stream
}

/**
 * Handshakes that begin. The costly part of a handshake, the signature, is done as soon as Node has the whole
 * ClientHello. MAX_TLS_HANDSHAKES_PER_TURN of them begin in a turn, and the others in later turns, in their
 * order.
 */
class Handshakes implements Waiting {
  readonly #waiting = new Map<NetSocket, () => void>()
  #turn = turns.number
  #begun = 0

  begin(socket: NetSocket, start: () => void): void {
    this.#waiting.set(socket, start)
    this.takeTurn()
  }

  takeTurn(): void {
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

/** One object for all servers of this thread. */
const handshakes = new Handshakes()

function makeServer(entry: EngineTls, handshakeTimeout: number, onSecure: (stream: TLSSocket) => void): Server {
  // Node does not look at a client's certificate again when a session is resumed: a certificate that has
  // expired since would still count.
  const secureOptions = entry.requestCert && entry.rejectUnauthorized ? constants.SSL_OP_NO_TICKET : 0
  try {
    const options = { ...nodeTlsSettings(entry), secureOptions, handshakeTimeout, ALPNProtocols: ['http/1.1'] }
    const server = createServer(options, onSecure)
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
/** Bytes of a ClientHello and the heads of its records. Real clients send 200 to 2,000. */
const MAX_HELLO_BYTES = 64 * 1024

/**
 * Reads the server name (SNI) that a client asks for in its ClientHello. The ClientHello may come in pieces
 * of any length, and each byte is looked at once. OpenSSL reads the same bytes afterwards, and must not find
 * a ClientHello where this class finds none: the connection would be the default entry's, which may ask for
 * less than the entry of that name. So everything is invalid but a ClientHello in handshake records, one
 * behind the other. Invalid is also what OpenSSL would take: alerts before the ClientHello or between its
 * records, empty records (RFC 8446, section 5.1, forbids them), the form of SSL 2.0, which has no server
 * name.
 */
export class ClientHelloReader {
  readonly #hello = new GrowingBuffer()
  /** Where the next record begins, or the rest of the present one. */
  #at = 0
  /** Bytes of the present record that have not come. */
  #left = 0

  /**
   * Takes all bytes of the connection so far, more with each call. Gives the name in lower case, without the
   * dot at the end of an absolute name; empty where the ClientHello has no name.
   */
  read(all: Buffer): Prologue<string> {
    const bytes = all.subarray(0, MAX_HELLO_BYTES)
    while (this.#at < bytes.length) {
      if (this.#left === 0) {
        if (bytes[this.#at] !== HANDSHAKE_RECORD) return 'invalid'
        if (this.#at + RECORD_HEAD > bytes.length) break
        this.#left = bytes.readUInt16BE(this.#at + 3)
        if (this.#left === 0) return 'invalid'
        this.#at += RECORD_HEAD
      }
      const part = bytes.subarray(this.#at, this.#at + this.#left)
      this.#hello.copy(part, Number.POSITIVE_INFINITY)
      this.#at += part.length
      this.#left -= part.length
      const hello = this.#hello.view
      if (hello.length > 0 && hello[0] !== CLIENT_HELLO) return 'invalid'
      if (hello.length < MESSAGE_HEAD) continue
      const end = MESSAGE_HEAD + hello.readUIntBE(1, 3)
      if (end > MAX_HELLO_BYTES) return 'invalid'
      // Bytes behind the ClientHello are for OpenSSL.
      if (hello.length >= end) return nameIn(hello.subarray(MESSAGE_HEAD, end))
    }
    return bytes.length < MAX_HELLO_BYTES ? bytes.length + 1 : 'invalid'
  }
}

function nameIn(hello: Buffer): Prologue<string> {
  try {
    return { value: serverNameIn(hello).replace(/\.$/, ''), length: 0 }
  } catch {
    return 'invalid' // a length in it leads beyond its end
  }
}

/**
 * RFC 8446, section 4.1.2, and RFC 6066, section 3. Throws RangeError where a field leads beyond the end; of
 * the other lengths that lie, OpenSSL makes an alert afterwards.
 */
function serverNameIn(hello: Buffer): string {
  let at = 2 + 32 // version and random
  at += 1 + hello.readUInt8(at) // session id
  at += 2 + hello.readUInt16BE(at) // cipher suites
  at += 1 + hello.readUInt8(at) // compression methods
  if (at === hello.length) return '' // no extensions
  const end = at + 2 + hello.readUInt16BE(at)
  at += 2
  while (at < end) {
    const type = hello.readUInt16BE(at)
    const length = hello.readUInt16BE(at + 2)
    // The first name of the extension's list, which can hold only one name of each type: a host name has type
    // 0.
    if (type === 0 && hello.readUInt8(at + 6) === 0) {
      const from = at + 9
      return hello.toString('latin1', from, from + hello.readUInt16BE(at + 7)).toLowerCase()
    }
    at += 4 + length
  }
  return ''
}
