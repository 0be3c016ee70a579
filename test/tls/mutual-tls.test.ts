/** Clients that must show a certificate: who is served, and who is not, however they try. */
import type { ConnectionOptions } from 'node:tls'
import { beforeAll, expect, test } from 'vitest'
import type { TlsOptions } from '../../src/index.js'
import { Authority, type Certificate, localhostCertificate, makeCertificate } from '../support/certificates.js'
import { Client } from '../support/client.js'
import { describeEngines, type EngineName, type Served, serve } from '../support/engines.js'
import { request, type TlsRequest } from '../support/tls-client.js'

let authority: Authority
let intermediate: Authority
let stranger: Authority
const client: Record<string, Certificate> = {}

beforeAll(() => {
  authority = Authority.make('the authority')
  intermediate = new Authority(authority.issue({ name: 'the intermediate', isAuthority: true }))
  stranger = Authority.make('a stranger')
  client.valid = authority.issue({ name: 'a client' })
  client.chained = intermediate.issue({ name: 'a client of the intermediate' })
  client.selfSigned = makeCertificate()
  client.expired = authority.issue({ name: 'a client of yesterday', expires: new Date(Date.now() - 60_000) })
  client.foreign = stranger.issue({ name: 'a client of a stranger' })
  // The very name of the authority does not help.
  client.forged = Authority.make('the authority').issue({ name: 'a client' })
})

const VERSIONS = ['TLSv1.2', 'TLSv1.3'] as const
type Version = (typeof VERSIONS)[number]
const only = (version: Version): ConnectionOptions => ({ minVersion: version, maxVersion: version })

/** A server that requires certificates, and what it has been asked. */
async function serveRequiring(engine: EngineName, more: Partial<TlsOptions> = {}, others: readonly TlsOptions[] = []) {
  const tls = { ...localhostCertificate(), ca: authority.cert, requestCert: true, ...more }
  const served = await serve(
    engine,
    { message: (socket, message) => void socket.send(message) },
    { server: { tls: [tls, ...others] } },
  )
  return { served, requests: () => served.server.metrics().httpRequests }
}

/** Asks, and is not served. */
async function refused(served: Served, options: TlsRequest): Promise<void> {
  await expect(request(served, options)).rejects.toBeInstanceOf(Error)
}

