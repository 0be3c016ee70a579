/**
 * crossws' adapter for this server. What is the same, what differs and what is missing:
 * docs/compatibility.md.
 *
 * ```ts
 * const ws = crossws({ hooks: { message: (peer, message) => void peer.send(message.text()) } })
 * const server = new WebSocketServer()
 * ws.mount(server)
 * await server.listen({ port: 3000 })
 * ```
 */
import {
  type Accept,
  type Awaitable,
  type CompressionOptions,
  NotSupportedError,
  type UpgradeRequest,
  type WebSocketHandlers,
  type WebSocketServer,
} from '../index.js'
import { callHook, type HookOptions, type HookRequest, type Hooks, type UpgradeResult } from './crossws/hooks.js'
import { Message } from './crossws/message.js'
import { type Carried, dataOf, Peer, topicOf } from './crossws/peer.js'

export type { HookRequest, Hooks, PerMessageDeflate, UpgradeResult } from './crossws/hooks.js'
export type { Message } from './crossws/message.js'
export type { Carried, Peer, PeerSendOptions, PeerWebSocket, WaitForDrainOptions } from './crossws/peer.js'

/** Limits of the routes on which the adapter is mounted. */
export type Limits = Omit<
  WebSocketHandlers<Carried>,
  'upgrade' | 'handshake' | 'open' | 'message' | 'drain' | 'ping' | 'pong' | 'close' | 'error'
>

export interface CrosswsOptions extends HookOptions {
  /** Peers of one namespace share topics. Default: the path of the request. */
  getNamespace?(request: HookRequest): string
  /**
   * The subprotocol for a client that offers some, unless the `upgrade` hook has chosen one: one of those, or
   * nothing.
   */
  handleProtocols?(protocols: Set<string>, request: HookRequest): Awaitable<string | false | null | undefined>
  /** Seconds, as `limits.idleTimeout`; fractions are left out. Default 30. */
  idleTimeout?: number
  limits?: Limits
  /** Throws NotSupportedError: the server's `backplane` carries topics between processes. */
  sync?: undefined
}

export interface PublishOptions {
  compress?: boolean
  /** Default: all namespaces. */
  namespace?: string
}

export interface CrosswsAdapter {
  /** By namespace. */
  readonly peers: Map<string, Set<Peer>>
  /** Serves a path of a server, which does not listen yet; may be called for several. */
  mount(server: WebSocketServer, path?: string): void
  /** To every subscriber of one namespace, or of all that have peers here; behind the backplane too. */
  publish(topic: string, data: unknown, options?: PublishOptions): void
  /** Closes every peer. Servers stay yours to close. */
  close(code?: number, reason?: string): Promise<void>
}

/** Hooks that were typed by crossws: its Peer and Message have private members, which ours cannot have. */
export interface CrosswsTypedOptions extends Omit<CrosswsOptions, 'hooks' | 'resolve'> {
  hooks?: Readonly<Partial<Record<keyof Hooks, (...given: never[]) => unknown>>>
}

/** Throws NotSupportedError. */
export default function crossws(options?: CrosswsOptions): CrosswsAdapter
/** As above, with what `defineHooks` of crossws has made. */
export default function crossws(options: CrosswsTypedOptions): CrosswsAdapter
export default function crossws(given: CrosswsOptions | CrosswsTypedOptions = {}): CrosswsAdapter {
  // Hooks of either type get what crossws' own would.
  const options = given as CrosswsOptions
  if (options.sync !== undefined) throw new NotSupportedError('the option sync of crossws', 'give the server a `backplane`')
  const peers = new Map<string, Set<Peer>>()
  const servers = new Set<WebSocketServer>()
  const handlers = handlersOf(options, peers)
  return {
    peers,
    mount(server, path = '/*') {
      server.ws<Carried>(path, handlers)
      servers.add(server)
    },
    publish(topic, data, { compress, namespace } = {}) {
      for (const name of namespace === undefined ? peers.keys() : [namespace]) {
        for (const server of servers) server.publish(topicOf(name, topic), dataOf(data), compress)
      }
    },
    async close(code, reason) {
      for (const group of peers.values()) for (const peer of group) peer.close(code, reason)
    },
  }
}

