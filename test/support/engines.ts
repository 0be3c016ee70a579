/** The engines under test, and servers that are closed when their test ends. */
import { describe, onTestFinished, test } from 'vitest'
import { reportEngine } from '../../src/engine/report.js'
import { type ServerOptions, type WebSocketHandlers, WebSocketServer } from '../../src/index.js'
import { localhostCertificate } from './certificates.js'

export type EngineName = 'native' | 'portable'

/**
 * NATIVE_WEBSOCKET_SERVER_TEST_ENGINE names the only engine to test: the sanitizers see nothing of the
 * portable one.
 */
const ONLY = process.env.NATIVE_WEBSOCKET_SERVER_TEST_ENGINE
const ENGINES = (['native', 'portable'] as const).filter((name) => ONLY === undefined || ONLY === name)

/** Set where a missing addon must fail the run rather than skip half of it. */
const NATIVE_REQUIRED = process.env.NATIVE_WEBSOCKET_SERVER_REQUIRE_NATIVE === '1'

/** Why each engine cannot be tested here; undefined when it can. */
const ABSENCE: Record<EngineName, string | undefined> = { native: whyAbsent('native'), portable: whyAbsent('portable') }

function whyAbsent(engine: EngineName): string | undefined {
  try {
    new WebSocketServer({ engine })
    return undefined
  } catch (error) {
    return String(error instanceof Error ? error.message : error)
  }
}

/** The engines that can be tested here. */
export const AVAILABLE_ENGINES: readonly EngineName[] = ENGINES.filter((name) => ABSENCE[name] === undefined)

/** What speaks TLS in an engine: `'OpenSSL'`, or `'AWS-LC'` where the addon was built with it. */
export function tlsLibraryOf(engine: EngineName): string {
  const { addon } = reportEngine()
  return (engine === 'native' && typeof addon === 'object' && addon.tlsLibrary?.name) || 'OpenSSL'
}

/**
 * Describes one behaviour on both engines. An engine that cannot be loaded is skipped, with the reason in the
 * title, but fails when it is the portable one, or when `NATIVE_WEBSOCKET_SERVER_REQUIRE_NATIVE=1` asks for
 * the native one.
 */
export function describeEngines(name: string, body: (engine: EngineName) => void): void {
  describeOnEach(name, body, false)
}

/**
 * The same for tests that mostly wait: those of both engines are run at once, and each cleans up by its own
 * context's `onTestFinished`.
 */
export function describeEnginesAtOnce(name: string, body: (engine: EngineName) => void): void {
  describeOnEach(name, body, true)
}

function describeOnEach(name: string, body: (engine: EngineName) => void, concurrent: boolean): void {
  for (const engine of ENGINES) {
    const title = `${name} [${engine}]`
    const reason = ABSENCE[engine]
    if (reason === undefined) {
      describe(title, { concurrent }, () => body(engine))
    } else if (engine === 'portable' || NATIVE_REQUIRED) {
      describe(title, () => {
        test('the engine loads', () => {
          throw new Error(reason)
        })
      })
    } else {
      describe.skip(`${title} (skipped: ${reason.split('\n', 1)[0]})`, () => body(engine))
    }
  }
}

/** Registers what to do when the test has ended. Concurrent tests pass their own context's. */
export type Cleanup = (action: () => Promise<void> | void) => void

export interface ServeOptions {
  /** Options of the server besides the engine. `tls: true` stands for the test certificate. */
  readonly server?: Omit<ServerOptions, 'engine' | 'tls'> & { tls?: ServerOptions['tls'] | true }
  /** Path of the handlers' route. Default `/*`. */
  readonly path?: string
  /** Address to listen on. Default 127.0.0.1. */
  readonly host?: string
  /** Adds routes before the server listens. */
  readonly routes?: (server: WebSocketServer) => void
  readonly cleanup?: Cleanup
}

/** Where clients reach a server. */
export interface Address {
  readonly port: number
  readonly host: string
  readonly secure: boolean
  /** `ws://…` or `wss://…` */
  wsUrl(path?: string): string
  /** `http://…` or `https://…` */
  httpUrl(path?: string): string
}

/** A server of this process that listens. */
export interface Served extends Address {
  readonly server: WebSocketServer
}

export function addressOf(port: number, host = '127.0.0.1', secure = false): Address {
  const authority = `${host.includes(':') ? `[${host}]` : host}:${port}`
  return {
    port,
    host,
    secure,
    wsUrl: (path = '/') => `${secure ? 'wss' : 'ws'}://${authority}${path}`,
    httpUrl: (path = '/') => `${secure ? 'https' : 'http'}://${authority}${path}`,
  }
}

/** A server that does not listen yet; it is closed when the test ends. */
export function makeServer(engine: EngineName, options: ServeOptions = {}): WebSocketServer {
  const { tls, ...others } = options.server ?? {}
  const server = new WebSocketServer({ engine, ...others, ...(tls && { tls: tls === true ? localhostCertificate() : tls }) })
  const cleanup = options.cleanup ?? onTestFinished
  cleanup(() => server.close({ timeout: 1000 }))
  return server
}

/** Starts a server with one WebSocket route; it is closed when the test ends. */
export async function serve<T = undefined>(
  engine: EngineName,
  handlers: WebSocketHandlers<T> = {},
  options: ServeOptions = {},
): Promise<Served> {
  const server = makeServer(engine, options)
  options.routes?.(server)
  server.ws<T>(options.path ?? '/*', handlers)
  return listen(server, options)
}

/** Lets a prepared server listen on a port of the system's choice. */
export async function listen(server: WebSocketServer, options: ServeOptions = {}): Promise<Served> {
  const host = options.host ?? '127.0.0.1'
  const { port } = await server.listen({ port: 0, host })
  return { server, ...addressOf(port, host, options.server?.tls !== undefined) }
}
