/** Hooks of crossws, and how they are called: those of the adapter, then those that `resolve` gives. */
import type { Awaitable, UpgradeRequest } from '../../index.js'
import type { Message } from './message.js'
import type { Peer } from './peer.js'

/** What the `upgrade` hook may return to accept; it refuses with a Response, thrown or returned. */
export interface UpgradeResult {
  headers?: ConstructorParameters<typeof Headers>[0]
  /** One of those that the client has offered. */
  protocol?: string
  /**
   * `false` for a connection without compression; `true`, or what crossws has of it, where the adapter's
   * `limits` have `compression`.
   */
  perMessageDeflate?: boolean | PerMessageDeflate
  namespace?: string
  context?: Record<string, unknown>
  /** Throws NotSupportedError: the connection is this server's, and no other code can take it. */
  handled?: boolean
}

/** As crossws has it; everything else that crossws has of it throws NotSupportedError. */
export interface PerMessageDeflate {
  serverNoContextTakeover?: boolean
  clientNoContextTakeover?: boolean
  threshold?: number
}

/** The request with the context that its connection will have. */
export type HookRequest = UpgradeRequest & { readonly context?: Record<string, unknown> }

export interface Hooks {
  // `void` is what a hook without a return statement returns.
  // biome-ignore lint/suspicious/noConfusingVoidType: see above
  upgrade(request: HookRequest): Awaitable<UpgradeResult | Response | void>
  open(peer: Peer): Awaitable<void>
  message(peer: Peer, message: Message): Awaitable<void>
  close(peer: Peer, details: { code?: number; reason?: string }): Awaitable<void>
  drain(peer: Peer): Awaitable<void>
  ping(peer: Peer, data: Uint8Array): Awaitable<void>
  pong(peer: Peer, data: Uint8Array): Awaitable<void>
  error(peer: Peer, error: Error): Awaitable<void>
}

export interface HookOptions {
  hooks?: Partial<Hooks>
  resolve?(request: HookRequest): Awaitable<Partial<Hooks> | undefined>
}

/**
 * Calls a hook of the adapter, and the same hook of what `resolve` gives for the request; the latter's result
 * comes first. Without `resolve`, at once.
 */
export function callHook<R>(
  { hooks, resolve }: HookOptions,
  request: HookRequest,
  call: (hooks: Partial<Hooks>) => Awaitable<R> | undefined,
): Awaitable<R | undefined> {
  const own = hooks && call(hooks)
  if (resolve === undefined) return own
  return (async () => {
    const [result, resolved] = await Promise.all([own, resolve(request)])
    return (resolved && (await call(resolved))) || result
  })()
}