function handlersOf(options: CrosswsOptions, peers: Map<string, Set<Peer>>): WebSocketHandlers<Carried> {
  const call = (
    { data }: { readonly data: Carried },
    hook: (hooks: Partial<Hooks>, peer: Peer) => Awaitable<void> | undefined,
  ): Awaitable<void> => {
    const { peer, request } = data
    if (peer !== undefined) return callHook(options, request, (hooks) => hook(hooks, peer))
  }
  return {
    idleTimeout: Math.floor(options.idleTimeout ?? IDLE_TIMEOUT),
    ...options.limits,
    upgrade: (request) => upgrade(options, request),
    open(socket) {
      const { namespace } = socket.data
      const group = peers.get(namespace) ?? new Set<Peer>()
      peers.set(namespace, group)
      socket.data.peer = new Peer(socket, group)
      group.add(socket.data.peer)
      return call(socket, (hooks, peer) => hooks.open?.(peer))
    },
    message: (socket, message) => call(socket, (hooks, peer) => hooks.message?.(peer, new Message(message, peer))),
    drain: (socket) => call(socket, (hooks, peer) => hooks.drain?.(peer)),
    ping: (socket, data) => call(socket, (hooks, peer) => hooks.ping?.(peer, data)),
    pong: (socket, data) => call(socket, (hooks, peer) => hooks.pong?.(peer, data)),
    close(socket, code, reason) {
      const { namespace, peer } = socket.data
      const group = peers.get(namespace)
      if (peer !== undefined) group?.delete(peer)
      // Namespaces may be chosen by clients, as paths are.
      if (group?.size === 0) peers.delete(namespace)
      return call(socket, (hooks, of) => hooks.close?.(of, { code, reason }))
    },
    async error(error, socket) {
      let isHandled = false
      await call(socket, (hooks, peer) => {
        if (hooks.error === undefined) return undefined
        isHandled = true
        return hooks.error(peer, toError(error))
      })
      // The server reports what this handler throws, as it does for a route without an `error` handler.
      if (!isHandled) throw error
    },
  }
}

async function upgrade(options: CrosswsOptions, request: UpgradeRequest): Promise<Accept<Carried> | Response> {
  const context: Record<string, unknown> = {}
  const asked: HookRequest = Object.assign(request, { context })
  const result = await refusedOr(async () => callHook(options, asked, (hooks) => hooks.upgrade?.(asked)))
  if (result instanceof Response) return result
  const { headers, namespace = options.getNamespace?.(asked) ?? request.path, context: more, handled } = result ?? {}
  const compression = compressionOf(result?.perMessageDeflate, options)
  if (handled) throw new NotSupportedError('`handled` of the upgrade hook', 'accept the connection, or return a Response')
  const fields = [...new Headers(headers)]
  const protocol = result?.protocol || fields.find(([name]) => name === PROTOCOL)?.[1] || (await protocolOf(options, asked))
  return {
    data: { request: asked, namespace, context: Object.assign(context, more), peer: undefined },
    headers: fields.filter(([name]) => name !== PROTOCOL),
    ...(protocol && { protocol }),
    ...(compression !== undefined && { compression }),
  }
}

/** As `handleProtocols` chooses. */
async function protocolOf({ handleProtocols }: CrosswsOptions, request: HookRequest): Promise<string | false | null | undefined> {
  return request.protocols.length === 0 ? undefined : handleProtocols?.(new Set(request.protocols), request)
}

/** Undefined for that of the route. */
function compressionOf(
  given: UpgradeResult['perMessageDeflate'],
  { limits }: CrosswsOptions,
): false | CompressionOptions | undefined {
  if (given === undefined || given === false) return given
  if (!limits?.compression) {
    throw new NotSupportedError('`perMessageDeflate` of the upgrade hook', 'give the adapter `limits` with `compression`')
  }
  if (given === true) return undefined
  const { serverNoContextTakeover, clientNoContextTakeover, threshold, ...others } = given
  const [other] = Object.keys(others)
  if (other !== undefined) {
    throw new NotSupportedError(`\`perMessageDeflate.${other}\` of the upgrade hook`, 'use `limits.compression` of the adapter')
  }
  return {
    ...(serverNoContextTakeover && { compressor: 'shared' as const }),
    ...(clientNoContextTakeover && { decompressor: 'shared' as const }),
    ...(threshold !== undefined && { threshold }),
  }
}

/** Seconds; that of crossws. */
const IDLE_TIMEOUT = 30

const PROTOCOL = 'sec-websocket-protocol'

/** A hook refuses with a Response, or with an object that has one: returned or thrown. */
async function refusedOr<T>(ask: () => Promise<T>): Promise<T | Response> {
  try {
    return await ask()
  } catch (error) {
    const response: unknown = typeof error === 'object' && error !== null && 'response' in error ? error.response : error
    if (response instanceof Response) return response
    throw error
  }
}

function toError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error), { cause: error })
}
