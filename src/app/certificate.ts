/**
 * The development certificate: a key and a self-signed certificate for this machine's own names, so that
 * `wss:` works at the first start. Browsers and clients do not trust it by themselves; production brings its
 * own.
 *
 * Node makes keys and signatures, but no certificates. What is missing is little: X.509 (RFC 5280, section
 * 4.1) written in DER (ITU-T X.690), one tag, length and content after the other.
 */
import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto'
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { TlsError } from '../index.js'

/** How long the certificate is valid: days. */
export const VALIDITY_DAYS = 365
/** Size of the RSA modulus: bits. */
const KEY_BITS = 2048

/**
 * Makes a development certificate when neither file exists: RSA 2048, SHA-256, for VALIDITY_DAYS, for
 * localhost, 127.0.0.1 and ::1. Missing folders are made; the key is readable by its owner alone (mode 0600).
 * A file that exists is never overwritten.
 *
 * @returns true when it made the two files, false when both were there already, or another process was
 *   quicker.
 * @throws TlsError (`ERR_TLS_FILE`) when just one of the two exists, or when they cannot be written.
 */
export function ensureCertificate(keyPath: string, certPath: string): boolean {
  const [hasKey, hasCertificate] = [existsSync(keyPath), existsSync(certPath)]
  if (hasKey && hasCertificate) return false
  if (hasKey !== hasCertificate) {
    const [present, missing] = hasKey ? [keyPath, certPath] : [certPath, keyPath]
    const message = `${missing} is missing, but ${present} exists: bring the file that belongs to it, or move it away for a new pair`
    throw new TlsError('ERR_TLS_FILE', message, missing)
  }

  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: KEY_BITS })
  // Made before either file is written, so that another process finds one file without the other only for as
  // long as a write takes.
  const certificate = selfSigned(privateKey, publicKey)
  try {
    writeNew(keyPath, privateKey.export({ type: 'pkcs8', format: 'pem' }), 0o600)
  } catch (error) {
    // Another process had the same idea, and writes the certificate next.
    if (isTaken(error) && appears(certPath)) return false
    throw error
  }
  try {
    writeNew(certPath, certificate, 0o644)
  } catch (error) {
    // A key without a certificate would only be in the way of the next attempt. The key removed here is the
    // one just made: no other file had that name.
    rmSync(keyPath, { force: true })
    throw error
  }
  return true
}

function isTaken(error: unknown): boolean {
  return error instanceof TlsError && error.cause instanceof Error && 'code' in error.cause && error.cause.code === 'EEXIST'
}

/** Waits up to two seconds for a file that another process is about to write. */
function appears(path: string): boolean {
  const pause = new Int32Array(new SharedArrayBuffer(4))
  for (let attempt = 0; attempt < 100 && !existsSync(path); attempt++) Atomics.wait(pause, 0, 0, 20)
  return existsSync(path)
}

/** Writes a file that must not exist yet (O_EXCL), making its folders. */
function writeNew(path: string, content: string | Buffer, mode: number): void {
  try {
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, content, { mode, flag: 'wx' })
  } catch (error) {
    throw new TlsError('ERR_TLS_FILE', `${path} cannot be written: ${error instanceof Error ? error.message : error}`, path, {
      cause: error,
    })
  }
}

