/**
 * Node's own TLS and cryptography, and the server's, in one process: two copies of OpenSSL that must not
 * meet.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  generateKeyPairSync,
  randomBytes,
  scryptSync,
  sign,
  verify,
} from 'node:crypto'
import { createServer, get } from 'node:https'
import type { AddressInfo } from 'node:net'
import { deflateRawSync, gunzipSync, gzipSync, inflateRawSync } from 'node:zlib'
import { expect, onTestFinished, test } from 'vitest'
import { localhostCertificate } from '../support/certificates.js'
import { Client } from '../support/client.js'
import { describeEngines, serve } from '../support/engines.js'
import { http } from '../support/http.js'

// Of "hello", as sha256sum prints it.
const HELLO_SHA256 = '2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824'

/** Work for Node's OpenSSL and zlib whose results are known or check themselves. */
function exerciseNode(): void {
  expect(createHash('sha256').update('hello').digest('hex')).toBe(HELLO_SHA256)
  const [key, iv, plain] = [randomBytes(32), randomBytes(12), randomBytes(10_000)]
  const cipher = createCipheriv('aes-256-gcm', key, iv)
  const sealed = Buffer.concat([cipher.update(plain), cipher.final()])
  const decipher = createDecipheriv('aes-256-gcm', key, iv).setAuthTag(cipher.getAuthTag())
  expect(Buffer.concat([decipher.update(sealed), decipher.final()]).equals(plain)).toBe(true)
  const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  expect(verify('sha256', plain, pair.publicKey, sign('sha256', plain, pair.privateKey))).toBe(true)
  expect(createHmac('sha512', key).update(plain).digest().length).toBe(64)
  expect(scryptSync('password', 'salt', 32, { N: 1024 }).length).toBe(32)
  expect(gunzipSync(gzipSync(plain)).equals(plain)).toBe(true)
  expect(inflateRawSync(deflateRawSync(plain)).equals(plain)).toBe(true)
  // Leaves an error in OpenSSL's queue.
  expect(() => createDecipheriv('aes-256-gcm', key, iv).setAuthTag(randomBytes(16)).final()).toThrow()
}

describeEngines('node:https and this server in one process', (engine) => {
  test('serve side by side, while both do cryptography', async () => {
    const certificate = localhostCertificate()
    const body = randomBytes(200_000)
    const node = createServer(certificate, (_, response) => response.end(body))
    onTestFinished(() => {
      node.closeAllConnections()
      node.close()
    })
    await new Promise<void>((resolve) => node.listen(0, '127.0.0.1', resolve))
    const { port } = node.address() as AddressInfo // it listens on TCP
    const fetchFromNode = (): Promise<Buffer> =>
      new Promise((resolve, reject) => {
        get({ host: '127.0.0.1', port, ca: certificate.cert, servername: 'localhost', agent: false }, (response) => {
          const chunks: Buffer[] = []
          response.on('data', (chunk: Buffer) => chunks.push(chunk))
          response.on('end', () => resolve(Buffer.concat(chunks)))
        }).on('error', reject)
      })

    const served = await serve(engine, { message: (socket, message) => void socket.send(message) }, { server: { tls: true } })
    const clients = await Client.openMany(served, 5)
    for (let round = 0; round < 20; round++) {
      exerciseNode()
      const sent = randomBytes(1 + round * 3000)
      const [fromNode, health, ...echoes] = await Promise.all([
        fetchFromNode(),
        http(served, '/health'),
        ...clients.map((client) => client.ask(sent)),
      ])
      expect(fromNode.equals(body)).toBe(true)
      expect(health.body.toString()).toBe('{"status":"healthy"}')
      // Binary was sent.
      for (const echo of echoes) expect(sent.equals(Buffer.from(echo as Buffer))).toBe(true)
    }
  })

  test('a failure of one leaves no error behind in the other', async () => {
    const served = await serve(engine, { message: (socket, message) => void socket.send(message) }, { server: { tls: true } })
    const client = await Client.open(served)
    for (let round = 0; round < 10; round++) {
      await expect(Client.open(served, '/', { ca: [] })).rejects.toBeInstanceOf(Error)
      exerciseNode()
      expect(await client.ask(`round ${round}`)).toBe(`round ${round}`)
    }
  })
})