describeEngines('mutual TLS: client certificates', (engine) => {
  for (const version of VERSIONS) {
    test(`a client with a certificate of the authority is served (${version})`, async () => {
      const { served, requests } = await serveRequiring(engine)
      await request(served, { ...only(version), ...client.valid })
      expect(requests()).toBe(1)
    })

    const nobodies: [what: string, options: () => ConnectionOptions][] = [
      ['no certificate', () => ({})],
      ['a self-signed certificate', () => ({ ...client.selfSigned })],
      ['an expired certificate', () => ({ ...client.expired })],
      ['a certificate of another authority', () => ({ ...client.foreign })],
      ['a certificate of another authority that brings it along', () => ({ ...withChain(client.foreign, stranger) })],
      ['a certificate of a false authority of the same name', () => ({ ...client.forged })],
      ['a certificate whose chain is incomplete', () => ({ ...client.chained })],
    ]
    for (const [what, options] of nobodies) {
      test(`a client with ${what} is refused, and no request of it is seen (${version})`, async () => {
        const { served, requests } = await serveRequiring(engine)
        await refused(served, { ...only(version), ...options() })
        expect(requests()).toBe(0)
        await request(served, { ...only(version), ...client.valid })
        expect(requests()).toBe(1)
      })
    }

    test(`a client that brings the chain from its certificate to the authority is served (${version})`, async () => {
      const { served } = await serveRequiring(engine)
      await request(served, { ...only(version), ...withChain(client.chained, intermediate) })
    })

    test(`several authorities are each as good (${version})`, async () => {
      const { served } = await serveRequiring(engine, { ca: authority.cert + stranger.cert })
      await request(served, { ...only(version), ...client.valid })
      await request(served, { ...only(version), ...client.foreign })
      await refused(served, { ...only(version), ...client.selfSigned })
    })

    test(`without rejectUnauthorized every client is served (${version})`, async () => {
      const { served } = await serveRequiring(engine, { rejectUnauthorized: false })
      await request(served, only(version))
      for (const certificate of Object.values(client)) await request(served, { ...only(version), ...certificate })
    })

    test(`without rejectUnauthorized there need be no authority (${version})`, async () => {
      const served = await serve(
        engine,
        {},
        { server: { tls: { ...localhostCertificate(), requestCert: true, rejectUnauthorized: false } } },
      )
      await request(served, only(version))
      await request(served, { ...only(version), ...client.selfSigned })
    })

    test(`authorities alone ask for nothing (${version})`, async () => {
      const { served } = await serveRequiring(engine, { requestCert: false })
      await request(served, only(version))
      await request(served, { ...only(version), ...client.selfSigned })
    })

    test(`a session from an entry that asks for nothing does not open one that does (${version})`, async () => {
      const { served, requests } = await serveRequiring(engine, { requestCert: false }, [
        { ...localhostCertificate(), ca: authority.cert, requestCert: true, serverName: 'guarded.example' },
      ])
      const open = { ...only(version), servername: 'open.example' }
      const guarded = { ...only(version), servername: 'guarded.example' }
      const session = (await request(served, open)).session()
      expect(session).toBeDefined()
      expect((await request(served, { ...open, session })).resumed).toBe(true)
      const before = requests()
      await refused(served, { ...guarded, session })
      expect(requests()).toBe(before)
      expect((await request(served, { ...guarded, session, ...client.valid })).resumed).toBe(false)
    })

    test(`no way of writing the name of an entry that asks for certificates gets round it (${version})`, async () => {
      const guarded = { ...localhostCertificate(), ca: authority.cert, requestCert: true }
      const { served, requests } = await serveRequiring(engine, { requestCert: false }, [
        { ...guarded, serverName: 'guarded.example' },
        { ...guarded, serverName: '*.wild.example' },
      ])
      const before = requests()
      for (const servername of ['guarded.example.', 'GUARDED.example', 'Guarded.Example.', 'a.wild.example.', 'A.WILD.example']) {
        await refused(served, { ...only(version), servername })
        expect(requests()).toBe(before)
      }
    })

    test(`a session from before reloadTls asked for certificates does not get round it (${version})`, async () => {
      const { served, requests } = await serveRequiring(engine, { rejectUnauthorized: false })
      const sessions = [
        (await request(served, only(version))).session(),
        (await request(served, { ...only(version), ...client.selfSigned })).session(),
      ]
      served.server.reloadTls({ ...localhostCertificate(), ca: authority.cert, requestCert: true })
      const before = requests()
      for (const session of sessions) {
        await refused(served, { ...only(version), ...(session && { session }) })
        await refused(served, { ...only(version), ...(session && { session }), ...client.selfSigned })
      }
      expect(requests()).toBe(before)
      await request(served, { ...only(version), ...client.valid })
    })

    test(`a session with a certificate of an authority that reloadTls has removed is worth nothing (${version})`, async () => {
      const { served, requests } = await serveRequiring(engine, { ca: stranger.cert })
      const session = (await request(served, { ...only(version), ...client.foreign })).session()
      served.server.reloadTls({ ...localhostCertificate(), ca: authority.cert, requestCert: true })
      const before = requests()
      await refused(served, { ...only(version), ...(session && { session }), ...client.foreign })
      expect(requests()).toBe(before)
    })

    test(`a client that is refused gets no session with which it could come back (${version})`, async () => {
      const { served, requests } = await serveRequiring(engine)
      const sessions: Buffer[] = []
      const attempts: ConnectionOptions[] = [{}, { ...client.selfSigned }, { ...client.expired }, { ...client.foreign }]
      for (const options of attempts)
        await refused(served, { ...only(version), ...options, onSession: (given) => sessions.push(given) })
      for (const session of sessions) {
        for (const options of attempts) await refused(served, { ...only(version), ...options, session })
      }
      expect(requests()).toBe(0)
    })

    // The client itself would refuse to show what is weak.
    const showingWeak = { ...only(version), ciphers: 'DEFAULT:@SECLEVEL=0' }
    test(`a client whose key or certificate is too weak is refused, unless a lower level is named (${version})`, async () => {
      const weak = [
        authority.issue({ name: 'a client with a short key', kind: 'rsa:1024' }),
        authority.issue({ name: 'a client of SHA-1', digest: 'sha1' }),
      ]
      const { served, requests } = await serveRequiring(engine)
      for (const certificate of weak) await refused(served, { ...showingWeak, ...certificate })
      expect(requests()).toBe(0)
      await request(served, { ...showingWeak, ...client.valid })
      const { served: lenient } = await serveRequiring(engine, { ciphers: 'DEFAULT:@SECLEVEL=0' })
      for (const certificate of weak) await request(lenient, { ...showingWeak, ...certificate })
    })

    test(`a weak certificate in the chain is refused as well (${version})`, async () => {
      const signer = new Authority(authority.issue({ name: 'a weak signer', kind: 'rsa:1024', isAuthority: true }))
      const { served } = await serveRequiring(engine)
      await refused(served, { ...showingWeak, ...withChain(signer.issue({ name: 'a client of a weak signer' }), signer) })
    })

    // See docs/engines.md.
    const resumes = engine === 'native'
    test(`a client with a certificate ${resumes ? 'takes its session up again' : 'shakes hands anew each time'} (${version})`, async () => {
      const { served } = await serveRequiring(engine)
      const session = (await request(served, { ...only(version), ...client.valid })).session()
      const again = await request(served, { ...only(version), ...client.valid, ...(session && { session }) })
      expect(again.resumed).toBe(resumes)
    })
  }

  test('a session of a client is good only for as long as its certificate is', async () => {
    const expires = new Date(Date.now() + 5000)
    const short = authority.issue({ name: 'a client for five seconds', expires })
    const { served, requests } = await serveRequiring(engine)
    const attempts: TlsRequest[] = []
    for (const version of VERSIONS) {
      const session = (await request(served, { ...only(version), ...short })).session()
      const first = { ...only(version), ...short, ...(session && { session }) }
      // A session that was taken up again gives another one, which is not good for longer.
      const renewed = (await request(served, first)).session()
      attempts.push(first, { ...first, ...(renewed && { session: renewed }) })
    }
    // Nothing tells of the end of a certificate but the clock.
    await new Promise((resolve) => setTimeout(resolve, expires.getTime() + 1000 - Date.now()))
    for (const attempt of attempts) await refused(served, attempt)
    expect(requests()).toBe(4)
  })

  test('a WebSocket client is held to it too', async () => {
    const { served } = await serveRequiring(engine)
    const socket = await Client.open(served, '/', { ...client.valid })
    expect(await socket.ask('hello')).toBe('hello')
    await expect(Client.open(served)).rejects.toBeInstanceOf(Error)
    await expect(Client.open(served, '/', { ...client.foreign })).rejects.toBeInstanceOf(Error)
    expect(await socket.ask('undisturbed')).toBe('undisturbed')
    expect(served.server.connections).toBe(1)
  })
})

/** A certificate, and the one that signed it behind it. */
function withChain(certificate: Certificate | undefined, signer: Authority): ConnectionOptions {
  return { key: certificate?.key ?? '', cert: (certificate?.cert ?? '') + signer.cert }
}
