/**
 * `native-websocket-server/redis`: topics to other processes and hosts, through Redis or what speaks as
 * it.
 */
import { OptionError, WebSocketServerError } from '../errors.js'
import { BACKPLANE_SETTING_NAMES, resolveBackplaneSettings, resolveBrokerOptions } from '../options/backplane.js'
import { checkNonEmptyString, checkSecretObject } from '../options/checks.js'
import type { BackplaneEngine, BackplaneSettings } from './contract.js'
import { openCluster } from './redis/cluster.js'
import { ClusterNodes } from './redis/cluster-nodes.js'
import { addressOf, isRedisClient, type RedisAddress, type RedisClient } from './redis/connection.js'
import { openPubSub } from './redis/pubsub.js'
import type { StreamPosition } from './redis/stream-place.js'
import { openStream } from './redis/streams.js'
import { SessionEngine, type SessionEngineOptions } from './session-engine.js'

export type { RedisClient } from './redis/connection.js'

/** Options of `redis`, beside those that all backplanes have. */
export interface RedisOptions extends Partial<BackplaneSettings> {
  /**
   * A client of `redis` (node-redis 5 and 6) or `ioredis` (5 and 6). It is never used itself, and need
   * not be connected: two connections are made like it, with its address, TLS, user and password, and
   * without its queue, timeouts and reconnecting, which the server has itself. It is a client for one
   * broker: a cluster is named by `cluster`.
   */
  client?: RedisClient
  /**
   * Instead of a client: an address such as `redis://user:password@host:6379/0`, or `rediss:` for TLS.
   * The package `redis` or `ioredis` must be installed. Default `redis://localhost:6379`.
   */
  url?: string
  /**
   * Instead of an address: those of some nodes of a Redis cluster (Redis 7.0 or later), for example
   * `['redis://one:6379', 'redis://two:6379']`. Each node that has a part of the topics gets two
   * connections, with TLS, user and password of `client`, or else of the first address; the nodes are found
   * where the cluster says that they are. What is sent goes through sharded Pub/Sub: a topic is at one node.
   * When a node fails, the backplane is down until the cluster has another one in its place. `delivery` must
   * be `at-most-once`.
   */
  cluster?: readonly string[]
  /**
   * What the names of channels begin with, before the topic; the members of a group have the same. Default
   * `nws:`. No group's prefix may begin with that of another: with `nws:` and `nws:a:`, the topic `a:x` of
   * the one and the topic `x` of the other would be one channel. In a cluster without `{` and `}`; with
   * `replayed`, a node in cluster mode needs them, for example `{nws}:`, since both streams are to be in one
   * slot.
   */
  prefix?: string
  /**
   * `at-most-once` is Pub/Sub: what is sent while a server is not connected does not reach it. `replayed`
   * is a stream, from which a server reads, after a lost connection, what has come meanwhile. Default
   * `at-most-once`.
   */
  delivery?: 'at-most-once' | 'replayed'
  /** Milliseconds for which `replayed` keeps messages: 1000 to 2^31-1. Default 60,000. */
  retention?: number
  /**
   * Milliseconds in which the broker must reply before it counts as down: 100 to 2^31-1. Default 2000.
   */
  pingTimeout?: number
}

/**
 * Makes a backplane on Redis, for one server: `new WebSocketServer({ backplane: redis({ client }) })`.
 * Nothing is connected before `listen`. Throws OptionError.
 */
export function redis(options: RedisOptions = {}): BackplaneEngine {
  const names = [...BACKPLANE_SETTING_NAMES, 'client', 'url', 'cluster', 'prefix', 'delivery', 'retention', 'pingTimeout']
  checkSecretObject('options', options, names)
  const { client, url, cluster, prefix = 'nws:' } = options
  const { delivery, retention, pingTimeout } = resolveBrokerOptions(options)
  checkNonEmptyString('prefix', prefix, 'a string that is not empty')
  if (client !== undefined && (typeof client !== 'object' || client === null || !isRedisClient(client))) {
    throw new OptionError('client', '…', 'a client of redis or ioredis, for one broker (a cluster is an option of its own)')
  }
  if (url !== undefined && !isRedisUrl(url)) throw new OptionError('url', '…', 'a URL that begins with redis: or rediss:')
  const nodes = cluster === undefined ? undefined : nodesOf(cluster)
  if (nodes !== undefined) {
    if (url !== undefined) throw new OptionError('url', '…', 'left out where `cluster` is given')
    if (delivery === 'replayed') throw new OptionError('delivery', delivery, "'at-most-once' in a cluster")
    if (/[{}]/.test(prefix)) throw new OptionError('prefix', prefix, 'a string without braces in a cluster')
  }
  const address = cluster?.[0] ?? url ?? 'redis://localhost:6379'
  const position: StreamPosition = { last: undefined, entries: undefined }
  // Made once: it is only the pattern for the connections.
  let pattern: RedisClient | undefined = client
  const clusterNodes = nodes && new ClusterNodes(nodes)
  const connect: SessionEngineOptions['connect'] = async (events) => {
    pattern ??= await clientOf(address)
    if (clusterNodes !== undefined)
      return await openCluster(pattern, { prefix, timeout: pingTimeout, nodes: clusterNodes }, events)
    if (delivery === 'at-most-once') return await openPubSub(pattern, prefix, events)
    return await openStream(pattern, { key: `${prefix}stream`, membersKey: `${prefix}members`, retention }, position, events)
  }
  return new SessionEngine({
    name: 'redis',
    address:
      nodes?.map(({ host, port }) => `${host}:${port}`).join(', ') ??
      (client === undefined ? new URL(address).host : addressOf(client)),
    settings: resolveBackplaneSettings(options),
    isReplayed: delivery === 'replayed',
    pingTimeout,
    connect,
  })
}

function isRedisUrl(url: unknown): boolean {
  return typeof url === 'string' && /^rediss?:/.test(url) && URL.canParse(url)
}

/** Throws OptionError. */
function nodesOf(cluster: readonly string[]): RedisAddress[] {
  if (!Array.isArray(cluster) || cluster.length === 0 || !cluster.every(isRedisUrl)) {
    throw new OptionError('cluster', '…', 'an array of URLs that begin with redis: or rediss:')
  }
  return cluster.map((url: string) => {
    const { hostname, port } = new URL(url)
    // Brackets around an address of IPv6 belong to the URL.
    return { host: hostname.replace(/^\[(.*)\]$/, '$1'), port: port === '' ? DEFAULT_PORT : Number(port) }
  })
}

/** Of Redis. */
const DEFAULT_PORT = 6379

/** A client that is not connected, of the package that is installed. */
async function clientOf(url: string): Promise<RedisClient> {
  try {
    const { createClient } = await import('redis')
    return createClient({ url })
  } catch (cause) {
    if (!isMissing(cause)) throw cause
  }
  try {
    const { Redis } = await import('ioredis')
    return new Redis(url, { lazyConnect: true })
  } catch (cause) {
    if (!isMissing(cause)) throw cause
    const advice = 'a backplane on Redis needs a client: npm install redis, or npm install ioredis'
    throw new WebSocketServerError('ERR_BACKPLANE', advice, { cause })
  }
}

function isMissing(cause: unknown): boolean {
  return cause instanceof Error && 'code' in cause && /^(ERR_)?MODULE_NOT_FOUND$/.test(String(cause.code))
}
