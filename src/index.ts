/// <reference types="node" preserve="true" />
/**
 * The public API, and nothing else. The API's types need those of Node, also where a project's configuration
 * names no types.
 */

export type { EngineName } from './engine/contract.js'
export {
  AdoptError,
  BackplaneError,
  ClosedError,
  ContentLengthError,
  DroppedError,
  EngineError,
  ERROR_CODES,
  type ErrorCode,
  ListenError,
  NotSupportedError,
  OptionError,
  TlsError,
  WebSocketServerError,
} from './errors.js'
export { writeResponse } from './http/response-writer.js'
export { consolePage } from './pages/console.js'
export { metricsPage } from './pages/metrics.js'
export { WebSocketServer } from './server.js'
export * from './types/index.js'
export { duplex } from './websocket/duplex.js'
export { messages } from './websocket/messages.js'
