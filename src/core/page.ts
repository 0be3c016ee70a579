/** What a page of `src/pages/` and its server know of each other. */
import type { EngineName } from '../engine/contract.js'
import type { BackplaneMetrics, Metrics, RouteHandler, Socket } from '../types/index.js'
import type { Timings } from './timings.js'

/** A server, as its pages see it. */
export interface PageHost {
  readonly engine: EngineName
  metrics(): Metrics
  /** Undefined without a backplane. */
  backplaneMetrics(): BackplaneMetrics | undefined
  /** Those that have not ended. */
  sockets(): Iterable<Socket<unknown>>
  /** From the first call of this on, which must come before the server listens, handlers are measured. */
  measure(): Timings
}

/** Only a page has this member: it makes the handler that serves the page for one server. */
export const kPage: unique symbol = Symbol('native-websocket-server.page')

/** A page before it is registered. */
export interface Page extends RouteHandler<string> {
  readonly [kPage]: (host: PageHost) => RouteHandler<string>
}

/** The handler to register in place of the one that was given: the same, unless it is a page. */
export function handlerFor<P extends string>(handler: RouteHandler<P>, host: () => PageHost): RouteHandler<P> {
  return isPage(handler) ? handler[kPage](host()) : handler
}

function isPage(handler: object): handler is Page {
  return kPage in handler
}
