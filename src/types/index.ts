/**
 * The types of the public interface, by subject. What docs/api.md says is made of their docstrings (`npm run
 * docs`).
 */
export * from '../backplane/contract.js'
export * from './backplane.js'
export * from './common.js'
export * from './diagnostics.js'
export * from './http.js'
export * from './listen.js'
export * from './metrics.js'
export * from './pages.js'
export * from './server.js'
export * from './socket.js'
export * from './tls.js'
export * from './upgrade.js'
export * from './websocket.js'
