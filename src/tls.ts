/**
 * Reads TLS keys and certificates and checks them with Node's own OpenSSL, so that an engine is given only
 * what works and the user is told exactly what does not. No message contains key material.
 */
import { Buffer } from 'node:buffer'
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createSecureContext, getCiphers } from 'node:tls'
import type { EngineTls } from './engine/contract.js'
import { nodeTlsSettings } from './engine/index.js'
import { type ErrorCode, TlsError } from './errors.js'
import { tlsEntryName } from './options/tls.js'
import { type PemBlock, PemError, pemBlocks, withoutByteOrderMarks } from './pem.js'
import type { TlsOptions } from './types.js'

/** Bytes of PEM, and where they came from. */
interface Material {
  readonly bytes: Buffer
  readonly file: string | undefined
  /** For messages: `the private key in certs/key.pem`. */
  readonly name: string
}

/**
 * Reads all entries. `entries` has passed `src/options/tls.ts`. Reading is synchronous, as `reloadTls`
 * answers at once: these are small files, read once. Throws TlsError.
 */
export function readTls(entries: readonly TlsOptions[]): readonly EngineTls[] {
  return entries.map((entry, index) => readEntry(entry, entries.length === 1 ? '' : ` of ${tlsEntryName(index, entries.length)}`))
}

/** `owner` completes the names of the material in messages. */
function readEntry(options: TlsOptions, owner: string): EngineTls {
  const key = read(`the private key${owner}`, options.key, options.keyFile)
  const cert = read(`the certificate${owner}`, options.cert, options.certFile)
  const privateKey = parseKey(key, options.passphrase)
  const chain = parseCertificates(cert)
  checkChain(cert, chain)
  checkBelongs(key, privateKey, cert, chain)
  const hasCa = options.ca !== undefined || options.caFile !== undefined
  const ca = hasCa ? read(`the CA certificate${owner}`, options.ca, options.caFile) : undefined
  const authorities = ca === undefined ? [] : parseCertificates(ca)
  const ciphers = readCiphers(options.ciphers, owner)
  const tls: EngineTls = {
    key: key.bytes,
    cert: cert.bytes,
    ...(ca !== undefined && { ca: ca.bytes }),
    ...(options.passphrase !== undefined && { passphrase: options.passphrase }),
    ...ciphers,
    // Who names suites of TLS 1.3 alone has left no cipher for TLS 1.2.
    minVersion:
      ciphers.cipherSuites !== undefined && ciphers.ciphers === undefined ? 'TLSv1.3' : (options.minVersion ?? 'TLSv1.2'),
    requestCert: options.requestCert ?? false,
    rejectUnauthorized: options.rejectUnauthorized ?? true,
    ...(options.serverName !== undefined && { serverName: options.serverName.toLowerCase() }),
  }
  checkAccepted(tls, owner, { key, cert, chain, ca, authorities })
  return tls
}

/** One of the blocks of a material, read. */
interface Parsed<T> {
  readonly block: PemBlock
  readonly value: T
}
type ParsedCertificate = Parsed<X509Certificate>

/** The names of all suites of TLS 1.3 begin so, and no name that OpenSSL has for a cipher of TLS 1.2. */
const CIPHER_SUITE_PREFIX = 'TLS_'

/**
 * Tells apart what OpenSSL keeps apart. Of TLS 1.2 it passes over the names that it does not know while one
 * remains, so that a list may be longer than an installation's; the suites of TLS 1.3 are few and fixed (RFC
 * 8446, appendix B.4), and one that is none of them would leave a server that listens and serves nobody.
 */
