/** What a server counts above its engine, and how these counts become `metrics()`. */
import type { EngineCounters } from '../engine/contract.js'
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
}

/** Before the first `listen` there is no engine's server that could have counted. */
const NOTHING_COUNTED: EngineCounters = {
  tcpConnections: 0,
  messagesReceived: 0,
  bytesReceived: 0,
  messagesSent: 0,
  bytesSent: 0,
  messagesDropped: 0,
}

/** A snapshot: later events do not change it. */
export function toMetrics(counters: Counters, engine: EngineCounters = NOTHING_COUNTED): Metrics {
  return { ...counters, connectionsOpen: counters.connectionsAccepted - counters.connectionsClosed, ...engine }
}
