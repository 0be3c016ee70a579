/** One connection to Redis, through either of the two clients. */
import { Buffer } from 'node:buffer'
import { inTime } from '../in-time.js'
import type { SessionConnection } from '../session.js'
import { CONNECT_TIMEOUT } from '../session-engine.js'

/** A client of `redis` (node-redis) or `ioredis`, of which copies are made. */
export interface RedisClient {
  /** Makes a client with the same options, but for these. */
  duplicate(overrides?: object): object
}

/** What both clients can do, under one name. */
export interface RedisConnection extends SessionConnection {
  command(args: (string | Buffer)[]): Promise<unknown>
  subscribe(channels: string[]): Promise<void>
  unsubscribe(channels: string[]): Promise<void>
  /** Of shard channels, which are all in one slot. */
  subscribeShard(channels: string[]): Promise<void>
  unsubscribeShard(channels: string[]): Promise<void>
  destroy(): void
}

export interface ConnectionEvents {
  message(channel: string, data: Uint8Array): void
  ended(reason: string): void
}

/** Where a node of a cluster is. */
export interface RedisAddress {
  readonly host: string
  readonly port: number
}

export interface ConnectionOptions {
  /** The node of a cluster to connect to, whatever the address of the client. */
  readonly node?: RedisAddress
  /** Milliseconds to connect, with TLS and authentication. */
  readonly timeout?: number
  /** Ends the attempt when it is aborted. */
  readonly closing?: AbortSignal
}

type Listener = (message: Buffer, channel: Buffer) => void

/** Of node-redis, what is used here. */
interface NodeRedis {
  readonly options?: { readonly url?: string; readonly socket?: Readonly<Record<string, unknown>> }
  on(event: 'error' | 'end' | 'connect' | 'sharded-channel-moved', listener: (error?: Error) => void): unknown
  connect(): Promise<unknown>
  sendCommand(args: readonly (string | Buffer)[], options?: object): Promise<unknown>
  subscribe(channels: string[], listener: Listener, bufferMode: true): Promise<void>
  unsubscribe(channels: string[], listener: Listener, bufferMode: true): Promise<void>
  sSubscribe(channels: string[], listener: Listener, bufferMode: true): Promise<void>
  sUnsubscribe(channels: string[], listener: Listener, bufferMode: true): Promise<void>
  destroy(): void
}

/** Of ioredis, what is used here. */
interface IoRedis {
  readonly options: { readonly host?: string; readonly port?: number; readonly path?: string }
  on(event: 'error' | 'end' | 'moved', listener: (error?: Error) => void): unknown
  on(event: 'messageBuffer' | 'smessageBuffer', listener: (channel: Buffer, message: Buffer) => void): unknown
  connect(): Promise<unknown>
  callBuffer(command: string, ...args: (string | Buffer)[]): Promise<unknown>
  subscribe(...channels: string[]): Promise<unknown>
  unsubscribe(...channels: string[]): Promise<unknown>
  ssubscribe(...channels: string[]): Promise<unknown>
  sunsubscribe(...channels: string[]): Promise<unknown>
  disconnect(): void
}

/** Whether it is a client of node-redis; the other ones are of ioredis. */
function isNodeRedis(client: object): client is NodeRedis {
  return 'sendCommand' in client && 'isReady' in client
}

/** Whether it is one of the clients that are known, for one node: those for clusters are not. */
export function isRedisClient(client: object): client is RedisClient {
  const isCluster = 'nodeByAddress' in client || ('isCluster' in client && client.isCluster === true)
  return !isCluster && 'duplicate' in client && (isNodeRedis(client) || 'callBuffer' in client)
}

/** Host and port, or the path of a socket, without user and password. */
export function addressOf(client: object): string {
  if (!isNodeRedis(client)) {
    const { host = 'localhost', port = 6379, path } = (client as IoRedis).options
    return path ?? `${host}:${port}`
  }
  const { url, socket: { host = 'localhost', port = 6379, path } = {} } = client.options ?? {}
  if (url !== undefined && URL.canParse(url)) return new URL(url).host
  return String(path ?? `${host}:${port}`)
}

/**
 * Opens a connection like that of the client, without its offline queue, its timeout of commands, its
 * reconnecting and its resending.
 */
export async function openConnection(
  client: RedisClient,
  events: ConnectionEvents,
  options: ConnectionOptions = {},
): Promise<RedisConnection> {
  let heard = performance.now()
  const connectionEvents: ConnectionEvents = {
    message: (channel, data) => {
      heard = performance.now()
      events.message(channel, data)
    },
    ended: events.ended,
  }
  const open = isNodeRedis(client)
    ? openNodeRedis(client, connectionEvents, options)
    : openIoRedis(client, connectionEvents, options)
  const commands = await open
  const hear = () => {
    heard = performance.now()
  }
  const command = (args: (string | Buffer)[]) => {
    const reply = commands.command(args)
    reply.then(hear, hear)
    return reply
  }
  const ping = () =>
    command(['PING']).catch((cause: unknown) => {
      // A broker that cannot save refuses PING, too.
      if (!(cause instanceof Error && cause.message.startsWith('MISCONF '))) throw cause
    })
  return {
    ...commands,
    command,
    ping,
    get heard() {
      return heard
    },
  }
}

