/** The TLS settings of an entry in the form that Node takes. */
import { DEFAULT_CIPHERS, type SecureContextOptions } from 'node:tls'
import type { EngineTls } from '../contract.js'

/**
 * The least strength of keys, certificates and ciphers, where the cipher list names none of its own
 * (`@SECLEVEL=1`): 112 bits, so RSA from 2048 bits on (SSL_CTX_set_security_level(3)). OpenSSL's default
 * differs between the builds of Node and of Linux distributions; the native engine has the same constant in
 * native/server/net/tls_context.cpp.
 */
const SECURITY_LEVEL = 2

/** TLS 1.2's ciphers and TLS 1.3's suites in one list, as Node has them. */
export function nodeTlsSettings({ cipherSuites, sources: _sources, ...entry }: EngineTls): SecureContextOptions {
  const own = entry.ciphers ?? (cipherSuites === undefined ? DEFAULT_CIPHERS : 'DEFAULT')
  const level = own.includes('@SECLEVEL=') ? [] : [`@SECLEVEL=${SECURITY_LEVEL}`]
  return { ...entry, ciphers: [...(cipherSuites === undefined ? [] : [cipherSuites]), own, ...level].join(':') }
}
