/** A client that changes its keys at will (RFC 8446, sections 4.6.3 and 7): Node's TLS cannot. */
import { createCipheriv, createHmac } from 'node:crypto'
import { connect as connectTcp, type Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { connect as connectTls } from 'node:tls'
import { onTestFinished } from 'vitest'
import { localhostCertificate } from './certificates.js'
import type { Address } from './engines.js'
import { within } from './waiting.js'

const HASH = 'sha256'
const APPLICATION_DATA = 23
const HANDSHAKE = 22
/** Of a KeyUpdate: its type, its length, and that no answer is asked for. */
const KEY_UPDATE = Buffer.from([24, 0, 0, 1, 0])

/** HKDF-Expand-Label, of no more than one block (section 7.1). */
function expand(secret: Buffer, label: string, length: number): Buffer {
  const name = Buffer.from(`tls13 ${label}`)
  const info = Buffer.from([length >> 8, length & 255, name.length, ...name, 0, 1])
  return createHmac(HASH, secret).update(info).digest().subarray(0, length)
}

export class KeyUpdatingClient {
  readonly #tcp: Socket
  #secret: Buffer
  #sent = 0
  /** What the server has sent, as text. */
  received = ''
  readonly #closed: Promise<void>

  private constructor(tcp: Socket, secret: Buffer, closed: Promise<void>) {
    this.#tcp = tcp
    this.#secret = secret
    this.#closed = closed
  }

  static async connect({ host, port }: Pick<Address, 'host' | 'port'>): Promise<KeyUpdatingClient> {
    const tcp = connectTcp({ host, port, noDelay: true })
    onTestFinished(() => {
      tcp.destroy()
    })
    const transport = new Duplex({ read() {}, write: (bytes, _encoding, done) => void tcp.write(bytes, done) })
    tcp.on('data', (bytes) => transport.push(bytes)).on('error', () => {})
    const closed = new Promise<void>((resolve) => void tcp.once('close', () => resolve()))
    const tls = connectTls({
      socket: transport,
      servername: 'localhost',
      ca: localhostCertificate().cert,
      minVersion: 'TLSv1.3',
      ciphers: 'TLS_AES_128_GCM_SHA256',
    })
    let secret = ''
    tls.on('keylog', (line) => {
      const [label, , value = ''] = line.toString().trim().split(' ')
      if (label === 'CLIENT_TRAFFIC_SECRET_0') secret = value
    })
    tls.on('error', () => {})
    await within(new Promise((resolve) => void tls.once('secureConnect', resolve)), 'the handshake')
    const client = new KeyUpdatingClient(tcp, Buffer.from(secret, 'hex'), closed)
    tls.on('data', (bytes) => {
      client.received += bytes
    })
    return client
  }

  /** Sends data in one record, and then as many KeyUpdates; no data where it is empty. */
  send(data: string | Uint8Array, updates: number): void {
    const records = data.length === 0 ? [] : [this.#record(APPLICATION_DATA, Buffer.from(data))]
    for (let n = 0; n < updates; n++) {
      records.push(this.#record(HANDSHAKE, KEY_UPDATE))
      this.#secret = expand(this.#secret, 'traffic upd', 32)
      this.#sent = 0
    }
    this.#tcp.write(Buffer.concat(records))
  }

  /** Resolves when the server has ended the connection. */
  closed(): Promise<void> {
    return within(this.#closed, 'the server to end the connection')
  }

  #record(type: number, content: Buffer): Buffer {
    const nonce = expand(this.#secret, 'iv', 12)
    nonce.writeUInt32BE((nonce.readUInt32BE(8) ^ this.#sent) >>> 0, 8)
    this.#sent += 1
    const inner = Buffer.concat([content, Buffer.from([type])])
    const head = Buffer.from([APPLICATION_DATA, 3, 3, (inner.length + 16) >> 8, (inner.length + 16) & 255])
    const cipher = createCipheriv('aes-128-gcm', expand(this.#secret, 'key', 16), nonce).setAAD(head)
    return Buffer.concat([head, cipher.update(inner), cipher.final(), cipher.getAuthTag()])
  }
}