function readCiphers(list: string | undefined, owner: string): Pick<EngineTls, 'ciphers' | 'cipherSuites'> {
  if (list === undefined) return {}
  const names = list.split(/[:;, ]/).filter((name) => name !== '') // the separators of SSL_CTX_set_cipher_list(3)
  if (names.length === 0) throw new TlsError('ERR_TLS_CONTEXT', `the cipher list${owner} names no cipher`)
  const suites = names.filter((name) => name.startsWith(CIPHER_SUITE_PREFIX))
  const known = getCiphers()
  const unknown = suites.find((name) => !known.includes(name.toLowerCase()))
  if (unknown !== undefined) {
    const message = `the cipher list${owner} names ${unknown}, which is no cipher suite of TLS 1.3 that OpenSSL has`
    throw new TlsError('ERR_TLS_CONTEXT', message)
  }
  const ciphers = names.filter((name) => !name.startsWith(CIPHER_SUITE_PREFIX))
  return {
    ...(ciphers.length > 0 && { ciphers: ciphers.join(':') }),
    ...(suites.length > 0 && { cipherSuites: suites.join(':') }),
  }
}

/** OpenSSL reads no such block behind the first certificate, and says nothing of it. */
function checkChain({ name, file }: Material, chain: readonly ParsedCertificate[]): void {
  for (const { block } of chain.slice(1)) {
    if (block.label !== 'TRUSTED CERTIFICATE') continue
    const message = `${name}, block ${block.number}: a TRUSTED CERTIFICATE is for lists of authorities, not for a chain`
    throw new TlsError('ERR_TLS_CERTIFICATE', message, file)
  }
}

function checkBelongs(key: Material, privateKey: KeyObject, cert: Material, chain: readonly ParsedCertificate[]): void {
  const owner = chain.find(({ value }) => value.checkPrivateKey(privateKey))
  if (owner !== undefined && owner === chain[0]) return
  const hint =
    owner === undefined ? '' : `: it belongs to block ${owner.block.number}, and the server's own certificate comes first`
  throw new TlsError('ERR_TLS_MISMATCH', `${key.name} does not belong to ${cert.name}${hint}`, cert.file)
}

/** What an entry was made of. */
interface Parts {
  readonly key: Material
  readonly cert: Material
  readonly chain: readonly ParsedCertificate[]
  readonly ca: Material | undefined
  readonly authorities: readonly ParsedCertificate[]
}

/**
 * OpenSSL does not say which of the things that it was given it refuses: it is given them one by one then.
 */
function checkAccepted(tls: EngineTls, owner: string, { key, cert, chain, ca, authorities }: Parts): void {
  const { key: keyBytes, cert: _cert, ca: _ca, passphrase, ...settings } = tls
  const attempt = (material: Partial<EngineTls>): unknown => {
    try {
      // The cast is for the material that an attempt leaves out, which Node lets it.
      createSecureContext(nodeTlsSettings({ ...settings, ...material } as EngineTls))
      return undefined
    } catch (error) {
      return error
    }
  }
  const error = attempt(tls)
  if (error === undefined) return
  const refused = (what: string, cause: unknown, file?: string) =>
    new TlsError('ERR_TLS_CONTEXT', `${what}: ${reasonOf(cause)}`, file, { cause })
  const whole = `OpenSSL refused the TLS settings${owner}`
  const settingsError = attempt({})
  if (settingsError !== undefined) throw refused(whole, settingsError)
  const own = chain[0]?.block.text ?? ''
  for (const [index, { block }] of chain.entries()) {
    const cause = attempt({ cert: Buffer.from(index === 0 ? own : own + block.text) })
    if (cause !== undefined) throw refused(`${cert.name}, block ${block.number}: OpenSSL refused it`, cause, cert.file)
  }
  for (const { block } of authorities) {
    const cause = attempt({ ca: Buffer.from(block.text) })
    if (cause !== undefined) throw refused(`${ca?.name}, block ${block.number}: OpenSSL refused it`, cause, ca?.file)
  }
  const keyError = attempt({ key: keyBytes, cert: Buffer.from(own), ...(passphrase !== undefined && { passphrase }) })
  if (keyError !== undefined) throw refused(`OpenSSL refused ${key.name}`, keyError, key.file)
  throw refused(whole, error)
}

function read(what: string, given: string | Uint8Array | undefined, file: string | undefined): Material {
  if (file === undefined) return { bytes: withoutByteOrderMarks(Buffer.from(given ?? '')), file: undefined, name: what }
  const name = `${what} in ${file}`
  try {
    return { bytes: withoutByteOrderMarks(readFileSync(file)), file, name }
  } catch (error) {
    throw new TlsError('ERR_TLS_FILE', `cannot read ${name}: ${reasonOf(error)}`, file, { cause: error })
  }
}

