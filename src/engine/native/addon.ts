/**
 * The addon as TypeScript sees it: what it exports, how it is loaded, and what its refusals of TLS material
 * mean.
 */
import { accessSync, constants, existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { EngineError, type ErrorCode, TlsError } from '../../errors.js'
import type {
  BoundAddress,
  CompressionAgreement,
  ConnectionId,
  ConnectionLimits,
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
import { packageRoot } from './package-root.js'
import { ADDON_FILE, findPlatformAddon } from './platform-package.js'
import { installedBy, remedy } from './remedy.js'
import { requireFrom } from './require.js'
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
  listen(address: ListenAddress): BoundAddress
  /** Gives 0 where the request was refused. Throws an Error with the system's code. */
  adopt(descriptor: number, input: Uint8Array): ExchangeId
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
    limits: ConnectionLimits | undefined,
  ): ConnectionId
  publish(topic: string, data: Payload, except: ConnectionId, compress: Compress, isText: boolean): boolean
}

/** A member of a hub, as the addon exports it (`native/binding/thread_member.h`). */
export interface AddonThreadMember {
  addInterest(topic: string, number: number): void
  removeInterest(topic: string): void
  publish(words: number): number
  publishLong(topic: string, data: Payload, flags: number): number
  close(): void
}

export interface ThreadMemberMemory {
  readonly outbox: ArrayBuffer
  readonly inbox: ArrayBuffer
  readonly attachments: unknown[]
  readonly deliver: (words: number) => void
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
  ThreadMember: new (hub: string, maxPendingBytes: number, memory: ThreadMemberMemory) => AddonThreadMember
  /**
   * Which OpenSSL, or AWS-LC, is compiled in: its name is the first word of `version`. `builtOn` is empty
   * where it is not known when it was compiled. An older addon, which the variable may name, does not have
   * this.
   */
  readonly openssl?: { readonly version: string; readonly builtOn: string }
  sendFragment(id: ConnectionId, data: Uint8Array, isBinary: boolean, isFirst: boolean, isLast: boolean, compress: number): void
  [ENGINE]?: Engine
}

/** What an addon tells of its OpenSSL, or AWS-LC. */
export interface TlsLibrary {
  /** `'OpenSSL'` or `'AWS-LC'`. */
  readonly name: string
  /** OpenSSL's with the day of the release. */
  readonly version: string
  /** When it was compiled; empty where that is not known. */
  readonly builtOn: string
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

/** Where an addon was loaded from. */
export interface LoadedAddon {
  readonly addon: Addon
  readonly file: string
  /** `'variable'`: named by NATIVE_WEBSOCKET_SERVER_ADDON. `'build'`: built here. Else a package's name. */
  readonly source: string
}

/** Names an addon, and no other is then tried: another build, or one beside a bundle. */
const ADDON_VARIABLE = 'NATIVE_WEBSOCKET_SERVER_ADDON'

/**
 * Loads the addon that the variable names; else the one that was built in this package's own folder; else
 * that of the platform package. Throws EngineError, with all that was tried and with what to do.
 */
export function loadAddon(): LoadedAddon {
  const named = process.env[ADDON_VARIABLE] || undefined
  if (named !== undefined) {
    const { addon, problem, cause, isMissing } = load(named)
    if (addon !== undefined) return { addon, file: named, source: 'variable' }
    const why = isMissing ? `there is no file ${resolve(named)}` : problem
    throw new EngineError(`${why}; ${ADDON_VARIABLE} names it`, { cause })
  }

  const root = packageRoot()
  if (root === undefined) throw new EngineError(`the native addon cannot be found: ${BUNDLED}`)
  const built = join(root, 'build', 'Release', ADDON_FILE)
  const own = load(built)
  if (own.addon !== undefined) return { addon: own.addon, file: built, source: 'build' }
  const platform = findPlatformAddon(root)
  const theirs: Loading = platform.file === undefined ? { problem: platform.problem } : load(platform.file)
  if (theirs.addon !== undefined && platform.file !== undefined)
    return { addon: theirs.addon, file: platform.file, source: platform.name }

  const [why, ...details] = own.isMissing ? installReason(root).split('\n') : []
  const isLeftOut = platform.file === undefined && platform.isLeftOut === true
  const reason = [own.problem, theirs.problem, why?.replace(/\.$/, ''), remedy(isLeftOut, installedBy(root))].filter(Boolean)
  throw new EngineError([reason.join('; '), ...details].join('\n').trimEnd(), { cause: theirs.cause ?? own.cause })
}

/** What to do about a bundle that was taken away from the package. */
const BUNDLED = `this program is a bundle, and the package native-websocket-server is not installed beside it; \
mark it as external for the bundler and install it there, or let ${ADDON_VARIABLE} name the file of the addon`

/** The addon in a file, or what keeps it from being loaded, in one line. */
interface Loading {
  readonly addon?: Addon
  readonly problem?: string
  readonly cause?: unknown
  readonly isMissing?: boolean
}

function load(file: string): Loading {
  try {
    accessSync(file, constants.R_OK)
  } catch (cause) {
    const code = String(Object(cause).code)
    if (code === 'ENOENT' || code === 'ENOTDIR') return { problem: `the native addon is not built (${file})`, isMissing: true }
    return { problem: `the native addon cannot be read (${file}): ${code}`, cause }
  }
  try {
    // A .node file can only be loaded by require; its shape is that of native/binding/addon.cpp.
    return { addon: requireFrom(resolve(file))(resolve(file)) as Addon }
  } catch (cause) {
    const [said] = String(cause instanceof Error ? cause.message : cause).split('\n', 1)
    return { problem: `the native addon cannot be loaded (${file}): ${said}`, cause }
  }
}

/**
 * Why the install step has built no addon; empty where it has left no reason. Without the file the step has
 * not run: package managers can be told to run no install scripts.
 */
function installReason(root: string): string {
  const file = join(root, 'build', 'install-reason.txt')
  return existsSync(file) ? readFileSync(file, 'utf8').trim() : 'the install script of this package has not run'
}

/** What the addon adds to the error for bad TLS material. */
interface TlsFailure {
  readonly tlsFailure: string
  /** Counted from 0, as are the blocks of the certificate or of the authorities in it. */
  readonly entry: number
  readonly block: number
}

/** The TLS library in an addon; undefined where an older addon does not tell. */
export function tlsLibraryOf({ openssl }: Addon): TlsLibrary | undefined {
  if (openssl === undefined) return undefined
  const [name = ''] = openssl.version.split(' ', 1)
  return { name, version: openssl.version.slice(name.length + 1), builtOn: openssl.builtOn }
}

/**
 * Throws TlsError in place of the addon's error: its OpenSSL may be stricter than the one that has checked
 * the entries.
 */
export function translateTlsFailure<T>(addon: Addon, entries: readonly EngineTls[] | undefined, make: () => T): T {
  try {
    return make()
  } catch (error) {
    if (!(error instanceof Error) || !('tlsFailure' in error)) throw error
    // The cast is for what native/binding/server_wrap.cpp adds together.
    const { tlsFailure, entry, block } = error as Error & TlsFailure
    const { code, sourceIn } = TLS_FAILURES[tlsFailure] ?? OTHER_TLS_FAILURE
    const sources = entries?.[entry]?.sources
    const source = sources && sourceIn(sources, block)
    const refused = `${tlsLibraryOf(addon)?.name ?? 'OpenSSL'} refused ${source?.name ?? 'the TLS settings'}`
    throw new TlsError(code, `${refused}: ${error.message}`, source?.file, { cause: error })
  }
}
