/**
 * Reads TLS keys and certificates and checks them with Node's own OpenSSL, so that an engine is given only what works and
 * the user is told exactly what does not. No message contains key material.
 */
import { Buffer } from 'node:buffer'
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createSecureContext } from 'node:tls'
import type { EngineTls } from './engine/contract.js'
import { TlsError } from './errors.js'
import { tlsEntryName } from './options/tls.js'
import type { TlsOptions } from './types.js'

/** Bytes of PEM, and where they came from. */
interface Material {
  readonly bytes: Buffer
  readonly file: string | undefined
  /** For messages: `the private key in certs/key.pem`. */
  readonly name: string
}

/**
 * Reads all entries. `entries` has passed `src/options/tls.ts`. Reading is synchronous, as `reloadTls` answers at once: these are small
 * files, read once. Throws TlsError.
 */
export function readTls(entries: readonly TlsOptions[]): readonly EngineTls[] {
  return entries.map((entry, index) => readEntry(entry, entries.length === 1 ? '' : ` of ${tlsEntryName(index, entries.length)}`))
}

/** `owner` completes the names of the material in messages. */
function readEntry(options: TlsOptions, owner: string): EngineTls {
  const key = read(`the private key${owner}`, options.key, options.keyFile)
  const cert = read(`the certificate${owner}`, options.cert, options.certFile)
  const privateKey = parseKey(key, options.passphrase)
  const certificate = parseCertificates(cert)
  if (!certificate.checkPrivateKey(privateKey)) {
    throw new TlsError('ERR_TLS_MISMATCH', `${key.name} does not belong to ${cert.name}`, cert.file)
  }
  const hasCa = options.ca !== undefined || options.caFile !== undefined
  const ca = hasCa ? read(`the CA certificate${owner}`, options.ca, options.caFile) : undefined
  if (ca !== undefined) parseCertificates(ca)
  const tls: EngineTls = {
    key: key.bytes,
    cert: cert.bytes,
    ...(ca !== undefined && { ca: ca.bytes }),
    ...(options.passphrase !== undefined && { passphrase: options.passphrase }),
    ...(options.ciphers !== undefined && { ciphers: options.ciphers }),
    minVersion: options.minVersion ?? 'TLSv1.2',
    requestCert: options.requestCert ?? false,
    rejectUnauthorized: options.rejectUnauthorized ?? true,
    ...(options.serverName !== undefined && { serverName: options.serverName.toLowerCase() }),
  }
  try {
    createSecureContext(tls)
  } catch (error) {
    const message = `OpenSSL refused the TLS settings${owner}: ${reasonOf(error)}`
    throw new TlsError('ERR_TLS_CONTEXT', message, undefined, { cause: error })
  }
  return tls
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

function parseKey({ bytes, file, name }: Material, passphrase: string | undefined): KeyObject {
  // The two ways in which PEM says it: PKCS #8 (RFC 7468, section 11) and the older header (RFC 1421, section 4.6.1.1).
  const isEncrypted = /-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: 4,ENCRYPTED/m.test(bytes.toString('latin1'))
  if (isEncrypted && passphrase === undefined) {
    throw new TlsError('ERR_TLS_PASSPHRASE', `${name} is encrypted: a passphrase is needed`, file)
  }
  try {
    return createPrivateKey({ key: bytes, format: 'pem', ...(passphrase !== undefined && { passphrase }) })
  } catch (error) {
    const [code, problem] = isEncrypted
      ? (['ERR_TLS_PASSPHRASE', 'cannot be opened with this passphrase'] as const)
      : (['ERR_TLS_KEY', 'is not a private key in PEM'] as const)
    throw new TlsError(code, `${name} ${problem}`, file, { cause: error })
  }
}

/** Parses all certificates, of a chain or of several authorities; gives the first, which in a chain is the server's own. */
function parseCertificates({ bytes, file, name }: Material): X509Certificate {
  const blocks = bytes.toString('latin1').match(/-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----[\s\S]*?-----END [^-]*-----/g)
  const refuse = (problem: string, cause?: unknown) =>
    new TlsError('ERR_TLS_CERTIFICATE', `${name} ${problem}`, file, cause === undefined ? undefined : { cause })
  const [own] = (blocks ?? []).map((block, index) => {
    try {
      return new X509Certificate(block)
    } catch (error) {
      throw refuse(`is not PEM: certificate ${index + 1} of ${blocks?.length} cannot be read`, error)
    }
  })
  if (own === undefined) throw refuse('is not a certificate in PEM')
  return own
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
