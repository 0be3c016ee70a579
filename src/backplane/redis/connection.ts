/** One connection to Redis, through either of the two clients. */
import { Buffer } from 'node:buffer'

/** A client of `redis` (node-redis) or `ioredis`, of which copies are made. */
export interface RedisClient {
  /** Makes a client with the same options, but for these. */
  duplicate(overrides?: object): object
}

/** What both clients can do, under one name. */
export interface RedisConnection {
  command(args: (string | Buffer)[]): Promise<unknown>
  subscribe(channels: string[]): Promise<void>
  unsubscribe(channels: string[]): Promise<void>
  destroy(): void
}

export interface ConnectionEvents {
  message(channel: string, data: Uint8Array): void
  ended(reason: string): void
}

type Listener = (message: Buffer, channel: Buffer) => void

/** Of node-redis, what is used here. */
interface NodeRedis {
  readonly options?: { readonly url?: string; readonly socket?: Readonly<Record<string, unknown>> }
  on(event: 'error' | 'end', listener: (error?: Error) => void): unknown
  connect(): Promise<unknown>
  sendCommand(args: readonly (string | Buffer)[], options?: object): Promise<unknown>
  subscribe(channels: string[], listener: Listener, bufferMode: true): Promise<void>
  unsubscribe(channels: string[], listener: Listener, bufferMode: true): Promise<void>
  destroy(): void
}

/** Of ioredis, what is used here. */
interface IoRedis {
  readonly options: { readonly host?: string; readonly port?: number; readonly path?: string }
  on(event: 'error' | 'end', listener: (error?: Error) => void): unknown
  on(event: 'messageBuffer', listener: (channel: Buffer, message: Buffer) => void): unknown
  connect(): Promise<unknown>
  callBuffer(command: string, ...args: (string | Buffer)[]): Promise<unknown>
  subscribe(...channels: string[]): Promise<unknown>
  unsubscribe(...channels: string[]): Promise<unknown>
  disconnect(): void
}

/** Whether it is a client of node-redis; the other ones are of ioredis. */
function isNodeRedis(client: object): client is NodeRedis {
  return 'sendCommand' in client && 'isReady' in client
}

/** Whether it is one of the clients that are known. */
export function isRedisClient(client: object): client is RedisClient {
  return 'duplicate' in client && (isNodeRedis(client) || 'callBuffer' in client)
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
export async function openConnection(client: RedisClient, events: ConnectionEvents): Promise<RedisConnection> {
  return await (isNodeRedis(client) ? openNodeRedis(client, events) : openIoRedis(client, events))
}

async function openNodeRedis(original: RedisClient & NodeRedis, events: ConnectionEvents): Promise<RedisConnection> {
  const overrides = {
    disableOfflineQueue: true,
    commandOptions: { timeout: 0 },
    socket: { ...original.options?.socket, reconnectStrategy: false },
  }
  // A copy of a client of node-redis is one, too.
  const client = original.duplicate(overrides) as NodeRedis
  watch(client, events)
  await client.connect()
  const listener: Listener = (message, channel) => events.message(channel.toString(), message)
  return {
    command: (args) => client.sendCommand(args, { typeMapping: BUFFERS }),
    subscribe: (channels) => client.subscribe(channels, listener, true),
    unsubscribe: (channels) => client.unsubscribe(channels, listener, true),
    destroy: () => quietly(() => client.destroy()),
  }
}

/** RESP's type for strings of bytes, `$`: as Buffers. */
const BUFFERS = { 36: Buffer }

async function openIoRedis(original: RedisClient, events: ConnectionEvents): Promise<RedisConnection> {
  const overrides = {
    lazyConnect: true,
    enableOfflineQueue: false,
    autoResubscribe: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: null,
    commandTimeout: undefined,
    retryStrategy: () => null,
    reconnectOnError: () => false,
  }
  // A copy of a client of ioredis is one, too.
  const client = original.duplicate(overrides) as IoRedis
  watch(client, events)
  client.on('messageBuffer', (channel, message) => events.message(channel.toString(), message))
  await client.connect()
  return {
    command: ([command = '', ...args]) => client.callBuffer(String(command), ...args),
    subscribe: async (channels) => void (await client.subscribe(...channels)),
    unsubscribe: async (channels) => void (await client.unsubscribe(...channels)),
    destroy: () => quietly(() => client.disconnect()),
  }
}

/** The last error says why the connection has ended. */
function watch(client: NodeRedis | IoRedis, events: ConnectionEvents): void {
  let reason = 'the connection was closed'
  client.on('error', (error) => {
    reason = error?.message || reason
    events.ended(reason)
  })
  client.on('end', () => events.ended(reason))
}

/** The client may have ended already. */
function quietly(action: () => void): void {
  try {
    action()
  } catch {
    // As asked.
  }
}
