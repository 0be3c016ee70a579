/**
 * Keys and certificates for the tests, made anew by the `openssl` command for each process that asks, and
 * never kept.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface Certificate {
  /** PEM. */
  readonly key: string
  /** PEM; self-signed, so that it is its own CA. */
  readonly cert: string
}

let shared: Certificate | undefined

/**
 * The certificate for localhost that servers in this process use; clients pass its `cert` as `ca` and so
 * verify it.
 */
export function localhostCertificate(): Certificate {
  shared ??= makeCertificate()
  return shared
}

/**
 * A fresh key, P-256 (quick to make) or what `-newkey` of `openssl req` takes; its certificate is for
 * localhost and its addresses.
 */
export function makeCertificate(kind?: string): Certificate {
  return inFolder((file) => {
    const newKey = kind === undefined ? NEW_KEY : `-newkey ${kind} -nodes`
    openssl(`req -x509 ${newKey} -days 2 -subj /CN=localhost`, ...LOCAL_NAMES, '-keyout', file('key'), '-out', file('cert'))
    return { key: readFileSync(file('key'), 'utf8'), cert: readFileSync(file('cert'), 'utf8') }
  })
}

export interface CertificateRequest {
  /** The subject's name, by which tests tell certificates apart. */
  readonly name: string
  /** Host names. Default: none, as for clients. */
  readonly hosts?: readonly string[]
  /** Default: in two days. */
  readonly expires?: Date
  /** May sign others. Default false. */
  readonly isAuthority?: boolean
  /** The kind of key: what `-newkey` of `openssl req` takes. Default: P-256. */
  readonly kind?: string
  /** Of the authority's signature. Default: sha256. */
  readonly digest?: string
}

/**
 * What signs certificates: a root, which its users have to trust, or an authority that another has signed.
 */
export class Authority implements Certificate {
  readonly key: string
  readonly cert: string

  constructor({ key, cert }: Certificate) {
    this.key = key
    this.cert = cert
  }

  /** A new one, which signs for itself. */
  static make(name: string): Authority {
    return inFolder((file) => {
      openssl(`req -x509 ${NEW_KEY} -days 2`, '-subj', `/CN=${name}`, '-keyout', file('key'), '-out', file('cert'))
      return new Authority({ key: readFileSync(file('key'), 'utf8'), cert: readFileSync(file('cert'), 'utf8') })
    })
  }

  /** A key with a certificate that this authority has signed. */
  issue(request: CertificateRequest): Certificate {
    const { name, hosts = [], expires = new Date(Date.now() + TWO_DAYS), isAuthority = false } = request
    const newKey = request.kind === undefined ? NEW_KEY : `-newkey ${request.kind} -nodes`
    return inFolder((file) => {
      writeFileSync(file('ca-key'), this.key)
      writeFileSync(file('ca-cert'), this.cert)
      writeFileSync(file('index'), '')
      const names = hosts.length > 0 ? `subjectAltName=${hosts.map((host) => `DNS:${host}`).join(',')}` : ''
      // The only command of openssl's that takes a date.
      const lines = [
        '[ca]\ndefault_ca=authority',
        `[authority]\ndatabase=${file('index')}\nnew_certs_dir=${file('.')}\nrand_serial=yes\ndefault_md=${request.digest ?? 'sha256'}\npolicy=policy`,
        '[policy]\ncommonName=supplied',
        `[extensions]\nbasicConstraints=critical,CA:${isAuthority}\n${names}`,
      ]
      writeFileSync(file('config'), `${lines.join('\n')}\n`)
      openssl(`req -new ${newKey}`, '-subj', `/CN=${name}`, '-keyout', file('key'), '-out', file('request'))
      const signer = [
        '-config',
        file('config'),
        '-cert',
        file('ca-cert'),
        '-keyfile',
        file('ca-key'),
        '-extensions',
        'extensions',
      ]
      const dates = ['-startdate', '20200101000000Z', '-enddate', `${expires.toISOString().replace(/\D/g, '').slice(0, 14)}Z`]
      openssl('ca -batch -notext', ...signer, ...dates, '-in', file('request'), '-out', file('cert'))
      return { key: readFileSync(file('key'), 'utf8'), cert: readFileSync(file('cert'), 'utf8') }
    })
  }
}

const TWO_DAYS = 2 * 24 * 60 * 60 * 1000
const NEW_KEY = '-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256'
const LOCAL_NAMES = ['-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1']

/** `words` is split at its blanks; what may contain some follows. */
function openssl(words: string, ...more: string[]): void {
  execFileSync('openssl', [...words.split(' '), ...more], { stdio: 'pipe' })
}

/** Gives `work` the names of files in a folder that is gone afterwards. */
function inFolder<T>(work: (file: (name: string) => string) => T): T {
  const folder = mkdtempSync(join(tmpdir(), 'nws-test-certificate-'))
  try {
    return work((name) => join(folder, name))
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
