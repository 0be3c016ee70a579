/**
 * The addon as TypeScript sees it: what it exports, how it is loaded, and what its refusals of TLS material
 * mean.
 */
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { EngineError, type ErrorCode, TlsError } from '../../errors.js'
import type {
  CompressionAgreement,
  ConnectionId,
  Engine,
  EngineConnections,
  EngineHttp,
  EngineServer,
  EngineServerOptions,
  EngineTls,
  ExchangeId,
  ListenAddress,
  Payload,
  TlsSource,
} from '../contract.js'
import type { Compress } from './channel-layout.js'
import type { ChannelAddon } from './shared-channel.js'

/**
 * The property of the addon (one for each thread) that holds the engine: the engine's module may be evaluated
 * more than once, by test runners for example.
 */
export const ENGINE = Symbol.for('native-websocket-server.engine')

/** The class that the addon exports (`native/binding/server_wrap.h`). */
export interface AddonServer
  extends Omit<EngineHttp, 'respond' | 'beginResponse'>,
    Pick<EngineServer, 'stopListening' | 'reloadTls' | 'subscribers' | 'counters' | 'dispose'> {
  listen(address: ListenAddress): number
  ref(keepAlive: boolean): void
  respondWith(
    exchange: ExchangeId,
    status: string,
    headers: readonly string[],
    closes: boolean,
    contentLength: number | undefined,
    body: Uint8Array | undefined,
  ): boolean
  beginResponseWith(
    exchange: ExchangeId,
    status: string,
    headers: readonly string[],
    closes: boolean,
    contentLength: number | undefined,
  ): boolean
  accept(
    exchange: ExchangeId,
    route: number,
    protocol: string,
    headers: readonly string[],
    compression: CompressionAgreement | undefined,
  ): ConnectionId
  publish(topic: string, data: Payload, except: ConnectionId, compress: Compress, isText: boolean): boolean
}

/** The addon's calls for connections that are the engine's own: they find a connection by its id. */
type ConnectionCalls = Pick<
  EngineConnections,
  | 'beginMessage'
  | 'readyForFragment'
  | 'withdrawMessage'
  | 'pause'
  | 'resume'
  | 'subscribe'
  | 'unsubscribe'
  | 'isSubscribed'
  | 'topics'
>

export interface Addon extends ChannelAddon, ConnectionCalls {
  WebSocketServer: new (number: number, options: EngineServerOptions) => AddonServer
  sendFragment(id: ConnectionId, data: Uint8Array, isBinary: boolean, isFirst: boolean, isLast: boolean, compress: number): void
  [ENGINE]?: Engine
}

interface TlsFailureKind {
  readonly code: ErrorCode
  sourceIn(sources: EngineTls['sources'], block: number): TlsSource | undefined
}

/** The addon's words for bad TLS material, and the error code and source that each word stands for. */
const TLS_FAILURES: Readonly<Record<string, TlsFailureKind>> = {
  key: { code: 'ERR_TLS_KEY', sourceIn: ({ key }) => key },
  passphrase: { code: 'ERR_TLS_PASSPHRASE', sourceIn: ({ key }) => key },
  certificate: { code: 'ERR_TLS_CERTIFICATE', sourceIn: ({ cert }, block) => cert[block] },
  authority: { code: 'ERR_TLS_CERTIFICATE', sourceIn: ({ ca }, block) => ca[block] },
  mismatch: { code: 'ERR_TLS_MISMATCH', sourceIn: ({ key }) => key },
}
const OTHER_TLS_FAILURE: TlsFailureKind = { code: 'ERR_TLS_CONTEXT', sourceIn: ({ settings }) => settings }

/** Throws EngineError. */
export function loadAddon(): Addon {
  // The variable names another build of the addon: the one with the sanitizers, for example.
  const named = process.env.NATIVE_WEBSOCKET_SERVER_ADDON
  const file = named ?? fileURLToPath(new URL('build/Release/native_websocket_server.node', ROOT))
  try {
    // A .node file can only be loaded by require; its shape is that of native/binding/addon.cpp.
    return createRequire(import.meta.url)(file) as Addon
  } catch (cause) {
    const isThere = existsSync(file)
    const said = String(cause instanceof Error ? cause.message : cause)
    const why = installReason() ?? (isThere || named !== undefined ? said : NEVER_INSTALLED)
    throw new EngineError(`the native addon ${isThere ? 'cannot be loaded' : 'is not built'} (${file}): ${why}`, { cause })
  }
}

/** The package's own folder. */
const ROOT = new URL('../../../', import.meta.url)

/**
 * An install step that builds nothing leaves its reason in a file. Without that file the step never ran: npm
 * can be told to run no install scripts.
 */
const NEVER_INSTALLED =
  'the package\'s install script has not run; "npm rebuild native-websocket-server --ignore-scripts=false" runs it (in a clone: "npm run build")'

/** Why the install step has built no addon. */
function installReason(): string | undefined {
  const file = new URL('build/install-reason.txt', ROOT)
  return existsSync(file) ? readFileSync(file, 'utf8').trim() : undefined
}

/** What the addon adds to the error for bad TLS material. */
interface TlsFailure {
  readonly tlsFailure: string
  /** Counted from 0, as are the blocks of the certificate or of the authorities in it. */
  readonly entry: number
  readonly block: number
}

/**
 * Throws TlsError in place of the addon's error: its OpenSSL may be stricter than the one that has checked
 * the entries.
 */
export function translateTlsFailure<T>(entries: readonly EngineTls[] | undefined, make: () => T): T {
  try {
    return make()
  } catch (error) {
    if (!(error instanceof Error) || !('tlsFailure' in error)) throw error
    // The cast is for what native/binding/server_wrap.cpp adds together.
    const { tlsFailure, entry, block } = error as Error & TlsFailure
    const { code, sourceIn } = TLS_FAILURES[tlsFailure] ?? OTHER_TLS_FAILURE
    const sources = entries?.[entry]?.sources
    const source = sources && sourceIn(sources, block)
    throw new TlsError(code, `OpenSSL refused ${source?.name ?? 'the TLS settings'}: ${error.message}`, source?.file, {
      cause: error,
    })
  }
}
