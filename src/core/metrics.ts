/** What a server counts above its engine, and how these counts become `metrics()`. */
import { type EngineCounters, NO_COUNTERS } from '../engine/contract.js'
import type { Metrics } from '../types/index.js'

/** Plain fields: the code that sees an event adds to its counter. */
export class Counters {
  connectionsAccepted = 0
  connectionsClosed = 0
  upgradesRefused = 0
  upgradesRefusedByOrigin = 0
  upgradesRefusedByLimit = 0
  upgradesRefusedByAddress = 0
  upgradesRefusedByHandler = 0
  httpRequests = 0
  rateLimitPauses = 0
  rateLimitCloses = 0
  handlerErrors = 0
  /** Messages that `send` has refused for want of room. */
  sendsDropped = 0
}

/** A snapshot: later events do not change it. `engine` is left out before the server has listened. */
export function toMetrics(counters: Counters, engine: EngineCounters = NO_COUNTERS): Metrics {
  const { sendsDropped, ...counted } = counters
  const { publishesDropped, ...carried } = engine
  return {
    ...counted,
    connectionsOpen: counters.connectionsAccepted - counters.connectionsClosed,
    ...carried,
    messagesDropped: sendsDropped + publishesDropped,
  }
}
