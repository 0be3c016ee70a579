/** New certificates while the server runs. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect as connectTcp } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ClosedError, OptionError, TlsError, type TlsOptions } from '../../src/index.js'
import { Authority, type Certificate } from '../support/certificates.js'
import { Client } from '../support/client.js'
import { describeEngines, listen, makeServer, serve } from '../support/engines.js'
import { thrownBy } from '../support/errors.js'
import { request } from '../support/tls-client.js'

let authority: Authority
let first: Certificate
let second: Certificate
let folder: string

beforeAll(() => {
  authority = Authority.make('the authority')
  first = authority.issue({ name: 'first' })
  second = authority.issue({ name: 'second' })
  folder = mkdtempSync(join(tmpdir(), 'nws-test-reload-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const echo = { message: (socket: { send(data: string | Buffer): number }, message: string | Buffer) => void socket.send(message) }
const lax = { rejectUnauthorized: false }

describeEngines('reloadTls', (engine) => {
  test('new connections get the new certificate, open ones stay', async () => {
    const served = await serve(engine, echo, { server: { tls: first } })
    const before = await Client.open(served, '/', lax)
    const http = await request(served)
    expect(http.certificate).toBe('first')
    served.server.reloadTls(second)
    expect((await request(served)).certificate).toBe('second')
    expect(await before.ask('still here')).toBe('still here')
    expect(await (await Client.open(served, '/', lax)).ask('new')).toBe('new')
    const answer = new Promise((resolve) => http.socket.once('data', (chunk) => resolve(String(chunk))))
    http.socket.write('GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n')
    expect(await answer).toContain('200 OK')
    expect(served.server.connections).toBe(2)
  })

  test('a handshake that has begun ends with one of the two, and the next has the new one', async () => {
    const served = await serve(engine, echo, { server: { tls: first } })
    const begun = connectTcp({ host: served.host, port: served.port })
    await new Promise<void>((resolve) => begun.once('connect', resolve))
    served.server.reloadTls(second)
    const late = await request(served, { socket: begun })
    expect(['first', 'second']).toContain(late.certificate)
    expect((await request(served)).certificate).toBe('second')
  })

  test('files are read again, before it returns', async () => {
    const [keyFile, certFile] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
    const write = ({ key, cert }: Certificate) => {
      writeFileSync(keyFile, key)
      writeFileSync(certFile, cert)
    }
    write(first)
    const served = await serve(engine, echo, { server: { tls: { keyFile, certFile } } })
    write(second)
    expect((await request(served)).certificate).toBe('first')
    served.server.reloadTls({ keyFile, certFile })
    write(first)
    expect((await request(served)).certificate).toBe('second')
  })

  test('names and settings are replaced as a whole', async () => {
    const served = await serve(engine, echo, { server: { tls: [first, { ...second, serverName: 'two.example' }] } })
    expect((await request(served, { servername: 'two.example' })).certificate).toBe('second')
    served.server.reloadTls([second, { ...first, serverName: '*.example', minVersion: 'TLSv1.3' }])
    expect((await request(served, { servername: 'two.example' })).certificate).toBe('first')
    expect((await request(served)).certificate).toBe('second')
    await expect(request(served, { servername: 'two.example', maxVersion: 'TLSv1.2' })).rejects.toBeInstanceOf(Error)
    served.server.reloadTls(first)
    expect((await request(served, { servername: 'two.example', maxVersion: 'TLSv1.2' })).certificate).toBe('first')
  })

  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    test(`a session of before is not resumed, and its client is served all the same (${version})`, async () => {
      const served = await serve(engine, echo, { server: { tls: first } })
      const versions = { minVersion: version, maxVersion: version }
      const session = (await request(served, versions)).session()
      expect((await request(served, { ...versions, session })).resumed).toBe(true)
      served.server.reloadTls(first)
      expect((await request(served, { ...versions, session })).resumed).toBe(false)
    })
  }

  test('a failure leaves everything as it was', async () => {
    const served = await serve(engine, echo, { server: { tls: first } })
    const cases: [code: string, tls: unknown][] = [
      ['ERR_TLS_FILE', { keyFile: join(folder, 'none.pem'), cert: second.cert }],
      ['ERR_TLS_KEY', { key: 'nonsense', cert: second.cert }],
      ['ERR_TLS_CERTIFICATE', { key: second.key, cert: 'nonsense' }],
      ['ERR_TLS_CERTIFICATE', { key: second.key, cert: second.cert.trimEnd() + first.cert }],
      ['ERR_TLS_CERTIFICATE', { ...second, ca: second.cert + first.cert.slice(0, -30) }],
      ['ERR_TLS_MISMATCH', { key: first.key, cert: second.cert }],
      ['ERR_TLS_CONTEXT', { ...second, ciphers: 'NO-SUCH-CIPHER' }],
      ['ERR_TLS_MISMATCH', [second, { key: first.key, cert: second.cert, serverName: 'a.example' }]],
      ['ERR_OPTION', undefined],
      ['ERR_OPTION', []],
      ['ERR_OPTION', { key: second.key }],
      ['ERR_OPTION', [second, second]],
    ]
    for (const [code, tls] of cases) {
      // The cast lets through what TypeScript would refuse and JavaScript would not.
      const error = thrownBy(() => served.server.reloadTls(tls as TlsOptions))
      expect(error).toBeInstanceOf(code === 'ERR_OPTION' ? OptionError : TlsError)
      expect(error).toMatchObject({ code })
      expect((await request(served)).certificate).toBe('first')
    }
    served.server.reloadTls(second)
    expect((await request(served)).certificate).toBe('second')
  })

  test('before listening it takes the place of the option', async () => {
    const server = makeServer(engine, { server: { tls: first } })
    expect(thrownBy(() => server.reloadTls({ key: first.key, cert: second.cert }))).toMatchObject({ code: 'ERR_TLS_MISMATCH' })
    server.reloadTls(second)
    const served = await listen(server, { server: { tls: second } })
    expect((await request(served)).certificate).toBe('second')
  })

  test('it helps a server that could not listen because of its certificate', async () => {
    const server = makeServer(engine, { server: { tls: { ...first, key: second.key } } })
    await expect(server.listen({ host: '127.0.0.1' })).rejects.toMatchObject({ code: 'ERR_TLS_MISMATCH' })
    server.reloadTls(first)
    expect((await request(await listen(server))).certificate).toBe('first')
  })

  test('while listen is under way it counts', async () => {
    const server = makeServer(engine, { server: { tls: first } })
    const listening = listen(server)
    server.reloadTls(second)
    expect((await request(await listening)).certificate).toBe('second')
  })

  test('a server without TLS cannot be given any', async () => {
    const served = await serve(engine, echo)
    expect(thrownBy(() => served.server.reloadTls(first))).toMatchObject({ name: 'OptionError', option: 'tls' })
    expect(await (await Client.open(served)).ask('plain')).toBe('plain')
    expect(thrownBy(() => makeServer(engine).reloadTls(first))).toMatchObject({ name: 'OptionError', option: 'tls' })
  })

  test('a closed server, or a closing one, throws ClosedError', async () => {
    const served = await serve(engine, echo, { server: { tls: first } })
    const closing = served.server.close()
    expect(thrownBy(() => served.server.reloadTls(second))).toBeInstanceOf(ClosedError)
    await closing
    expect(thrownBy(() => served.server.reloadTls(second))).toBeInstanceOf(ClosedError)
  })

  test('two hundred reloads while clients come and go lose none of them', async () => {
    const served = await serve(engine, echo, { server: { tls: first } })
    const clients: Promise<string | Buffer>[] = []
    for (let round = 0; round < 200; round++) {
      served.server.reloadTls(round % 2 === 0 ? second : [first, { ...second, serverName: 'two.example' }])
      if (round % 10 !== 0) continue
      clients.push(Client.open(served, '/', lax).then((client) => client.ask(`${round}`)))
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect(await Promise.all(clients)).toEqual(Array.from({ length: 20 }, (_, index) => `${index * 10}`))
  })
})
