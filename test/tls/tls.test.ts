/** Keys and certificates: what works, and what each refusal says. */
import { createPrivateKey, generateKeyPairSync } from 'node:crypto'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, type SecureVersion, type TLSSocket } from 'node:tls'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import type { EngineTls, ServerEvents } from '../../src/engine/contract.js'
import { selectEngine } from '../../src/engine/select.js'
import { TlsError, type TlsOptions, WebSocketServer } from '../../src/index.js'
import { readTls } from '../../src/tls/material.js'
import { Authority, type Certificate, localhostCertificate, makeCertificate } from '../support/certificates.js'
import { Client } from '../support/client.js'
import { describeEngines, type EngineName, type Served, serve, tlsLibraryOf } from '../support/engines.js'
import { thrownBy } from '../support/errors.js'
import { http } from '../support/http.js'
import { withoutPrivileges } from '../support/privileges.js'
import { Queue, within } from '../support/waiting.js'

const PASSPHRASE = 'correct horse battery staple'
let good: Certificate
let encryptedKey: string
let otherKey: string
let folder: string

beforeAll(() => {
  good = localhostCertificate()
  encryptedKey = createPrivateKey(good.key).export({
    type: 'pkcs8',
    format: 'pem',
    cipher: 'aes-256-cbc',
    passphrase: PASSPHRASE,
  }) as string // PEM is text
  otherKey = makeCertificate().key
  folder = mkdtempSync(join(tmpdir(), 'nws-test-tls-'))
  chmodSync(folder, 0o755) // what cannot be read is to be the file, and not the folder
  writeFileSync(join(folder, 'key.pem'), good.key)
  writeFileSync(join(folder, 'cert.pem'), good.cert)
  writeFileSync(join(folder, 'encrypted.pem'), encryptedKey)
  writeFileSync(join(folder, 'other.pem'), otherKey)
  writeFileSync(join(folder, 'text.pem'), 'this is not PEM\n')
  writeFileSync(join(folder, 'empty.pem'), '')
  const second = makeCertificate().cert
  writeFileSync(join(folder, 'joined.pem'), good.cert.trimEnd() + second)
  writeFileSync(join(folder, 'cut.pem'), good.cert + second.slice(0, -30))
  writeFileSync(join(folder, 'damaged.pem'), good.cert + second.replace(/\nM.{20}/, '\nAAAA'))
  const small = makeCertificate('rsa:1024')
  writeFileSync(join(folder, 'small.pem'), small.key)
  writeFileSync(join(folder, 'small-cert.pem'), small.cert)
  const curve = makeCertificate('ec -pkeyopt ec_paramgen_curve:secp256k1')
  writeFileSync(join(folder, 'curve.pem'), curve.key)
  writeFileSync(join(folder, 'curve-cert.pem'), curve.cert)
  writeFileSync(join(folder, 'keys.pem'), good.key + otherKey)
  writeFileSync(join(folder, 'revoked.pem'), `${good.cert}-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n`)
  mkdirSync(join(folder, 'directory.pem'))
  writeFileSync(join(folder, 'locked.pem'), good.key)
  chmodSync(join(folder, 'locked.pem'), 0)
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Makes a server with the TLS options and lets it listen; gives what it is refused with. */
async function refused(engine: EngineName, tls: TlsOptions, port = 0): Promise<unknown> {
  try {
    const server = new WebSocketServer({ engine, tls })
    onTestFinished(() => server.close())
    await server.listen({ port, host: '127.0.0.1' })
  } catch (error) {
    return error
  }
  throw new Error('nothing was refused')
}

/** A TLS handshake with the protocol versions given. */
async function handshakeWith(served: Served, version: SecureVersion): Promise<TLSSocket> {
  const socket = connect({
    host: served.host,
    port: served.port,
    servername: 'localhost',
    ca: good.cert,
    minVersion: version,
    maxVersion: version,
    ciphers: 'DEFAULT:@SECLEVEL=0', // lets the client offer even TLS 1.1
  })
  onTestFinished(() => {
    socket.destroy()
  })
  await within(
    new Promise((resolve, reject) => {
      socket.once('secureConnect', resolve)
      socket.once('error', reject)
    }),
    'the TLS handshake',
  )
  return socket
}

const echo = { message: (socket: { send(data: string | Buffer): number }, message: string | Buffer) => void socket.send(message) }

describeEngines('TLS', (engine) => {
  const sources: Record<string, () => TlsOptions> = {
    'PEM text': () => ({ key: good.key, cert: good.cert }),
    'PEM bytes': () => ({ key: Buffer.from(good.key), cert: new TextEncoder().encode(good.cert) }),
    files: () => ({ keyFile: join(folder, 'key.pem'), certFile: join(folder, 'cert.pem') }),
    'a file and a text': () => ({ keyFile: join(folder, 'key.pem'), cert: good.cert }),
    'an encrypted key with its passphrase': () => ({ key: encryptedKey, cert: good.cert, passphrase: PASSPHRASE }),
    'an encrypted key file with its passphrase': () => ({
      keyFile: join(folder, 'encrypted.pem'),
      cert: good.cert,
      passphrase: PASSPHRASE,
    }),
    'a passphrase that is not needed': () => ({ key: good.key, cert: good.cert, passphrase: PASSPHRASE }),
    'a certificate with a chain': () => ({ key: good.key, cert: good.cert + makeCertificate().cert }),
    'text around the PEM': () => ({ key: `a comment\n${good.key}\nanother\n`, cert: `Subject: localhost\n${good.cert}` }),
    'Windows line ends': () => ({ key: good.key.replaceAll('\n', '\r\n'), cert: good.cert.replaceAll('\n', '\r\n') }),
    'a byte order mark': () => ({ key: `\ufeff${good.key}`, cert: `\ufeff${good.cert}\ufeff${makeCertificate().cert}` }),
    'a cipher list': () => ({ ...good, ciphers: 'ECDHE-ECDSA-AES256-GCM-SHA384' }),
  }
  for (const [source, options] of Object.entries(sources)) {
    test(`works with ${source}`, async () => {
      const served = await serve(engine, echo, { server: { tls: options() } })
      expect(await (await Client.open(served)).ask('secret')).toBe('secret')
      expect((await http(served, '/health')).status).toBe(200)
    })
  }

  test('sends the whole chain, so that clients need to trust nothing but its root', async () => {
    const root = Authority.make('the root')
    const intermediate = new Authority(root.issue({ name: 'the intermediate', isAuthority: true }))
    const { key, cert } = intermediate.issue({ name: 'localhost', hosts: ['localhost'] })
    const trust = { ca: root.cert, servername: 'localhost' }
    const served = await serve(engine, echo, { server: { tls: { key, cert: cert + intermediate.cert } } })
    expect(await (await Client.open(served, '/', trust)).ask('trusted')).toBe('trusted')
    const broken = await serve(engine, echo, { server: { tls: { key, cert } } })
    await expect(Client.open(broken, '/', trust)).rejects.toMatchObject({ code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' })
  })

  test('uses the cipher list', async () => {
    const served = await serve(engine, echo, { server: { tls: { ...good, ciphers: 'ECDHE-ECDSA-AES256-GCM-SHA384' } } })
    expect((await handshakeWith(served, 'TLSv1.2')).getCipher().name).toBe('ECDHE-ECDSA-AES256-GCM-SHA384')
  })

  test('uses the suites of TLS 1.3 in the list, and with no others speaks nothing older', async () => {
    for (const suite of ['TLS_AES_128_GCM_SHA256', 'TLS_CHACHA20_POLY1305_SHA256']) {
      const served = await serve(engine, echo, { server: { tls: { ...good, ciphers: suite } } })
      expect((await handshakeWith(served, 'TLSv1.3')).getCipher().name).toBe(suite)
      await expect(handshakeWith(served, 'TLSv1.2')).rejects.toBeInstanceOf(Error)
      const both = await serve(engine, echo, { server: { tls: { ...good, ciphers: `${suite}:ECDHE-ECDSA-AES256-GCM-SHA384` } } })
      expect((await handshakeWith(both, 'TLSv1.3')).getCipher().name).toBe(suite)
      expect((await handshakeWith(both, 'TLSv1.2')).getCipher().name).toBe('ECDHE-ECDSA-AES256-GCM-SHA384')
    }
  })

  const unknown = tlsLibraryOf(engine) === 'AWS-LC' ? ['rsa-pss', 'ed448'] : []
  for (const kind of unknown) {
    test(`AWS-LC refuses a key of the kind ${kind}`, async () => {
      const error = await refused(engine, makeCertificate(kind))
      expect(error).toMatchObject({ name: 'TlsError', code: 'ERR_TLS_CERTIFICATE' })
      expect(String(error)).toContain('AWS-LC refused the certificate')
    })
  }
  for (const kind of ['rsa:2048', 'rsa-pss', 'ed25519', 'ed448', 'P-256', 'P-384', 'P-521']) {
    if (unknown.includes(kind)) continue
    test(`serves with a key of the kind ${kind}, in both versions of TLS`, async () => {
      const tls = makeCertificate(kind.startsWith('P-') ? `ec -pkeyopt ec_paramgen_curve:${kind}` : kind)
      const served = await serve(engine, echo, { server: { tls } })
      for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
        const settings = { ca: tls.cert, minVersion: version, maxVersion: version }
        expect(await (await Client.open(served, '/', settings)).ask(version)).toBe(version)
      }
    })
  }

  test('a cipher list may name a lower security level, for RSA 1024', async () => {
    const tls = { ...makeCertificate('rsa:1024'), ciphers: 'DEFAULT:@SECLEVEL=1' }
    const served = await serve(engine, echo, { server: { tls } })
    expect(await (await Client.open(served, '/', { rejectUnauthorized: false })).ask('small')).toBe('small')
  })

  // OpenSSL has levels up to 5; the bits of level 3 are those of RSA 3072.
  test('a security level that cannot be kept is refused', async () => {
    const tls = { ...makeCertificate('rsa:2048'), ciphers: 'DEFAULT:@SECLEVEL=3' }
    expect(await refused(engine, tls)).toMatchObject({ name: 'TlsError', code: 'ERR_TLS_CONTEXT' })
  })

  test('speaks TLS 1.3 and 1.2 by default, and nothing older', async () => {
    const served = await serve(engine, echo, { server: { tls: true } })
    expect((await handshakeWith(served, 'TLSv1.3')).getProtocol()).toBe('TLSv1.3')
    expect((await handshakeWith(served, 'TLSv1.2')).getProtocol()).toBe('TLSv1.2')
    await expect(handshakeWith(served, 'TLSv1.1')).rejects.toBeInstanceOf(Error)
    expect(await (await Client.open(served)).ask('undisturbed')).toBe('undisturbed')
  })

  test('speaks nothing older than TLS 1.3 when told so', async () => {
    const served = await serve(engine, echo, { server: { tls: { ...good, minVersion: 'TLSv1.3' } } })
    expect((await handshakeWith(served, 'TLSv1.3')).getProtocol()).toBe('TLSv1.3')
    await expect(handshakeWith(served, 'TLSv1.2')).rejects.toBeInstanceOf(Error)
  })

  test('serves clients that offer HTTP/2 as well', async () => {
    const served = await serve(engine, echo, { server: { tls: true } })
    const socket = connect({
      host: served.host,
      port: served.port,
      servername: 'localhost',
      ca: good.cert,
      ALPNProtocols: ['h2', 'http/1.1'],
    })
    onTestFinished(() => {
      socket.destroy()
    })
    const answer = new Promise<string>((resolve, reject) => {
      let text = ''
      socket.on('data', (chunk) => {
        text += chunk
      })
      socket.on('end', () => resolve(text))
      socket.on('error', reject)
    })
    socket.write('GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n')
    expect(await within(answer, 'the answer')).toContain('{"status":"healthy"}')
    expect([false, 'http/1.1']).toContain(socket.alpnProtocol)
  })

  test('a client that does not trust the certificate disturbs no other client', async () => {
    const served = await serve(engine, echo, { server: { tls: true } })
    const witness = await Client.open(served)
    await expect(Client.open(served, '/', { ca: makeCertificate().cert })).rejects.toThrow(/self.signed|verify/i)
    expect(await witness.ask('undisturbed')).toBe('undisturbed')
  })

  test('500 KiB in one frame and many small ones pass through record boundaries', async () => {
    const client = await Client.open(await serve(engine, echo, { server: { tls: true } }))
    const large = Buffer.alloc(500 * 1024, 'record ')
    client.send(large)
    for (let n = 0; n < 1000; n++) client.send(`${n}`)
    expect(large.equals(Buffer.from((await client.next()) as Buffer))).toBe(true) // binary was sent
    for (let n = 0; n < 1000; n++) expect(await client.next()).toBe(`${n}`)
  })

  for (const algorithm of ['rsa', 'ed25519'] as const) {
    test(`refuses an ${algorithm} key that belongs to another certificate`, async () => {
      const { privateKey } =
        algorithm === 'rsa' ? generateKeyPairSync('rsa', { modulusLength: 2048 }) : generateKeyPairSync('ed25519')
      const key = privateKey.export({ type: 'pkcs8', format: 'pem' })
      expect(await refused(engine, { key, cert: good.cert })).toMatchObject({ name: 'TlsError', code: 'ERR_TLS_MISMATCH' })
    })
  }

  const file = (name: string): string => join(folder, name)
  const cases: [what: string, code: string, options: () => TlsOptions, file?: string][] = [
    ['a key file that is missing', 'ERR_TLS_FILE', () => ({ keyFile: file('none.pem'), certFile: file('cert.pem') }), 'none.pem'],
    [
      'a certificate file that is missing',
      'ERR_TLS_FILE',
      () => ({ keyFile: file('key.pem'), certFile: file('none.pem') }),
      'none.pem',
    ],
    [
      'a key file that is a folder',
      'ERR_TLS_FILE',
      () => ({ keyFile: file('directory.pem'), certFile: file('cert.pem') }),
      'directory.pem',
    ],
    [
      'a certificate file that is a folder',
      'ERR_TLS_FILE',
      () => ({ keyFile: file('key.pem'), certFile: file('directory.pem') }),
      'directory.pem',
    ],
    ['a key file that is not PEM', 'ERR_TLS_KEY', () => ({ keyFile: file('text.pem'), certFile: file('cert.pem') }), 'text.pem'],
    ['an empty key file', 'ERR_TLS_KEY', () => ({ keyFile: file('empty.pem'), certFile: file('cert.pem') }), 'empty.pem'],
    [
      'a certificate file that is not PEM',
      'ERR_TLS_CERTIFICATE',
      () => ({ keyFile: file('key.pem'), certFile: file('text.pem') }),
      'text.pem',
    ],
    [
      'an empty certificate file',
      'ERR_TLS_CERTIFICATE',
      () => ({ keyFile: file('key.pem'), certFile: file('empty.pem') }),
      'empty.pem',
    ],
    ['a key that is a certificate', 'ERR_TLS_KEY', () => ({ keyFile: file('cert.pem'), certFile: file('cert.pem') }), 'cert.pem'],
    [
      'a certificate that is a key',
      'ERR_TLS_CERTIFICATE',
      () => ({ keyFile: file('key.pem'), certFile: file('key.pem') }),
      'key.pem',
    ],
    ['a key of another certificate', 'ERR_TLS_MISMATCH', () => ({ keyFile: file('other.pem'), certFile: file('cert.pem') })],
    [
      'an encrypted key without a passphrase',
      'ERR_TLS_PASSPHRASE',
      () => ({ keyFile: file('encrypted.pem'), certFile: file('cert.pem') }),
      'encrypted.pem',
    ],
    [
      'an encrypted key with a wrong passphrase',
      'ERR_TLS_PASSPHRASE',
      () => ({ keyFile: file('encrypted.pem'), certFile: file('cert.pem'), passphrase: 'wrong' }),
      'encrypted.pem',
    ],
    ['PEM text that is not PEM, as key', 'ERR_TLS_KEY', () => ({ key: 'nonsense', cert: good.cert })],
    ['PEM text that is not PEM, as certificate', 'ERR_TLS_CERTIFICATE', () => ({ key: good.key, cert: 'nonsense' })],
    ['a key that is cut off', 'ERR_TLS_KEY', () => ({ key: good.key.slice(0, 100), cert: good.cert })],
    ['a certificate that is cut off', 'ERR_TLS_CERTIFICATE', () => ({ key: good.key, cert: good.cert.slice(0, 200) })],
    [
      'an encrypted key text with a wrong passphrase',
      'ERR_TLS_PASSPHRASE',
      () => ({ key: encryptedKey, cert: good.cert, passphrase: '' }),
    ],
    ['a file of authorities that is missing', 'ERR_TLS_FILE', () => ({ ...good, caFile: file('none.pem') }), 'none.pem'],
    ['a file of authorities that is not PEM', 'ERR_TLS_CERTIFICATE', () => ({ ...good, caFile: file('text.pem') }), 'text.pem'],
    ['authorities that are a key', 'ERR_TLS_CERTIFICATE', () => ({ ...good, ca: good.key })],
    [
      'certificates joined without a line feed',
      'ERR_TLS_CERTIFICATE',
      () => ({ keyFile: file('key.pem'), certFile: file('joined.pem') }),
      'joined.pem',
    ],
    [
      'a chain whose last block is cut off',
      'ERR_TLS_CERTIFICATE',
      () => ({ keyFile: file('key.pem'), certFile: file('cut.pem') }),
      'cut.pem',
    ],
    [
      'authorities of which one cannot be read',
      'ERR_TLS_CERTIFICATE',
      () => ({ ...good, caFile: file('damaged.pem') }),
      'damaged.pem',
    ],
    [
      'a certificate with a key of RSA 1024',
      'ERR_TLS_CONTEXT',
      () => ({ keyFile: file('small.pem'), certFile: file('small-cert.pem') }),
      'small-cert.pem',
    ],
    [
      'a key on a curve that clients do not take',
      'ERR_TLS_KEY',
      () => ({ keyFile: file('curve.pem'), certFile: file('curve-cert.pem') }),
      'curve.pem',
    ],
    ['a file with two keys', 'ERR_TLS_KEY', () => ({ keyFile: file('keys.pem'), certFile: file('cert.pem') }), 'keys.pem'],
    [
      'a list of revoked certificates among the authorities',
      'ERR_TLS_CERTIFICATE',
      () => ({ ...good, caFile: file('revoked.pem') }),
      'revoked.pem',
    ],
    ['a suite that TLS 1.3 does not have', 'ERR_TLS_CONTEXT', () => ({ ...good, ciphers: 'TLS_RSA_WITH_AES_128_GCM_SHA256' })],
    ['a cipher list that means nothing', 'ERR_TLS_CONTEXT', () => ({ ...good, ciphers: 'NO-SUCH-CIPHER' })],
  ]
  for (const [what, code, options, name] of cases) {
    test(`refuses ${what} with ${code}`, async () => {
      const error = await refused(engine, options())
      expect(error).toBeInstanceOf(TlsError)
      expect(error).toMatchObject({
        name: 'TlsError',
        code,
        file: name === undefined ? expect.toSatisfy(() => true) : file(name),
      })
      if (name !== undefined) expect(String(error)).toContain(name)
      expect(String(error)).not.toContain('PRIVATE KEY')
      expect(String(error)).not.toContain(PASSPHRASE)
    })
  }

  test('refuses a key file without read permission', async () => {
    const error = await withoutPrivileges(() => refused(engine, { keyFile: file('locked.pem'), certFile: file('cert.pem') }))
    expect(error).toMatchObject({ name: 'TlsError', code: 'ERR_TLS_FILE', file: file('locked.pem') })
    expect(String(error)).toContain('EACCES')
  })

  // The other engine has no OpenSSL but the one that has checked everything.
  if (engine === 'native') {
    test('what this engine alone refuses is named with its file', async () => {
      writeFileSync(file('chain.pem'), good.key + good.cert + makeCertificate().cert)
      const [first, second] = readTls([
        good,
        { keyFile: file('key.pem'), certFile: file('chain.pem'), caFile: file('cert.pem'), serverName: 'a.example' },
      ])
      if (first === undefined || second === undefined) throw new Error('an entry was lost')
      const unreadable = Buffer.from(makeCertificate().cert.replace(/\nM.{20}/, '\nAAAA'))
      const altered: [entry: Partial<EngineTls>, code: string, file: string | undefined, name: string][] = [
        [{ key: Buffer.from('nonsense') }, 'ERR_TLS_KEY', file('key.pem'), 'key.pem, block 1'],
        [{ key: Buffer.from(encryptedKey), passphrase: '' }, 'ERR_TLS_PASSPHRASE', file('key.pem'), 'key.pem, block 1'],
        [{ key: Buffer.from(otherKey) }, 'ERR_TLS_MISMATCH', file('key.pem'), 'key.pem, block 1'],
        [{ cert: unreadable }, 'ERR_TLS_CERTIFICATE', file('chain.pem'), 'chain.pem, block 2'],
        [
          { cert: Buffer.concat([first.cert, unreadable]) },
          'ERR_TLS_CERTIFICATE',
          file('chain.pem'),
          ' refused the certificate of tls[1] in',
        ],
        [{ ca: unreadable }, 'ERR_TLS_CERTIFICATE', file('cert.pem'), 'the CA certificate of tls[1] in'],
        [{ ciphers: 'NO-SUCH-CIPHER' }, 'ERR_TLS_CONTEXT', undefined, ' refused the TLS settings of tls[1]: no cipher'],
      ]
      for (const [entry, code, name, text] of altered) {
        const tls = [first, { ...second, ...entry }]
        const options = { tls, proxyProtocol: false, requestTimeout: 0, routes: [] }
        // No client comes: the events are never called.
        const error = thrownBy(() => selectEngine(engine).engine.createServer(options, {} as ServerEvents))
        expect(error).toMatchObject({ name: 'TlsError', code, file: name, message: expect.stringContaining(text) })
      }
    })
  }

  test('a bad certificate is told from a taken port', async () => {
    const holder = createServer()
    onTestFinished(() => {
      holder.close()
    })
    await new Promise<void>((resolve) => holder.listen(0, '127.0.0.1', resolve))
    const { port } = holder.address() as { port: number } // it listens on TCP
    expect(await refused(engine, { key: otherKey, cert: good.cert }, port)).toMatchObject({ code: 'ERR_TLS_MISMATCH' })
    expect(await refused(engine, good, port)).toMatchObject({ code: 'EADDRINUSE' })
  })

  const incomplete: [what: string, options: TlsOptions][] = [
    ['nothing', {}],
    ['a key without a certificate', { key: 'x' }],
    ['a certificate without a key', { cert: 'x' }],
    ['a key and a key file', { key: 'x', keyFile: 'x', cert: 'x' }],
    ['a certificate and a certificate file', { key: 'x', cert: 'x', certFile: 'x' }],
    // The casts let through what TypeScript would refuse and JavaScript would not.
    ['a key that is a number', { key: 7 as unknown as string, cert: 'x' }],
    ['a passphrase that is a number', { key: 'x', cert: 'x', passphrase: 7 as unknown as string }],
    ['an unknown minimum version', { key: 'x', cert: 'x', minVersion: 'TLSv1' as 'TLSv1.2' }],
  ]
  for (const [what, options] of incomplete) {
    test(`${what} is an OptionError`, async () => {
      expect(await refused(engine, options)).toMatchObject({
        name: 'OptionError',
        code: 'ERR_OPTION',
        option: expect.stringContaining('tls'),
      })
    })
  }

  test('many failures leave no trace: a good server works after them', async () => {
    for (let round = 0; round < 50; round++) {
      await refused(engine, { key: otherKey, cert: good.cert })
      await refused(engine, { ...good, ciphers: 'NO-SUCH-CIPHER' })
    }
    const opened = new Queue<true>()
    const served = await serve(engine, { ...echo, open: () => opened.push(true) }, { server: { tls: good } })
    expect(await (await Client.open(served)).ask('works')).toBe('works')
  })
})
