/** Keys and certificates for the tests, made anew by the `openssl` command for each process that asks, and never kept. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface Certificate {
  /** PEM. */
  readonly key: string
  /** PEM; self-signed, so that it is its own CA. */
  readonly cert: string
}

let shared: Certificate | undefined

/** The certificate for localhost that servers in this process use; clients pass its `cert` as `ca` and so verify it. */
export function localhostCertificate(): Certificate {
  shared ??= makeCertificate()
  return shared
}

/** A fresh P-256 key (quick to make) with a certificate for localhost, 127.0.0.1 and ::1. */
export function makeCertificate(): Certificate {
  const folder = mkdtempSync(join(tmpdir(), 'nws-test-certificate-'))
  try {
    const keyFile = join(folder, 'key.pem')
    const certFile = join(folder, 'cert.pem')
    const command = 'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256 -days 2 -subj /CN=localhost'
    const names = 'subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1'
    execFileSync('openssl', [...command.split(' '), '-addext', names, '-keyout', keyFile, '-out', certFile], { stdio: 'pipe' })
    return { key: readFileSync(keyFile, 'utf8'), cert: readFileSync(certFile, 'utf8') }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
