import { execFileSync, spawnSync } from 'node:child_process'
import { createPrivateKey, generateKeyPairSync, X509Certificate } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer, request } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { ensureCertificate } from '../../src/app/certificate.js'
import { TlsError } from '../../src/errors.js'
import { thrownBy } from '../support/errors.js'

const noOpenssl = spawnSync('openssl', ['version']).status === 0 ? '' : ' (skipped: the openssl command is not installed)'

let folder: string
let key: string
let cert: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'certificate-'))
  key = join(folder, 'made', 'for', 'key.pem')
  cert = join(folder, 'made', 'for', 'cert.pem')
})
afterEach(() => {
  rmSync(folder, { recursive: true })
})

describe('the development certificate', () => {
  test('is an RSA 2048 key and a SHA-256 certificate for this machine, valid from now for 365 days', () => {
    const before = Math.floor(Date.now() / 1000) * 1000
    expect(ensureCertificate(key, cert)).toBe(true)
    const after = Date.now()

    const certificate = new X509Certificate(readFileSync(cert))
    expect(certificate.subject).toBe('CN=localhost')
    expect(certificate.issuer).toBe('CN=localhost')
    expect(certificate.subjectAltName).toBe('DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1')
    expect(certificate.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1'])
    expect(certificate.publicKey.asymmetricKeyType).toBe('rsa')
    expect(certificate.publicKey.asymmetricKeyDetails?.modulusLength).toBe(2048)
    expect(certificate.toLegacyObject().serialNumber).toMatch(/^40[0-9A-F]{30}$/)
    const from = Date.parse(certificate.validFrom)
    expect(from).toBeGreaterThanOrEqual(before)
    expect(from).toBeLessThanOrEqual(after)
    expect(Date.parse(certificate.validTo) - from).toBe(365 * 24 * 60 * 60 * 1000)
    expect(certificate.checkHost('localhost')).toBe('localhost')
    for (const address of ['127.0.0.1', '::1']) expect(certificate.checkIP(address)).toBe(address)
    expect(certificate.checkHost('example.org')).toBeUndefined()
    expect(certificate.verify(certificate.publicKey)).toBe(true)
    expect(certificate.ca).toBe(false)
    const privateKey = createPrivateKey(readFileSync(key))
    expect(certificate.checkPrivateKey(privateKey)).toBe(true)
    expect(readFileSync(key, 'utf8')).toMatch(/^-----BEGIN PRIVATE KEY-----\n/)
  })

  test.skipIf(process.platform === 'win32')('makes the key readable by its owner alone', () => {
    ensureCertificate(key, cert)
    expect((statSync(key).mode & 0o777).toString(8)).toBe('600')
  })

  test('has another key and serial number each time', () => {
    ensureCertificate(key, cert)
    const others = [join(folder, 'key.pem'), join(folder, 'cert.pem')] as const
    ensureCertificate(...others)
    expect(readFileSync(others[0], 'utf8')).not.toBe(readFileSync(key, 'utf8'))
    const serials = [cert, others[1]].map((file) => new X509Certificate(readFileSync(file)).serialNumber)
    expect(serials[0]).not.toBe(serials[1])
  })

  test('lets a client that trusts it, and only such a client, connect by name and by address', async () => {
    ensureCertificate(key, cert)
    const server = createServer({ key: readFileSync(key), cert: readFileSync(cert) }, (_request, response) =>
      response.end('hello'),
    )
    onTestFinished(() => {
      server.close()
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    // A server that listens on a TCP port has an AddressInfo.
    const { port } = server.address() as AddressInfo
    const get = (servername: string, ca?: Buffer) =>
      new Promise<number | undefined>((resolve, reject) => {
        request({ host: '127.0.0.1', port, servername, agent: false, ...(ca && { ca }) }, (response) => {
          response.resume().once('end', () => resolve(response.statusCode))
        })
          .once('error', reject)
          .end()
      })
    expect(await get('localhost', readFileSync(cert))).toBe(200)
    expect(await get('', readFileSync(cert))).toBe(200)
    await expect(get('localhost')).rejects.toMatchObject({ code: 'DEPTH_ZERO_SELF_SIGNED_CERT' })
    await expect(get('example.org', readFileSync(cert))).rejects.toMatchObject({ code: 'ERR_TLS_CERT_ALTNAME_INVALID' })
  })

  test.skipIf(noOpenssl !== '')(`is what OpenSSL reads and verifies${noOpenssl}`, () => {
    ensureCertificate(key, cert)
    const openssl = (...args: string[]) => execFileSync('openssl', args, { encoding: 'utf8' })
    const verify = [
      'verify',
      '-x509_strict',
      '-check_ss_sig',
      '-purpose',
      'sslserver',
      '-verify_hostname',
      'localhost',
      '-CAfile',
      cert,
      cert,
    ]
    expect(openssl(...verify)).toContain('OK')
    const text = openssl('x509', '-in', cert, '-noout', '-text').replace(/ +\n/g, '\n')
    expect(text).toContain('Version: 3 (0x2)')
    expect(text).toContain('Signature Algorithm: sha256WithRSAEncryption')
    expect(text).toMatch(/X509v3 Basic Constraints: critical\n\s+CA:FALSE\n/)
    expect(text).toMatch(/X509v3 Key Usage: critical\n\s+Digital Signature, Key Encipherment\n/)
    expect(text).toMatch(/X509v3 Extended Key Usage:\n\s+TLS Web Server Authentication\n/)
    const [, subjectKey] = /X509v3 Subject Key Identifier:\n\s+(\S+)\n/.exec(text) ?? []
    const [, authorityKey] = /X509v3 Authority Key Identifier:\n\s+(?:keyid:)?(\S+)\n/.exec(text) ?? []
    expect(subjectKey).toBeDefined()
    expect(authorityKey).toBe(subjectKey)
    // The extension's value, made anew by OpenSSL from the same key, must be the one that is in the
    // certificate.
    const theirs = openssl('req', '-x509', '-key', key, '-subj', '/CN=localhost', '-addext', 'subjectKeyIdentifier=hash')
    const theirText = execFileSync('openssl', ['x509', '-noout', '-text'], { input: theirs, encoding: 'utf8' }).replace(
      / +\n/g,
      '\n',
    )
    expect(theirText).toContain(subjectKey)
  })
})

describe('files that exist', () => {
  test('are left as they are when both are there, whatever is in them', () => {
    mkdirSync(join(folder, 'made', 'for'), { recursive: true })
    writeFileSync(key, 'my key')
    writeFileSync(cert, 'my certificate')
    expect(ensureCertificate(key, cert)).toBe(false)
    expect(readFileSync(key, 'utf8')).toBe('my key')
    expect(readFileSync(cert, 'utf8')).toBe('my certificate')
  })

  test.each([
    ['key', () => [key, cert] as const],
    ['certificate', () => [cert, key] as const],
  ])('a %s without its other half is a TlsError that names the missing file, and stays', (_what, files) => {
    const [present, missing] = files()
    mkdirSync(join(folder, 'made', 'for'), { recursive: true })
    writeFileSync(
      present,
      generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ type: 'pkcs8', format: 'pem' }),
    )
    const content = readFileSync(present, 'utf8')
    const error = thrownBy(() => ensureCertificate(key, cert))
    expect(error).toBeInstanceOf(TlsError)
    expect(error).toMatchObject({ code: 'ERR_TLS_FILE', file: missing })
    expect(String(error)).toContain(`${missing} is missing, but ${present} exists`)
    expect(readFileSync(present, 'utf8')).toBe(content)
    expect(existsSync(missing)).toBe(false)
  })

  test('in the place of a folder are a TlsError, and no half of a pair is left', () => {
    writeFileSync(join(folder, 'file'), '')
    const inside = join(folder, 'file', 'cert.pem')
    expect(thrownBy(() => ensureCertificate(key, inside))).toMatchObject({ code: 'ERR_TLS_FILE', file: inside })
    expect(existsSync(key)).toBe(false)
  })
})
