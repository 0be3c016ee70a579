/** Keys and certificates. */

/**
 * TLS key and certificate, and whether clients must have certificates (mutual TLS). PEM text or bytes, or the
 * names of files; a key and a certificate are required, each given once. Every block of the PEM is checked,
 * and text between blocks is passed over: a block that is damaged, cut off or joined to another is a TlsError
 * with the file and the block's number (`chain.pem, block 2: …`), and so is a list of revoked certificates
 * (`X509 CRL`), since the server reads no such list. Both engines refuse the same material: RSA keys of less
 * than 2048 bits, for example, unless `ciphers` names a lower security level.
 */
export interface TlsOptions {
  /**
   * Private key, PEM; a file with several is a TlsError. RSA, RSA-PSS, Ed25519, Ed448, or a key on the curves
   * P-256, P-384 and P-521, which are those that clients accept from servers (RFC 8446, section 4.2.3).
   */
  key?: string | Uint8Array
  /** Certificate, followed by its chain, PEM. */
  cert?: string | Uint8Array
  /** Name of the file that holds the private key. */
  keyFile?: string
  /** Name of the file that holds the certificate and its chain. */
  certFile?: string
  /** Certificates of the authorities that sign clients' certificates, PEM: see `requestCert`. */
  ca?: string | Uint8Array
  /** Name of the file that holds `ca`. */
  caFile?: string
  /** Opens an encrypted private key. */
  passphrase?: string
  /**
   * OpenSSL cipher list, separated by colons. Names that begin with `TLS_` are the suites of TLS 1.3: without
   * any, TLS 1.3 has OpenSSL's own; with nothing else in the list, TLS 1.2 is off. Other names that OpenSSL
   * does not know are passed over while one known name remains. `@SECLEVEL=1` in the list allows weaker keys
   * and certificates (the level is 2, OpenSSL's `SSL_CTX_set_security_level`). Default: OpenSSL's own, or
   * Node's on the portable engine.
   */
  ciphers?: string
  /** The oldest protocol version accepted. Default `'TLSv1.2'`. */
  minVersion?: 'TLSv1.2' | 'TLSv1.3'
  /**
   * Ask clients for a certificate of an authority in `ca` (which must then be given). Default false. In an
   * array of entries, a client chooses its entry by the server name (SNI) that it sends, while all routes are
   * open to every client: routes that only clients with a certificate may reach need `requestCert` in every
   * entry.
   */
  requestCert?: boolean
  /**
   * Refuse clients without a valid certificate, during or right after the handshake: the server responds to
   * no request of such a client. Default true.
   */
  rejectUnauthorized?: boolean
  /**
   * Which clients this entry of an array serves: those that ask for this host name (SNI, RFC 6066, section
   * 3), or for a name that a wildcard like `*.example.com` stands for: exactly one label in place of `*` (RFC
   * 6125, section 6.4.3). An exact name is preferred to a wildcard; letters compare without case, and a dot
   * at the end of the client's name does not count. Required from the second entry on, different in each. The
   * first entry also serves clients that name no host, or a host that no entry has.
   */
  serverName?: string
}
