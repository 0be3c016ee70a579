/**
 * TLS clients of every kind: what they offer is the test's to say, and whether they are served is seen by a
 * request.
 */
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls'
import { onTestFinished } from 'vitest'
import type { Address } from './engines.js'
import { within } from './waiting.js'

export interface TlsRequest extends ConnectionOptions {
  /** Hears of every session that the server gives, also before it cuts the connection. */
  readonly onSession?: (session: Buffer) => void
}

export interface ServedTls {
  readonly socket: TLSSocket
  /** Whether a session of before was taken up again. */
  readonly resumed: boolean
  /** The subject's name in the server's certificate; a resumed session shows none. */
  readonly certificate: string
  /** The newest session that the server has given; undefined when it gives none. */
  session(): Buffer | undefined
}

/**
 * A handshake and a request for the health page, whose 200 is waited for: with TLS 1.3 a client is done
 * before the server has looked at its certificate. Rejects when the server cuts the connection instead. The
 * server's certificate is not verified, but shown.
 */
export function request(address: Pick<Address, 'host' | 'port'>, settings: TlsRequest = {}): Promise<ServedTls> {
  const { host, port } = address
  const { onSession, ...options } = settings
  const socket = connect({ host, port, rejectUnauthorized: false, ...options })
  onTestFinished(() => {
    socket.destroy()
  })
  let session: Buffer | undefined
  socket.on('session', (given) => {
    session = given
    onSession?.(given)
  })
  const served = new Promise<ServedTls>((resolve, reject) => {
    let text = ''
    socket.on('error', reject)
    socket.on('close', () => reject(new Error('the connection was closed')))
    socket.on('data', (chunk) => {
      text += chunk
      if (!text.includes('{"status":"healthy"}')) return
      const { subject } = socket.getPeerCertificate()
      // TLS 1.2 has the session from the handshake on.
      const give = () => session ?? (socket.getProtocol() === 'TLSv1.2' ? socket.getSession() : undefined)
      // A name that is there several times is an array, which no test has.
      resolve({ socket, resumed: socket.isSessionReused(), certificate: String(subject?.CN), session: give })
    })
  })
  socket.write('GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n')
  return within(served, 'the answer over TLS')
}
