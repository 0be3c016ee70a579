/**
 * Put before a suite of another package (`node --require`): what asks for that package gets the face of this
 * one. In CommonJS, since the suites are.
 */
'use strict'
const Module = require('node:module')
const { join } = require('node:path')
const process = require('node:process')

const faces = join(__dirname, '..', '..', 'dist', 'cjs', 'faces')

/** @type {Record<string, string>} */
const FILES = { 'uWebSockets.js': join(faces, 'uws.js') }
// `_resolveFilename` is how Node itself lets loaders in; its types know nothing of it.
const loader = /** @type {{ _resolveFilename(request: string, ...rest: unknown[]): string }} */ (/** @type {unknown} */ (Module))
const resolve = loader._resolveFilename
loader._resolveFilename = (request, ...rest) => FILES[request] ?? resolve.call(Module, request, ...rest)

if (process.env.SUITE_WS_DIRECTORY !== undefined) mix(process.env.SUITE_WS_DIRECTORY)

/**
 * The suite of `ws` takes clients and servers from one class: clients stay those of `ws`, and servers, with
 * their sockets, are the face's.
 * @param {string} directory
 */
function mix(directory) {
  const index = require.resolve(directory)
  const Client = require(index)
  const face = require(join(faces, 'ws.js'))
  const createStream = Client.createWebSocketStream
  const mixed = new Proxy(face.WebSocket, {
    construct: (target, given, derived) => (derived === mixed ? new Client(...given) : Reflect.construct(target, given, derived)),
    get: (target, name) => (name === Symbol.hasInstance ? isSocket : (own[name] ?? Reflect.get(target, name))),
  })
  /** @type {Record<string | symbol, unknown>} */
  const own = {
    WebSocket: mixed,
    Server: face.WebSocketServer,
    WebSocketServer: face.WebSocketServer,
    createWebSocketStream: (/** @type {unknown} */ socket, /** @type {unknown} */ options) =>
      (socket instanceof face.WebSocket ? face.createWebSocketStream : createStream)(socket, options),
  }
  /** @param {unknown} value */
  function isSocket(value) {
    return value instanceof Client || value instanceof face.WebSocket
  }
  const cached = require.cache[index]
  if (cached !== undefined) cached.exports = mixed
}