/** Of several keys the first is used, as OpenSSL does. */
function parseKey(material: Material, passphrase: string | undefined): KeyObject {
  const [first] = parseBlocks(material, 'ERR_TLS_KEY', 'is not a private key in PEM', /(^| )PRIVATE KEY$/, (block) =>
    parseKeyBlock(material, block, passphrase),
  )
  return first.value
}

/** Those that both engines, and clients, have signatures for (RFC 8446, section 4.2.3). */
const KEY_TYPES: readonly (string | undefined)[] = ['rsa', 'rsa-pss', 'ec', 'ed25519', 'ed448']

function parseKeyBlock({ file, name }: Material, { number, label, text }: PemBlock, passphrase: string | undefined): KeyObject {
  // The two ways in which PEM says it: PKCS #8 (RFC 7468, section 11) and the older header (RFC 1421, section 4.6.1.1).
  const isEncrypted = label === 'ENCRYPTED PRIVATE KEY' || /^Proc-Type: 4,ENCRYPTED/m.test(text)
  if (isEncrypted && passphrase === undefined) {
    throw new TlsError('ERR_TLS_PASSPHRASE', `${name} is encrypted: a passphrase is needed`, file)
  }
  let key: KeyObject
  try {
    key = createPrivateKey({ key: text, format: 'pem', ...(passphrase !== undefined && { passphrase }) })
  } catch (error) {
    if (!isEncrypted) throw new PemError(number, 'it is no private key that OpenSSL can read', { cause: error })
    throw new TlsError('ERR_TLS_PASSPHRASE', `${name} cannot be opened with this passphrase`, file, { cause: error })
  }
  if (KEY_TYPES.includes(key.asymmetricKeyType)) return key
  throw new PemError(number, `it is a key for ${key.asymmetricKeyType}, which TLS servers have no use for`)
}

/** All certificates, of a chain or of several authorities; in a chain the first is the server's own. */
function parseCertificates(material: Material): AtLeastOne<ParsedCertificate> {
  const labels = /^(TRUSTED |X509 )?CERTIFICATE$/
  return parseBlocks(material, 'ERR_TLS_CERTIFICATE', 'is not a certificate in PEM', labels, ({ number, text }) => {
    try {
      return new X509Certificate(text)
    } catch (error) {
      throw new PemError(number, 'it is no certificate that OpenSSL can read', { cause: error })
    }
  })
}

type AtLeastOne<T> = readonly [T, ...T[]]

/**
 * What else may stand in the files of keys and certificates. Certificates in another wrapping (`PKCS7`) are
 * no part of it: OpenSSL would not see them.
 */
const OTHER_LABELS = /(^| )(CERTIFICATE|PRIVATE KEY|PUBLIC KEY|PARAMETERS|CRL|CERTIFICATE REQUEST)$/

/**
 * Looks at all blocks, and reads those whose label is asked for, of which there must be one: `missing`
 * completes the sentence otherwise.
 */
function parseBlocks<T>(
  { bytes, file, name }: Material,
  code: ErrorCode,
  missing: string,
  labels: RegExp,
  parse: (block: PemBlock) => T,
): AtLeastOne<Parsed<T>> {
  try {
    const parsed: Parsed<T>[] = []
    for (const block of pemBlocks(bytes)) {
      const { label, number } = block
      if (labels.test(label)) parsed.push({ block, value: parse(block) })
      else if (!OTHER_LABELS.test(label)) throw new PemError(number, `it is of a kind that is not read here (${label})`)
    }
    const [first, ...more] = parsed
    if (first !== undefined) return [first, ...more]
  } catch (error) {
    if (!(error instanceof PemError)) throw error
    throw new TlsError(code, `${name}, ${error.message}`, file, { cause: error.cause ?? error })
  }
  throw new TlsError(code, `${name} ${missing}`, file)
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
