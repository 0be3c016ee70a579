/**
 * Reads TLS keys and certificates and checks them with Node's own OpenSSL, so that an engine gets only
 * material that works, and an error names exactly the material that does not. No message contains key
 * material.
 */
import { Buffer } from 'node:buffer'
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createSecureContext, getCiphers } from 'node:tls'
import type { EngineTls, TlsSource } from '../engine/contract.js'
import { nodeTlsSettings } from '../engine/select.js'
import { type ErrorCode, TlsError } from '../errors.js'
import { tlsEntryName } from '../options/tls.js'
import type { TlsOptions } from '../types/index.js'
import { type PemBlock, PemError, pemBlocks } from './pem.js'

/** Bytes of PEM, and where they came from: `the private key in certs/key.pem`. */
interface Material extends TlsSource {
  readonly bytes: Buffer
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
  checkChain(chain)
  checkBelongs(key, privateKey.value, cert, chain)
  const hasCa = options.ca !== undefined || options.caFile !== undefined
  const ca = hasCa ? parseCertificates(read(`the CA certificate${owner}`, options.ca, options.caFile)) : []
  const tls: EngineTls = {
    key: bytesOf([privateKey]),
    cert: bytesOf(chain),
    ...(hasCa && { ca: bytesOf(ca) }),
    sources: {
      settings: { name: `the TLS settings${owner}`, file: undefined },
      key: privateKey.source,
      cert: chain.map(({ source }) => source),
      ca: ca.map(({ source }) => source),
    },
    ...(options.passphrase !== undefined && { passphrase: options.passphrase }),
    minVersion: options.minVersion ?? 'TLSv1.2',
    ...readCiphers(options.ciphers, owner),
    requestCert: options.requestCert ?? false,
    rejectUnauthorized: options.rejectUnauthorized ?? true,
    ...(options.serverName !== undefined && { serverName: options.serverName.toLowerCase() }),
  }
  checkAccepted(tls, chain, ca)
  return tls
}

/** One of the blocks of a material, read. */
interface Parsed<T> {
  readonly block: PemBlock
  readonly source: TlsSource
  readonly value: T
}
type ParsedCertificate = Parsed<X509Certificate>

/**
 * An engine gets the blocks that were checked, rather than a file that another OpenSSL might read in another
 * way.
 */
function bytesOf(parsed: readonly Parsed<unknown>[]): Buffer {
  return Buffer.from(parsed.map(({ block }) => block.text).join(''), 'latin1')
}

/** The names of all suites of TLS 1.3 begin so, and no name that OpenSSL has for a cipher of TLS 1.2. */
const CIPHER_SUITE_PREFIX = 'TLS_'

/** What an entry of a cipher list that names no cipher to add begins with (openssl-ciphers(1)). */
const OPERATORS: readonly (string | undefined)[] = ['@', '!', '-', '+']

/**
 * Tells apart what OpenSSL keeps apart. Of TLS 1.2, OpenSSL passes over unknown names while one known name
 * remains, so that a list may name ciphers that an installation does not have. The suites of TLS 1.3 are few
 * and fixed (RFC 8446, appendix B.4), and with an unknown suite the server would listen and serve no client.
 */
function readCiphers(
  list: string | undefined,
  owner: string,
): Partial<Pick<EngineTls, 'ciphers' | 'cipherSuites' | 'minVersion'>> {
  if (list === undefined) return {}
  // The separators of SSL_CTX_set_cipher_list(3).
  const names = list.split(/[:;, ]/).filter((name) => name !== '')
  if (names.length === 0) throw new TlsError('ERR_TLS_CONTEXT', `the cipher list${owner} names no cipher`)
  const suites = names.filter((name) => name.startsWith(CIPHER_SUITE_PREFIX))
  const known = getCiphers()
  const unknown = suites.find((name) => !known.includes(name.toLowerCase()))
  if (unknown !== undefined) {
    const message = `the cipher list${owner} names ${unknown}, which is no cipher suite of TLS 1.3 that OpenSSL has`
    throw new TlsError('ERR_TLS_CONTEXT', message)
  }
  const others = names.filter((name) => !name.startsWith(CIPHER_SUITE_PREFIX))
  if (suites.length === 0) return { ciphers: others.join(':') }
  const cipherSuites = suites.join(':')
  if (others.some((name) => !OPERATORS.includes(name[0]))) return { ciphers: others.join(':'), cipherSuites }
  // A list without a cipher of TLS 1.2 turns TLS 1.2 off. Its other entries (`@SECLEVEL=1`) count, and are
  // valid only behind a cipher, for which 'DEFAULT' stands.
  const ciphers = others.length === 0 ? {} : { ciphers: ['DEFAULT', ...others].join(':') }
  return { ...ciphers, cipherSuites, minVersion: 'TLSv1.3' }
}

/** Behind the first certificate OpenSSL skips a `TRUSTED CERTIFICATE` block in silence. */
function checkChain(chain: readonly ParsedCertificate[]): void {
  for (const { block, source } of chain.slice(1)) {
    if (block.label !== 'TRUSTED CERTIFICATE') continue
    const message = `${source.name}: a TRUSTED CERTIFICATE is for lists of authorities, not for a chain`
    throw new TlsError('ERR_TLS_CERTIFICATE', message, source.file)
  }
}

function checkBelongs(key: Material, privateKey: KeyObject, cert: Material, chain: readonly ParsedCertificate[]): void {
  const owner = chain.find(({ value }) => value.checkPrivateKey(privateKey))
  if (owner !== undefined && owner === chain[0]) return
  const hint =
    owner === undefined ? '' : `: it belongs to block ${owner.block.number}, and the server's own certificate comes first`
  throw new TlsError('ERR_TLS_MISMATCH', `${key.name} does not belong to ${cert.name}${hint}`, cert.file)
}

