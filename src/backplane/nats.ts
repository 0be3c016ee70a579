/** `native-websocket-server/nats`: topics to other processes and hosts, through NATS. */
import type { NatsConnection } from '@nats-io/transport-node'
import { OptionError, WebSocketServerError } from '../errors.js'
import { BACKPLANE_SETTING_NAMES, resolveBackplaneSettings, resolveBrokerOptions } from '../options/backplane.js'
import { checkSecretObject } from '../options/checks.js'
import type { BackplaneEngine, BackplaneSettings } from './contract.js'
import { connectUnless } from './nats/attempt.js'
import { openCore } from './nats/core.js'
import { openJetStream, type StreamPosition } from './nats/jetstream.js'
import { reasonOf } from './reasons.js'
import { SessionEngine, type SessionEngineOptions } from './session-engine.js'

/** Options of `nats`, beside those that all backplanes have. */
export interface NatsOptions extends Partial<BackplaneSettings> {
  /**
   * Where the broker is, or the brokers of a cluster: `nats://host:4222`. With `nats://user:password@host` or
   * `nats://token@host`, the first such address says for all who connects. Default `nats://localhost:4222`.
   */
  servers?: string | readonly string[]
  /**
   * Other options for `connect` of `@nats-io/transport-node`, which must be installed: `user` and `pass`,
   * `token`, `authenticator`, `tls`. The first four come before what is in `servers`. Reconnecting, `noEcho`
   * and timeouts are the server's own.
   */
  connection?: object
  /**
   * What subjects begin with: tokens of letters, digits, `_` and `-`, joined by dots. Default `nws`. The
   * stream of `replayed` has it as its name, with `=` for each dot.
   */
  prefix?: string
  /**
   * `at-most-once` is NATS core: what is sent while a server is not connected does not reach it.
   * `replayed` is a stream of JetStream, for which `@nats-io/jetstream` must be installed: after a lost
   * connection, a server reads what has come meanwhile. Default `at-most-once`.
   */
  delivery?: 'at-most-once' | 'replayed'
  /**
   * Milliseconds for which `replayed` keeps messages: 1000 to 2^31-1. The first server makes the stream
   * with it; a stream that is there stays as it is. Default 60,000.
   */
  retention?: number
  /**
   * Milliseconds in which the broker must reply before it counts as down: 100 to 2^31-1. Default 2000.
   */
  pingTimeout?: number
}

/**
 * Makes a backplane on NATS, for one server: `new WebSocketServer({ backplane: nats({ servers }) })`.
 * Nothing is connected before `listen`. Throws OptionError.
 */
export function nats(options: NatsOptions = {}): BackplaneEngine {
  const names = [...BACKPLANE_SETTING_NAMES, 'servers', 'connection', 'prefix', 'delivery', 'retention', 'pingTimeout']
  checkSecretObject('options', options, names)
  const { servers = 'nats://localhost:4222', connection = {}, prefix = 'nws' } = options
  const { delivery, retention, pingTimeout } = resolveBrokerOptions(options)
  const settings = resolveBackplaneSettings(options)
  checkSecretObject('connection', connection, undefined)
  if (typeof prefix !== 'string' || !/^[\w-]+(\.[\w-]+)*$/.test(prefix)) {
    throw new OptionError('prefix', prefix, "tokens of letters, digits, '_' and '-', joined by dots")
  }
  const list = typeof servers === 'string' ? [servers] : [...checkServers(servers)]
  if (list.length === 0 || !list.every(isAddress)) throw new OptionError('servers', '…', 'addresses such as nats://host:4222')
  const position: StreamPosition = { last: undefined, created: undefined }
  const inboxPrefix = 'inboxPrefix' in connection ? String(connection.inboxPrefix) : undefined
  // The client leaves it in the addresses, unused.
  const credentials = CREDENTIALS.some((name) => name in connection) ? {} : credentialsOf(list)
  const streamOptions = { prefix, retention, inboxPrefix, timeout: 2 * pingTimeout }
  const connect: SessionEngineOptions['connect'] = async (events) => {
    const own = { servers: list, reconnect: false, noEcho: true, timeout: pingTimeout, noAsyncTraces: true }
    const made = await connectUnless(events.closing, () => open({ ...credentials, ...connection, ...own }))
    made.closed().then(
      (error) => events.ended(error ? reasonOf(error) : 'the connection was closed'),
      (error: unknown) => events.ended(reasonOf(error)),
    )
    const end = () => void made.close().catch(() => {})
    if (events.closing.aborted) end()
    events.closing.addEventListener('abort', end)
    try {
      if (delivery === 'at-most-once') return await openCore(made, prefix, settings.maxPendingBytes, events)
      return await openJetStream(made, streamOptions, position, events)
    } catch (cause) {
      end()
      throw cause
    } finally {
      // From here on the session ends it, behind what was sent.
      events.closing.removeEventListener('abort', end)
    }
  }
  return new SessionEngine({
    name: 'nats',
    address: list.map((server) => new URL(withScheme(server)).host).join(', '),
    settings,
    isReplayed: delivery === 'replayed',
    pingTimeout,
    connect,
  })
}

async function open(options: object): Promise<NatsConnection> {
  try {
    const { connect } = await import('@nats-io/transport-node')
    return await connect(options)
  } catch (cause) {
    const isMissing = cause instanceof Error && 'code' in cause && /^(ERR_)?MODULE_NOT_FOUND$/.test(String(cause.code))
    if (!isMissing) throw cause
    const advice = 'a backplane on NATS needs its client: npm install @nats-io/transport-node'
    throw new WebSocketServerError('ERR_BACKPLANE', advice, { cause })
  }
}

function checkServers(servers: readonly string[]): readonly string[] {
  if (!Array.isArray(servers)) throw new OptionError('servers', '…', 'a string, or an array of strings')
  return servers
}

function isAddress(server: unknown): boolean {
  if (typeof server !== 'string' || !URL.canParse(withScheme(server))) return false
  const { host, username, password } = new URL(withScheme(server))
  return host !== '' && isDecodable(username) && isDecodable(password)
}

/** Options of the client that say who connects. */
const CREDENTIALS = ['user', 'pass', 'token', 'authenticator']

/** Who connects, by the first address that says it: a name alone is a token. */
function credentialsOf(servers: readonly string[]): { user: string; pass: string } | { token: string } | undefined {
  for (const server of servers) {
    const { username, password } = new URL(withScheme(server))
    const [name, secret] = [decodeURIComponent(username), decodeURIComponent(password)]
    if (secret !== '') return { user: name, pass: secret }
    if (name !== '') return { token: name }
  }
  return undefined
}

function isDecodable(text: string): boolean {
  try {
    decodeURIComponent(text)
    return true
  } catch {
    return false
  }
}

/** The client takes `host:4222`, too. */
function withScheme(server: string): string {
  return server.includes('://') ? server : `nats://${server}`
}
