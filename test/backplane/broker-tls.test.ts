/** TLS to real brokers, and who may use them: what `listen` says where one of it is wrong. */
import { writeFileSync } from 'node:fs'
import { join as joinPath } from 'node:path'
import { Redis } from 'ioredis'
import { createClient } from 'redis'
import { describe, expect, test } from 'vitest'
import { nats } from '../../src/backplane/nats.js'
import { redis } from '../../src/backplane/redis.js'
import type { BackplaneEngine } from '../../src/index.js'
import { joinTwo, listenRefusal, ONE_ENGINE } from '../support/broker-members.js'
import { Broker, whyMissing } from '../support/brokers.js'
import { localhostCertificate, makeCertificate } from '../support/certificates.js'
import { temporaryFolder } from '../support/command.js'

/** How a client is told to connect. Without a CA it trusts Node's; without `isSecure` it speaks no TLS. */
interface Access {
  readonly port: number
  readonly ca: string | undefined
  readonly isSecure: boolean
  readonly password: string
}

/** `listenRefusal` looks for a part of it. */
const PASSWORD = 'right-secret'

interface Kind {
  readonly program: 'redis-server' | 'nats-server'
  start(files: Files, password: string): Promise<Broker>
  make(access: Access): BackplaneEngine
}

interface Files {
  readonly key: string
  readonly cert: string
}

const startRedis = ({ key, cert }: Files, password: string) =>
  Broker.start('redis-server', (port) => [
    ...['--port', '0', '--tls-port', `${port}`, '--tls-cert-file', cert, '--tls-key-file', key, '--tls-ca-cert-file', cert],
    ...['--tls-auth-clients', 'no', '--requirepass', password],
  ])
const startNats = ({ key, cert }: Files, more: readonly string[]) =>
  Broker.start('nats-server', ['--tls', '--tlscert', cert, '--tlskey', key, ...more])
const natsTls = ({ isSecure, ca }: Access) => (isSecure ? { tls: ca === undefined ? {} : { ca } } : {})

const KINDS: Record<string, Kind> = {
  'Redis through redis': {
    program: 'redis-server',
    start: startRedis,
    make: ({ port, ca, isSecure, password }) => {
      const socket = isSecure
        ? ({ host: 'localhost', port, tls: true, ...(ca !== undefined && { ca }) } as const)
        : { host: 'localhost', port }
      return redis({ client: createClient({ socket, password }), pingTimeout: 1000 })
    },
  },
  'Redis through ioredis': {
    program: 'redis-server',
    start: startRedis,
    make: ({ port, ca, isSecure, password }) => {
      const tls = isSecure && { tls: ca === undefined ? {} : { ca } }
      return redis({ client: new Redis({ host: 'localhost', port, password, lazyConnect: true, ...tls }), pingTimeout: 1000 })
    },
  },
  'NATS with user and password': {
    program: 'nats-server',
    start: (files, password) => startNats(files, ['--user', 'u', '--pass', password]),
    make: (access) => {
      const connection = { user: 'u', pass: access.password, ...natsTls(access) }
      return nats({ servers: `localhost:${access.port}`, connection, pingTimeout: 1000 })
    },
  },
  'NATS with a token': {
    program: 'nats-server',
    start: (files, password) => startNats(files, ['--auth', password]),
    make: (access) => {
      const connection = { token: access.password, ...natsTls(access) }
      return nats({ servers: `localhost:${access.port}`, connection, pingTimeout: 1000 })
    },
  },
}

/** The certificate that clients of these tests trust, as files. */
function makeFiles(): Files {
  const folder = temporaryFolder()
  const files = { key: joinPath(folder, 'key.pem'), cert: joinPath(folder, 'cert.pem') }
  const { key, cert } = localhostCertificate()
  writeFileSync(files.key, key)
  writeFileSync(files.cert, cert)
  return files
}

for (const [name, { program, start, make }] of Object.entries(KINDS)) {
  const missing = whyMissing(program)
  describe.skipIf(missing !== undefined)(`TLS to ${name}${missing === undefined ? '' : ` (skipped: ${missing})`}`, () => {
    test('carries messages where the certificate is trusted and the password is right', async () => {
      const { port } = await start(makeFiles(), PASSWORD)
      const access = { port, ca: localhostCertificate().cert, isSecure: true, password: PASSWORD }
      await joinTwo(ONE_ENGINE, () => make(access))
    })

    test('is refused by listen, with address and reason and without the password, where one of it is wrong', async () => {
      const { port } = await start(makeFiles(), PASSWORD)
      const access = { port, ca: localhostCertificate().cert, isSecure: true, password: PASSWORD }
      const reasonOf = async (wrong: Partial<Access>) => {
        return (await listenRefusal(make({ ...access, ...wrong }), `localhost:${port}`)).message
      }
      expect(await reasonOf({ ca: undefined })).toMatch(/self-signed|certificate/)
      expect(await reasonOf({ ca: makeCertificate().cert })).toMatch(/self-signed|certificate/)
      expect(await reasonOf({ password: 'wrong-secret' })).toMatch(/WRONGPASS|Authorization Violation/i)
      await reasonOf({ isSecure: false })
    })

    test('is refused by listen where the broker speaks none', async () => {
      const { port } = await Broker.start(program)
      const access = { port, ca: localhostCertificate().cert, isSecure: true, password: PASSWORD }
      await listenRefusal(make(access), `localhost:${port}`)
    })
  })
}
