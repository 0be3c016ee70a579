/** Keys and certificates that are refused, and what is said of them. */
import { execFileSync } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createSecureContext } from 'node:tls'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { EngineTls } from '../../src/engine/contract.js'
import { TlsError } from '../../src/errors.js'
import { readTls } from '../../src/tls/material.js'
import type { TlsOptions } from '../../src/types/index.js'
import { makeCertificate } from '../support/certificates.js'
import { withoutPrivileges } from '../support/privileges.js'

const passphrase = 'correct horse battery staple'
const folder = mkdtempSync(join(tmpdir(), 'nws-unit-tls-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const file = (name: string) => join(folder, name)
let pair: { key: string; cert: string }
let other: { key: string; cert: string }
/** The key of `pair`, encrypted in the two ways that PEM has. */
let encrypted: { pkcs8: string; traditional: string }

beforeAll(() => {
  pair = makeCertificate()
  other = makeCertificate()
  writeFileSync(file('key.pem'), pair.key)
  writeFileSync(file('cert.pem'), pair.cert)
  const openssl = (...args: string[]) => execFileSync('openssl', args, { input: pair.key, stdio: 'pipe' }).toString()
  encrypted = {
    pkcs8: openssl('pkcs8', '-topk8', '-v2', 'aes-256-cbc', '-passout', `pass:${passphrase}`),
    traditional: openssl('ec', '-aes-256-cbc', '-passout', `pass:${passphrase}`),
  }
})

/** The TlsError with which options are refused; it shows no line of any key. */
function refusal(...entries: TlsOptions[]): TlsError {
  let error: unknown = new Error('nothing was refused')
  try {
    readTls(entries)
  } catch (reason) {
    error = reason
  }
  if (!(error instanceof TlsError)) throw error
  const shown = `${error.stack} ${String(error.cause)} ${JSON.stringify(error)}`
  const lines = [pair.key, other.key, ...Object.values(encrypted)].flatMap((key) => key.split('\n'))
  for (const line of lines.filter((text) => /^[A-Za-z0-9+/=]{16,}$/.test(text))) expect(shown).not.toContain(line)
  expect(shown).not.toContain(passphrase)
  return error
}

const SOURCES = {
  settings: { name: 'the TLS settings', file: undefined },
  key: { name: 'the private key, block 1', file: undefined },
  cert: [{ name: 'the certificate, block 1', file: undefined }],
  ca: [],
}
const DEFAULTS = { sources: SOURCES, minVersion: 'TLSv1.2', requestCert: false, rejectUnauthorized: true }

/** The one entry, read. */
function read(options: TlsOptions): EngineTls {
  const [entry] = readTls([options])
  if (entry === undefined) throw new Error('an entry was lost')
  return entry
}

describe('material that fits is given block by block', () => {
  test('from PEM text', async () => {
    const tls = read(pair)
    expect(tls).toEqual({ key: Buffer.from(pair.key), cert: Buffer.from(pair.cert), ...DEFAULTS })
  })

  test('from PEM bytes, with settings', async () => {
    const settings = { ciphers: 'ECDHE-ECDSA-AES128-GCM-SHA256', minVersion: 'TLSv1.3' } as const
    const tls = read({ key: Buffer.from(pair.key), cert: new Uint8Array(Buffer.from(pair.cert)), ...settings })
    expect(tls).toEqual({ key: Buffer.from(pair.key), cert: Buffer.from(pair.cert), ...DEFAULTS, ...settings })
  })

  test('from files', async () => {
    const tls = read({ keyFile: file('key.pem'), certFile: file('cert.pem') })
    expect([tls.key, tls.cert].map(String)).toEqual([pair.key, pair.cert])
  })

  test('from one of each', async () => {
    const tls = read({ keyFile: file('key.pem'), cert: pair.cert })
    expect([tls.key, tls.cert].map(String)).toEqual([pair.key, pair.cert])
  })

  test('with the whole chain, and without the text around the blocks', async () => {
    const chain = `Our certificate\n${pair.cert}and its issuer\r\n${other.cert.replaceAll('\n', '\r\n')}`
    writeFileSync(file('chain.pem'), pair.key + chain)
    const tls = read({ key: pair.key, certFile: file('chain.pem') })
    expect(String(tls.cert)).toBe(pair.cert + other.cert)
    expect(tls.sources.cert).toEqual(
      [2, 3].map((n) => ({ name: `the certificate in ${file('chain.pem')}, block ${n}`, file: file('chain.pem') })),
    )
  })

  test.each(['pkcs8', 'traditional'] as const)('with an encrypted key (%s) and its passphrase', async (kind) => {
    const tls = read({ key: encrypted[kind], cert: pair.cert, passphrase })
    expect(tls).toMatchObject({ key: Buffer.from(encrypted[kind]), passphrase })
    expect(() => createSecureContext(tls)).not.toThrow()
  })

  test('with a passphrase that is not needed', async () => {
    expect(read({ ...pair, passphrase })).toMatchObject({ key: Buffer.from(pair.key) })
  })
})

describe('a file that cannot be read is named, with the reason', () => {
  test('missing', async () => {
    const missing = file('missing.pem')
    const error = refusal({ keyFile: missing, certFile: file('cert.pem') })
    expect(error).toMatchObject({ code: 'ERR_TLS_FILE', file: missing, cause: { code: 'ENOENT' } })
    expect(error.message).toContain(`cannot read the private key in ${missing}: ENOENT`)
    const second = refusal({ keyFile: file('key.pem'), certFile: missing })
    expect(second.message).toContain(`cannot read the certificate in ${missing}: ENOENT`)
  })

  test('a folder', async () => {
    const error = refusal({ keyFile: folder, certFile: file('cert.pem') })
    expect(error).toMatchObject({ code: 'ERR_TLS_FILE', file: folder, cause: { code: 'EISDIR' } })
  })

  test('without permission', async () => {
    chmodSync(folder, 0o755)
    writeFileSync(file('secret.pem'), pair.key)
    chmodSync(file('secret.pem'), 0)
    const error = await withoutPrivileges(async () => refusal({ keyFile: file('secret.pem'), certFile: file('cert.pem') }))
    expect(error).toMatchObject({ code: 'ERR_TLS_FILE', cause: { code: 'EACCES' } })
  })
})

describe('a private key', () => {
  test.each([
    ['', 'the private key is not a private key in PEM'],
    ['not a key', 'the private key is not a private key in PEM'],
    [
      '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n',
      'the private key, block 1: it is no private key that OpenSSL can read',
    ],
  ])('that is no PEM is refused: %j', async (key, message) => {
    expect(refusal({ key, cert: pair.cert })).toMatchObject({ code: 'ERR_TLS_KEY', file: undefined, message })
  })

  test('that is a certificate, a public key or DER is refused', async () => {
    const { publicKey } = generateKeyPairSync('ed25519')
    const der = Buffer.from(pair.key.replace(/-----.*-----|\s/g, ''), 'base64')
    for (const key of [pair.cert, publicKey.export({ type: 'spki', format: 'pem' }), der]) {
      expect(refusal({ key, cert: pair.cert }).code).toBe('ERR_TLS_KEY')
    }
  })

  test('in a file that is none is refused with its name', async () => {
    const error = refusal({ keyFile: file('cert.pem'), certFile: file('cert.pem') })
    expect(error).toMatchObject({ code: 'ERR_TLS_KEY', file: file('cert.pem') })
    expect(error.message).toContain(file('cert.pem'))
  })

  test.each(['pkcs8', 'traditional'] as const)('that is encrypted (%s) needs its passphrase, and the right one', async (kind) => {
    const material = { key: encrypted[kind], cert: pair.cert }
    const without = refusal(material)
    expect(without).toMatchObject({ code: 'ERR_TLS_PASSPHRASE', message: 'the private key is encrypted: a passphrase is needed' })
    for (const wrong of ['wrong', '']) {
      const error = refusal({ ...material, passphrase: wrong })
      expect(error).toMatchObject({
        code: 'ERR_TLS_PASSPHRASE',
        message: 'the private key cannot be opened with this passphrase',
      })
    }
  })

  test('of another certificate is a mismatch', async () => {
    const error = refusal({ key: other.key, cert: pair.cert })
    expect(error).toMatchObject({ code: 'ERR_TLS_MISMATCH', message: 'the private key does not belong to the certificate' })
    const files = refusal({ key: other.key, certFile: file('cert.pem') })
    expect(files).toMatchObject({ code: 'ERR_TLS_MISMATCH', file: file('cert.pem') })
  })

  test('belongs to the first certificate of the chain', async () => {
    const error = refusal({ key: pair.key, cert: other.cert + pair.cert })
    expect(error.code).toBe('ERR_TLS_MISMATCH')
    expect(error.message).toContain("it belongs to block 2, and the server's own certificate comes first")
  })
})

describe('a certificate', () => {
  test('that is no PEM is refused', async () => {
    const der = Buffer.from(pair.cert.replace(/-----.*-----|\s/g, ''), 'base64')
    for (const cert of ['', 'not a certificate', pair.key, der]) {
      const error = refusal({ key: pair.key, cert })
      expect(error).toMatchObject({ code: 'ERR_TLS_CERTIFICATE', message: 'the certificate is not a certificate in PEM' })
    }
  })

  test('with a damaged chain is refused', async () => {
    const damaged = other.cert.replace(/M.*\n/, 'AAAA\n')
    const error = refusal({ key: pair.key, cert: pair.cert + damaged })
    expect(error.code).toBe('ERR_TLS_CERTIFICATE')
    expect(error.message).toBe('the certificate, block 2: it is no certificate that OpenSSL can read')
  })
})

describe('certificates of authorities', () => {
  test('come from text or a file, and may be several', () => {
    const ca = pair.cert + other.cert
    writeFileSync(file('ca.pem'), ca)
    expect(String(read({ ...pair, ca, requestCert: true }).ca)).toBe(ca)
    expect(String(read({ ...pair, caFile: file('ca.pem'), requestCert: true }).ca)).toBe(ca)
  })

  test('that are no PEM, or cannot be read, are refused', () => {
    expect(refusal({ ...pair, ca: 'nonsense' })).toMatchObject({
      code: 'ERR_TLS_CERTIFICATE',
      message: 'the CA certificate is not a certificate in PEM',
    })
    expect(refusal({ ...pair, ca: pair.cert + other.cert.replace(/M.*\n/, 'AAAA\n') }).message).toContain('block 2')
    expect(refusal({ ...pair, caFile: file('missing.pem') })).toMatchObject({ code: 'ERR_TLS_FILE', file: file('missing.pem') })
  })
})

describe('each block of a file is looked at', () => {
  const joined = (first: string, second: string) => first.trimEnd() + second
  const cut = (pem: string) => pem.slice(0, -40)
  const damaged = (pem: string) => pem.replace(/\nM.{20}/, '\nAAAA')
  const cases: [what: string, pem: (first: string, second: string) => string, problem: RegExp][] = [
    ['joined to the one before', joined, /block 2: a line feed is missing/],
    ['cut off at the end of the file', (first, second) => first + cut(second), /block 2: it is cut off/],
    ['of which five dashes are left', (first) => `${first}-----`, /block 2: it is cut off in its BEGIN line/],
    ['cut off before its kind', (first) => `${first}-----BEGIN`, /block 2: its BEGIN line is damaged/],
    ['cut off there before a line feed', (first) => `${first}-----BEG\r\n`, /block 2: its BEGIN line is damaged/],
    ['cut off in its BEGIN line', (first) => `${first}-----BEGIN CERT`, /block 2: its BEGIN line is damaged/],
    [
      'with the dashes of a word processor',
      (first, second) => first + second.replaceAll('-----', '\u2013\u2013\u2014'),
      /block 2: its BEGIN line is damaged/,
    ],
    ['with four dashes at both of its ends', (first, second) => first + second.replaceAll('-----', '----'), /block 2: its BEGIN/],
    ['cut off before the next', (first, second) => `${cut(first).trimEnd()}\n${second}`, /block 1: it is cut off/],
    ['that cannot be read', (first, second) => first + damaged(second), /block 2: it is no (certificate|private key)/],
    ['that is empty', (first) => `${first}-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n`, /block 2: it is no/],
    [
      'whose BEGIN line is lost',
      (first, second) => first + second.slice(second.indexOf('\n') + 1),
      /block 2: its END line has no/,
    ],
    ['whose BEGIN line is damaged', (first, second) => first + second.replace('-----\n', '----\n'), /block 2: its BEGIN line/],
    [
      'whose END line has no line feed before it',
      (first, second) => first + second.replace('\n-----E', '-----E'),
      /block 2: its END/,
    ],
    ['whose END line is of another', (first, second) => first + second.replace('END ', 'END X'), /block 2: its END line/],
    ['that is indented', (first, second) => first + second.replace(/^/gm, '  '), /block 2: its BEGIN line/],
    ['behind text on its line', (first, second) => `${first}the next: ${second}`, /block 2: its BEGIN line/],
    ['with backslashes for line feeds', (first, second) => first + second.replaceAll('\n', '\\n'), /block 2: its BEGIN line/],
    [
      'of a kind that would be passed over',
      (first, second) => first + second.replaceAll(/(BEGIN|END) .*?-/g, '$1 PKCS7-'),
      /block 2: it is of a kind/,
    ],
  ]
  for (const [what, pem, problem] of cases) {
    for (const material of ['key', 'cert', 'ca'] as const) {
      // Keys of which the second is no certificate: only their frames are alike.
      if (material === 'key' && what === 'that is empty') continue
      test(`${material}: one ${what}`, () => {
        const name = file(`${material}-blocks.pem`)
        writeFileSync(name, material === 'key' ? pem(pair.key, other.key) : pem(pair.cert, other.cert))
        const { [material]: _, ...rest } = { ...pair, ca: pair.cert }
        const error = refusal({ ...rest, [`${material}File`]: name })
        expect(error).toMatchObject({ code: material === 'key' ? 'ERR_TLS_KEY' : 'ERR_TLS_CERTIFICATE', file: name })
        expect(error.message).toContain(`${name}, block `)
        expect(error.message).toMatch(problem)
      })
    }
  }

  test('a list of revoked certificates is not passed over', () => {
    const index = file('crl-index')
    writeFileSync(index, '')
    const config = `[ca]\ndefault_ca=a\n[a]\ndatabase=${index}\ndefault_md=sha256\ndefault_crl_days=1\n`
    writeFileSync(file('crl.cnf'), config)
    const command = `ca -gencrl -config ${file('crl.cnf')} -cert ${file('cert.pem')} -keyfile ${file('key.pem')}`
    const list = execFileSync('openssl', command.split(' '), { stdio: 'pipe' }).toString()
    for (const material of ['ca', 'cert'] as const) {
      writeFileSync(file('revoked.pem'), pair.cert + list)
      const { [material]: _, ...rest } = { ...pair, ca: pair.cert }
      const error = refusal({ ...rest, [`${material}File`]: file('revoked.pem') })
      expect(error).toMatchObject({ code: 'ERR_TLS_CERTIFICATE', file: file('revoked.pem') })
      expect(error.message).toContain('revoked.pem, block 2: it is a list of revoked certificates (X509 CRL)')
    }
  })

  test('of several private keys none is chosen', () => {
    for (const second of [other.key, pair.key]) {
      writeFileSync(file('keys.pem'), pair.key + pair.cert + second)
      const error = refusal({ keyFile: file('keys.pem'), certFile: file('cert.pem') })
      expect(error).toMatchObject({ code: 'ERR_TLS_KEY', file: file('keys.pem') })
      expect(error.message).toContain('keys.pem, block 3: it is another private key besides that of block 1')
    }
  })

  test('lines of dashes, and words that blocks are made of, are text', () => {
    const text = '-----\n----- our authority -----\n- END USER: none\nBEGIN CERTIFICATE, it says\nthe end -'
    expect(() => read({ ...pair, cert: `${text}\n${pair.cert}${text}\n` })).not.toThrow()
  })

  test('text, comments, blanks at line ends, CRLF and byte order marks are no faults', () => {
    const commented = `Bag Attributes\n# -----BEGIN CERTIFICATE-----\n# no more\n\ufeff${pair.cert.replaceAll('\n', ' \r\n')}`
    const between = `between -----BEGIN CERTIFICATE----- and its end\n\ufeff${other.cert}`
    const tls = read({
      key: `\ufeff${pair.key}`,
      cert: commented + between.trimEnd(),
      ca: `\ufeff${other.cert}\ufeff${pair.cert}`,
    })
    for (const bytes of [tls.key, tls.cert, tls.ca]) expect(String(bytes)).not.toContain('\ufeff')
    expect(() => createSecureContext(tls)).not.toThrow()
  })

  test('one file may hold the key, its parameters and the chain', () => {
    const parameters = execFileSync('openssl', ['ecparam', '-name', 'prime256v1'], { stdio: 'pipe' }).toString()
    writeFileSync(file('all.pem'), parameters + pair.cert + pair.key + other.cert)
    expect(() => read({ keyFile: file('all.pem'), certFile: file('all.pem') })).not.toThrow()
  })

  test('a certificate for lists of authorities is not passed over in a chain', () => {
    const trusted = other.cert.replaceAll('CERTIFICATE', 'TRUSTED CERTIFICATE')
    expect(refusal({ ...pair, cert: pair.cert + trusted }).message).toMatch(/block 2: a TRUSTED CERTIFICATE/)
    expect(() => read({ ...pair, ca: trusted })).not.toThrow()
  })
})

describe('several entries', () => {
  test('are read in their order, names in lower case', () => {
    const entries = readTls([pair, { ...other, serverName: '*.Example.COM' }])
    expect(entries.map(({ serverName }) => serverName)).toEqual([undefined, '*.example.com'])
    expect(entries.map(({ cert }) => String(cert))).toEqual([pair.cert, other.cert])
  })

  test('the one at fault is named', () => {
    expect(refusal(pair, { key: pair.key, cert: other.cert, serverName: 'a.example' }).message).toBe(
      'the private key of tls[1] does not belong to the certificate of tls[1]',
    )
    const missing = refusal(pair, { keyFile: file('missing.pem'), cert: other.cert, serverName: 'a.example' })
    expect(missing.message).toContain(`cannot read the private key of tls[1] in ${file('missing.pem')}`)
  })
})

describe('settings that OpenSSL refuses', () => {
  test('a cipher list without a cipher', async () => {
    const error = refusal({ ...pair, ciphers: 'NO-SUCH-CIPHER' })
    expect(error.code).toBe('ERR_TLS_CONTEXT')
    expect(error.message).toMatch(/^OpenSSL refused the TLS settings: .*cipher/i)
  })

  test('a cipher list without a name, or with a suite that TLS 1.3 does not have', () => {
    for (const ciphers of [':', 'TLS_NO_SUCH_SUITE', 'TLS_AES_128_GCM_SHA256:TLS_RSA_WITH_AES_128_GCM_SHA256']) {
      const error = refusal({ ...pair, ciphers })
      expect(error.code).toBe('ERR_TLS_CONTEXT')
      expect(error.message).toContain('the cipher list names ')
    }
  })

  test('a key that is too small', async () => {
    for (const bits of [512, 1024]) {
      const { privateKey } = generateKeyPairSync('rsa', { modulusLength: bits })
      const key = String(privateKey.export({ type: 'pkcs8', format: 'pem' }))
      writeFileSync(file('small.pem'), key)
      const command = `req -x509 -key ${file('small.pem')} -sha256 -days 2 -subj /CN=localhost -out ${file('small-cert.pem')}`
      execFileSync('openssl', command.split(' '), { stdio: 'pipe' })
      const error = refusal({ key, certFile: file('small-cert.pem') })
      expect(error).toMatchObject({ code: 'ERR_TLS_CONTEXT', file: file('small-cert.pem') })
      expect(error.message).toMatch(/^OpenSSL refused the certificate in .*small-cert\.pem, block 1: .*key too small/)
      // As a link of a chain it is too small as well.
      const chain = refusal({ key: pair.key, cert: pair.cert + readFileSync(file('small-cert.pem'), 'utf8') })
      expect(chain.message).toMatch(/^OpenSSL refused the certificate, block 2: .*key too small/)
    }
  })

  test('a key of a kind that TLS servers have no use for', () => {
    const { privateKey } = generateKeyPairSync('x25519')
    const error = refusal({ key: privateKey.export({ type: 'pkcs8', format: 'pem' }), cert: pair.cert })
    expect(error).toMatchObject({ code: 'ERR_TLS_KEY', message: expect.stringContaining('block 1: it is a key for x25519') })
    const dsa = generateKeyPairSync('dsa', { modulusLength: 2048, divisorLength: 256 }).privateKey
    const other = refusal({ key: dsa.export({ type: 'pkcs8', format: 'pem' }), cert: pair.cert })
    expect(other).toMatchObject({ code: 'ERR_TLS_KEY', message: expect.stringContaining('block 1: it is a key for dsa') })
  })

  test.each(['secp224r1', 'secp256k1', 'brainpoolP256r1', 'sect283k1'])(
    'a key on %s, which clients do not take',
    (namedCurve) => {
      const { privateKey } = generateKeyPairSync('ec', { namedCurve })
      writeFileSync(file('curve.pem'), privateKey.export({ type: 'sec1', format: 'pem' }))
      const error = refusal({ keyFile: file('curve.pem'), cert: pair.cert })
      expect(error).toMatchObject({ code: 'ERR_TLS_KEY', file: file('curve.pem') })
      expect(error.message).toContain(`curve.pem, block 1: it is a key on the curve ${namedCurve}`)
    },
  )

  test.each([
    ['sha1', 20],
    ['sha256', 64],
  ])('a key for RSA-PSS with %s and a salt of %i bytes', (hash, salt) => {
    const settings = [`rsa_pss_keygen_md:${hash}`, `rsa_pss_keygen_mgf1_md:${hash}`, `rsa_pss_keygen_saltlen:${salt}`]
    const args = ['genpkey', '-algorithm', 'RSA-PSS', ...settings.flatMap((setting) => ['-pkeyopt', setting])]
    const error = refusal({ key: execFileSync('openssl', args, { stdio: 'pipe' }), cert: pair.cert })
    expect(error).toMatchObject({ code: 'ERR_TLS_KEY', message: expect.stringContaining(`for RSA-PSS with ${hash}`) })
  })
})

describe('cipher lists', () => {
  test('those of TLS 1.2 and the suites of TLS 1.3 are told apart, whatever separates them', () => {
    const [suite, cipher] = ['TLS_AES_256_GCM_SHA384', 'ECDHE-ECDSA-AES128-GCM-SHA256']
    expect(read({ ...pair, ciphers: cipher })).toMatchObject({ ciphers: cipher, minVersion: 'TLSv1.2' })
    for (const separator of [':', ',', ' ', ', ', ';']) {
      expect(read({ ...pair, ciphers: `${suite}${separator}${cipher}` })).toMatchObject({
        ciphers: cipher,
        cipherSuites: suite,
        minVersion: 'TLSv1.2',
      })
    }
  })

  test('with suites of TLS 1.3 alone, nothing older is spoken', () => {
    const tls = read({ ...pair, ciphers: 'TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256' })
    expect(tls).toMatchObject({ cipherSuites: 'TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256', minVersion: 'TLSv1.3' })
    expect(tls).not.toHaveProperty('ciphers')
  })

  test('what is said besides the suites of TLS 1.3 counts, and names no cipher', () => {
    expect(read({ ...pair, ciphers: 'TLS_AES_128_GCM_SHA256:@SECLEVEL=1:!aNULL' })).toMatchObject({
      cipherSuites: 'TLS_AES_128_GCM_SHA256',
      ciphers: 'DEFAULT:@SECLEVEL=1:!aNULL',
      minVersion: 'TLSv1.3',
    })
  })
})
