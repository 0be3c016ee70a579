/** Shape of the TLS options. The material itself is read and checked by `src/tls/material.ts`. */
import { isIP } from 'node:net'
import { isUint8Array } from 'node:util/types'
import { OptionError } from '../errors.js'
import type { TlsOptions } from '../types/index.js'
import { checkBoolean, checkNonEmptyString, checkObject, type Names } from './checks.js'

const TLS_OPTION_NAMES: Names<TlsOptions> = [
  'key',
  'cert',
  'ca',
  'keyFile',
  'certFile',
  'caFile',
  'passphrase',
  'ciphers',
  'minVersion',
  'requestCert',
  'rejectUnauthorized',
  'serverName',
]

/** One label of a host name. Underscores are no part of one (RFC 952), but some internal names have them. */
const LABEL = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/i
/** RFC 1035, section 2.3.4. */
const MAX_NAME_LENGTH = 253

/** What an entry is called in messages: `tls` when it is the only one. */
export function tlsEntryName(index: number, count: number): string {
  return count === 1 ? 'tls' : `tls[${index}]`
}

/**
 * The entries, of which there is at least one, copied. No value of a key or passphrase gets into an error.
 * Throws OptionError.
 */
export function resolveTls(tls: TlsOptions | readonly TlsOptions[]): readonly TlsOptions[] {
  // The cast is for TypeScript, which does not narrow readonly arrays by Array.isArray.
  const entries = Array.isArray(tls) ? (tls as readonly TlsOptions[]) : [tls as TlsOptions]
  if (entries.length === 0) throw new OptionError('tls', tls, 'an object or an array of at least one')
  const names = new Set<string>()
  for (const [index, entry] of entries.entries()) {
    const name = tlsEntryName(index, entries.length)
    checkEntry(name, entry)
    const serverName = entry.serverName?.toLowerCase()
    if (serverName === undefined && index > 0) {
      throw new OptionError(`${name}.serverName`, undefined, 'a host name: only the first entry can do without')
    }
    if (serverName === undefined) continue
    if (names.has(serverName)) throw new OptionError(`${name}.serverName`, entry.serverName, 'another than those before')
    names.add(serverName)
  }
  return entries.map((entry) => ({ ...entry }))
}

function checkEntry(name: string, tls: TlsOptions): void {
  checkObject(name, tls, TLS_OPTION_NAMES, `${name}.`)
  for (const what of ['key', 'cert', 'ca'] as const) checkMaterial(name, tls, what)
  const { passphrase, ciphers, minVersion, requestCert = false, rejectUnauthorized = true, serverName } = tls
  if (passphrase !== undefined && typeof passphrase !== 'string') {
    throw new OptionError(`${name}.passphrase`, typeof passphrase, 'a string')
  }
  if (ciphers !== undefined) checkNonEmptyString(`${name}.ciphers`, ciphers, 'an OpenSSL cipher list')
  if (minVersion !== undefined && minVersion !== 'TLSv1.2' && minVersion !== 'TLSv1.3') {
    throw new OptionError(`${name}.minVersion`, minVersion, "'TLSv1.2' or 'TLSv1.3'")
  }
  checkBoolean(`${name}.requestCert`, requestCert)
  checkBoolean(`${name}.rejectUnauthorized`, rejectUnauthorized)
  if (requestCert && rejectUnauthorized && tls.ca === undefined && tls.caFile === undefined) {
    throw new OptionError(`${name}.ca`, undefined, 'given with requestCert, as ca or as caFile: it says whose certificates count')
  }
  if (serverName !== undefined && !isServerName(serverName)) {
    throw new OptionError(`${name}.serverName`, serverName, "a host name in ASCII, or '*.' and a host name")
  }
}

function checkMaterial(name: string, tls: TlsOptions, what: 'key' | 'cert' | 'ca'): void {
  const [material, file] = [tls[what], tls[`${what}File`]]
  const isMissing = material === undefined && file === undefined && what !== 'ca'
  if (isMissing || (material !== undefined && file !== undefined)) {
    throw new OptionError(`${name}.${what}`, isMissing ? 'neither' : 'both', `given once, as ${what} or as ${what}File`)
  }
  if (material !== undefined && typeof material !== 'string' && !isUint8Array(material)) {
    throw new OptionError(`${name}.${what}`, typeof material, 'PEM text or bytes')
  }
  if (file !== undefined) checkNonEmptyString(`${name}.${what}File`, file, 'the name of a file')
}

/**
 * Clients send no address as a server name (RFC 6066, section 3), so that an entry with an address would
 * serve no client.
 */
function isServerName(name: string): boolean {
  if (typeof name !== 'string' || name.length > MAX_NAME_LENGTH || isIP(name.replace('*', '1')) !== 0) return false
  const host = name.startsWith('*.') ? name.slice(2) : name
  return host.split('.').every((label) => LABEL.test(label))
}
