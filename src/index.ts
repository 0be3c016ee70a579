/** The public API, and nothing but. */
export type { EngineName } from './engine/contract.js'
export {
  ClosedError,
  EngineError,
  ERROR_CODES,
  type ErrorCode,
  ListenError,
  OptionError,
  TlsError,
  WebSocketServerError,
} from './errors.js'
export { WebSocketServer } from './server.js'
export * from './types.js'