/** What is said through a client. */
type Commands = Omit<RedisConnection, keyof SessionConnection>

async function openNodeRedis(
  original: RedisClient & NodeRedis,
  events: ConnectionEvents,
  { node, timeout, closing }: ConnectionOptions,
): Promise<Commands> {
  const { socket } = original.options ?? {}
  const overrides = {
    disableOfflineQueue: true,
    commandOptions: { timeout: 0 },
    socket: { ...socket, ...node, reconnectStrategy: false },
    // A cluster has one database; the URL would bring its own address.
    ...(node !== undefined && { url: undefined, database: 0 }),
  }
  // A copy of a client of node-redis is one, too.
  const client = original.duplicate(overrides) as NodeRedis
  const lastError = watch(client, events)
  client.on('sharded-channel-moved', () => events.ended(SLOT_IS_GONE))
  let isDestroyed = false
  const destroy = () => {
    isDestroyed = true
    quietly(() => client.destroy())
  }
  // A socket that was still connecting is not destroyed: the client would go on with it, and keep it open.
  client.on('connect', () => {
    if (isDestroyed) destroy()
  })
  await connected(client, lastError, destroy, timeout, closing)
  const listener: Listener = (message, channel) => events.message(channel.toString(), message)
  return {
    command: (args) => client.sendCommand(args, { typeMapping: BUFFERS }),
    subscribe: (channels) => client.subscribe(channels, listener, true),
    unsubscribe: (channels) => client.unsubscribe(channels, listener, true),
    subscribeShard: (channels) => client.sSubscribe(channels, listener, true),
    unsubscribeShard: (channels) => client.sUnsubscribe(channels, listener, true),
    destroy,
  }
}

/** RESP's type for strings of bytes, `$`: as Buffers. */
const BUFFERS = { 36: Buffer }

async function openIoRedis(
  original: RedisClient,
  events: ConnectionEvents,
  { node, timeout, closing }: ConnectionOptions,
): Promise<Commands> {
  const overrides = {
    lazyConnect: true,
    enableOfflineQueue: false,
    autoResubscribe: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: null,
    commandTimeout: undefined,
    retryStrategy: () => null,
    reconnectOnError: () => false,
    // A cluster has one database. To the client a shard channel is a key, which would get its prefix.
    ...(node !== undefined && { ...node, path: undefined, db: 0, keyPrefix: '' }),
  }
  // A copy of a client of ioredis is one, too.
  const client = original.duplicate(overrides) as IoRedis
  const lastError = watch(client, events)
  client.on('moved', () => events.ended(SLOT_IS_GONE))
  for (const event of ['messageBuffer', 'smessageBuffer'] as const)
    client.on(event, (channel, message) => events.message(channel.toString(), message))
  const destroy = () => quietly(() => client.disconnect())
  await connected(client, lastError, destroy, timeout, closing)
  return {
    command: ([command = '', ...args]) => client.callBuffer(String(command), ...args),
    subscribe: async (channels) => void (await client.subscribe(...channels)),
    unsubscribe: async (channels) => void (await client.unsubscribe(...channels)),
    subscribeShard: async (channels) => void (await client.ssubscribe(...channels)),
    unsubscribeShard: async (channels) => void (await client.sunsubscribe(...channels)),
    destroy,
  }
}

const SLOT_IS_GONE = 'a slot of the cluster has moved to another node'

/**
 * A client that cannot connect, or not in time, is destroyed. What ioredis rejects with says only that the
 * connection is closed: its last error says why.
 */
async function connected(
  client: NodeRedis | IoRedis,
  lastError: () => Error | undefined,
  destroy: () => void,
  timeout = CONNECT_TIMEOUT,
  closing?: AbortSignal,
): Promise<void> {
  try {
    await inTime(client.connect(), timeout, 'the broker has not replied', closing)
  } catch (cause) {
    destroy()
    throw lastError() ?? cause
  }
}

/** The last error, which the result gives, says why the connection has ended. */
function watch(client: NodeRedis | IoRedis, events: ConnectionEvents): () => Error | undefined {
  let last: Error | undefined
  const reason = () => last?.message || 'the connection was closed'
  client.on('error', (error) => {
    last = error ?? last
    events.ended(reason())
  })
  client.on('end', () => events.ended(reason()))
  return () => last
}

/** The client may have ended already. */
function quietly(action: () => void): void {
  try {
    action()
  } catch {
    // As asked.
  }
}