/**
 * OpenSSL does not say which key or certificate it refuses: after a refusal, OpenSSL gets them one by one.
 */
function checkAccepted(tls: EngineTls, chain: readonly ParsedCertificate[], ca: readonly ParsedCertificate[]): void {
  const { key, cert: _cert, ca: _ca, passphrase, ...settings } = tls
  const attempt = (material: Partial<EngineTls>): unknown => {
    try {
      // The cast is for the material that an attempt leaves out; Node allows that.
      createSecureContext(nodeTlsSettings({ ...settings, ...material } as EngineTls))
      return undefined
    } catch (error) {
      return error
    }
  }
  const error = attempt(tls)
  if (error === undefined) return
  const refused = ({ name, file }: TlsSource, cause: unknown) =>
    new TlsError('ERR_TLS_CONTEXT', `OpenSSL refused ${name}: ${reasonOf(cause)}`, file, { cause })
  const settingsError = attempt({})
  if (settingsError !== undefined) throw refused(tls.sources.settings, settingsError)
  for (const [index, certificate] of chain.entries()) {
    const cause = attempt({ cert: bytesOf(index === 0 ? [certificate] : [...chain.slice(0, 1), certificate]) })
    if (cause !== undefined) throw refused(certificate.source, cause)
  }
  for (const authority of ca) {
    const cause = attempt({ ca: bytesOf([authority]) })
    if (cause !== undefined) throw refused(authority.source, cause)
  }
  const keyError = attempt({ key, cert: bytesOf(chain.slice(0, 1)), ...(passphrase !== undefined && { passphrase }) })
  throw keyError === undefined ? refused(tls.sources.settings, error) : refused(tls.sources.key, keyError)
}

function read(what: string, given: string | Uint8Array | undefined, file: string | undefined): Material {
  if (file === undefined) return { bytes: Buffer.from(given ?? ''), file: undefined, name: what }
  const name = `${what} in ${file}`
  try {
    return { bytes: readFileSync(file), file, name }
  } catch (error) {
    throw new TlsError('ERR_TLS_FILE', `cannot read ${name}: ${reasonOf(error)}`, file, { cause: error })
  }
}

/** A file with several keys is refused: OpenSSL would silently take the first. */
function parseKey(material: Material, passphrase: string | undefined): Parsed<KeyObject> {
  const keys = parseBlocks(material, 'ERR_TLS_KEY', 'is not a private key in PEM', /(^| )PRIVATE KEY$/, (block) =>
    parseKeyBlock(material, block, passphrase),
  )
  const [key, second] = keys
  if (second === undefined) return key
  const message = `${second.source.name}: it is another private key besides that of block ${key.block.number}`
  throw new TlsError('ERR_TLS_KEY', message, material.file)
}

/** The key types that both engines, and clients, have signatures for (RFC 8446, section 4.2.3). */
const KEY_TYPES: readonly (string | undefined)[] = ['rsa', 'rsa-pss', 'ec', 'ed25519', 'ed448']

/**
 * The curves among them: P-256, P-384 and P-521. With TLS 1.2 others are possible where a client offers them
 * (RFC 8422, section 5.1.1), which browsers, Node.js and curl do not.
 */
const CURVES: readonly (string | undefined)[] = ['prime256v1', 'secp384r1', 'secp521r1']

/** The hashes of rsa_pss_pss_* in the same section, and their bytes, which are those of the salt as well. */
const PSS_HASHES: Readonly<Record<string, number>> = { sha256: 32, sha384: 48, sha512: 64 }

/** Why no client could verify this key's signatures: completes "it is a key ". Undefined when they can. */
function uselessness({ asymmetricKeyType: type, asymmetricKeyDetails: details = {} }: KeyObject): string | undefined {
  if (!KEY_TYPES.includes(type)) return `for ${type ?? 'an algorithm'}, which TLS servers have no use for`
  if (type === 'ec' && !CURVES.includes(details.namedCurve)) {
    const curve = details.namedCurve ?? 'of its own parameters'
    return `on the curve ${curve}, which clients do not take from TLS servers: P-256, P-384 and P-521 are for that`
  }
  const { hashAlgorithm: hash, saltLength = 0 } = details
  // A key without a hash can be used with every hash.
  if (type !== 'rsa-pss' || hash === undefined || saltLength <= (PSS_HASHES[hash] ?? -1)) return undefined
  return `for RSA-PSS with ${hash} and a salt of ${saltLength} bytes or more, which no signature in TLS has`
}

function parseKeyBlock({ file, name }: Material, { number, label, text }: PemBlock, passphrase: string | undefined): KeyObject {
  // The two ways in which PEM marks an encrypted key: PKCS #8 (RFC 7468, section 11) and the older header
  // (RFC 1421, section 4.6.1.1).
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
  const problem = uselessness(key)
  if (problem !== undefined) throw new PemError(number, `it is a key ${problem}`)
  return key
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
const OTHER_LABELS = /(^| )(CERTIFICATE|PRIVATE KEY|PUBLIC KEY|PARAMETERS|CERTIFICATE REQUEST)$/

/** Why a block of this kind is refused. */
function refusalOf(label: string): string {
  if (label !== 'X509 CRL') return `it is of a kind that is not read here (${label})`
  return 'it is a list of revoked certificates (X509 CRL), which is not read here: they would still count'
}

/**
 * Looks at all blocks, and reads those whose label matches, of which there must be at least one: otherwise
 * `missing` completes the error's sentence.
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
      if (labels.test(label)) parsed.push({ block, source: { name: `${name}, block ${number}`, file }, value: parse(block) })
      else if (!OTHER_LABELS.test(label)) throw new PemError(number, refusalOf(label))
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