/** The certificate, PEM. */
function selfSigned(privateKey: KeyObject, publicKey: KeyObject): string {
  const notBefore = new Date()
  const notAfter = new Date(notBefore.getTime() + VALIDITY_DAYS * 24 * 60 * 60 * 1000)
  const publicKeyInfo = publicKey.export({ type: 'spki', format: 'der' })
  // The key's identifier is the SHA-1 of the bare key (RFC 5280, section 4.2.1.2): the bit string that ends
  // the structure, which for RSA 2048 is what follows its fixed 24 bytes.
  const keyId = createHash('sha1').update(publicKeyInfo.subarray(24)).digest()
  // CommonName, UTF8String.
  const name = sequence(set(sequence(oid('2.5.4.3'), der(0x0c, Buffer.from('localhost')))))
  // Sha256WithRSAEncryption, NULL.
  const signatureAlgorithm = sequence(oid('1.2.840.113549.1.1.11'), der(0x05))

  const toBeSigned = sequence(
    explicit(0, integer(Buffer.of(2))), // version 3
    integer(Buffer.concat([Buffer.of(0x40), randomBytes(15)])), // positive, with 120 random bits
    signatureAlgorithm,
    name, // issuer
    sequence(time(notBefore), time(notAfter)),
    name, // subject
    publicKeyInfo,
    explicit(
      3,
      sequence(
        // No CA: a client that trusts this certificate (curl --cacert, NODE_EXTRA_CA_CERTS) trusts this
        // machine's names and nothing else.
        extension('2.5.29.19', true, sequence()), // basicConstraints: not a CA
        // KeyUsage: digitalSignature, keyEncipherment.
        extension('2.5.29.15', true, der(0x03, Buffer.of(5, 0b1010_0000))),
        extension('2.5.29.37', false, sequence(oid('1.3.6.1.5.5.7.3.1'))), // extKeyUsage: serverAuth
        extension('2.5.29.14', false, der(0x04, keyId)), // subjectKeyIdentifier
        extension('2.5.29.35', false, sequence(der(0x80, keyId))), // authorityKeyIdentifier
        extension(
          '2.5.29.17',
          false,
          sequence(dnsName('localhost'), ipAddress(127, 0, 0, 1), ipAddress(...Array(15).fill(0), 1)),
        ),
      ),
    ),
  )
  const signature = sign('sha256', toBeSigned, privateKey)
  const certificate = sequence(toBeSigned, signatureAlgorithm, der(0x03, Buffer.of(0), signature))
  const lines = certificate.toString('base64').match(/.{1,64}/g) ?? []
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`
}

/** One DER value: its tag, the length of its content, the content. */
function der(tag: number, ...content: Buffer[]): Buffer {
  const body = Buffer.concat(content)
  if (body.length < 0x80) return Buffer.concat([Buffer.of(tag, body.length), body])
  const length = Buffer.alloc(4)
  length.writeUInt32BE(body.length)
  const significant = length.subarray(length.findIndex((byte) => byte !== 0))
  return Buffer.concat([Buffer.of(tag, 0x80 | significant.length), significant, body])
}

const sequence = (...content: Buffer[]) => der(0x30, ...content)
const set = (...content: Buffer[]) => der(0x31, ...content)
const explicit = (number: number, content: Buffer) => der(0xa0 | number, content)
/** From big-endian bytes whose first bit is 0: DER's integers are signed. */
const integer = (bytes: Buffer) => der(0x02, bytes)
const dnsName = (name: string) => der(0x82, Buffer.from(name))
const ipAddress = (...bytes: number[]) => der(0x87, Buffer.from(bytes))

function extension(id: string, critical: boolean, value: Buffer): Buffer {
  return sequence(oid(id), ...(critical ? [der(0x01, Buffer.of(0xff))] : []), der(0x04, value))
}

/**
 * An object identifier: the first two numbers share a byte, the others are in base 128, the high bit meaning
 * "more follows".
 */
function oid(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number)
  const bytes = rest.flatMap((number) => {
    const digits = [number & 0x7f]
    for (let left = number >>> 7; left > 0; left >>>= 7) digits.unshift((left & 0x7f) | 0x80)
    return digits
  })
  return der(0x06, Buffer.from([first * 40 + second, ...bytes]))
}

/** A moment: UTCTime up to 2049, GeneralizedTime from 2050 on (RFC 5280, section 4.1.2.5). */
function time(date: Date): Buffer {
  const digits = date.toISOString().replace(/\.\d+/, '').replace(/[-:T]/g, '')
  return date.getUTCFullYear() < 2050 ? der(0x17, Buffer.from(digits.slice(2))) : der(0x18, Buffer.from(digits))
}
