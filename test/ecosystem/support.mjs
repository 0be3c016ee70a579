/** Servers of the face of `ws`, on each engine that is here, for programs that were written for `ws`. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import process from 'node:process'
import { after, before, describe } from 'node:test'
import WebSocket from 'ws'
import face, { WebSocketServer } from '../../dist/faces/ws.js'
import { WebSocketServer as EngineServer } from '../../dist/index.js'

/** A promise that is given its value from outside, in time. */
export function eventually(what, milliseconds = 20_000) {
  let resolve
  const promise = new Promise((done, reject) => {
    const timer = setTimeout(() => reject(new Error(`waited in vain for ${what}`)), milliseconds)
    resolve = (value) => {
      clearTimeout(timer)
      done(value)
    }
  })
  return { promise, resolve }
}

/** Describes what a program does, on both engines. */
export function onEngines(name, body) {
  for (const engine of ['native', 'portable']) {
    try {
      new EngineServer({ engine })
    } catch (error) {
      describe(`${name} [${engine}]`, { skip: error.message })
      continue
    }
    describe(`${name} [${engine}]`, () => body(engine))
  }
}

/** A server of the face, and where it is; closed when the tests of its engine are done. */
export async function serve(engine, options = {}) {
  const server = new WebSocketServer({ engine, host: '127.0.0.1', port: 0, ...options })
  after(async () => {
    for (const socket of server.clients) socket.terminate()
    await new Promise((resolve) => server.close(resolve))
  })
  await once(server, 'listening')
  return { server, url: `ws://127.0.0.1:${server.address().port}` }
}

/** Has programs that make their server themselves find the engine in the environment. */
export function chooseEngine(engine) {
  before(() => {
    process.env.NATIVE_WEBSOCKET_SERVER_ENGINE = engine
  })
  after(() => {
    delete process.env.NATIVE_WEBSOCKET_SERVER_ENGINE
  })
}

/** Lets a server of `node:http` listen until the tests of its engine are done, and gives its port. */
export async function listening(http) {
  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  after(() => {
    http.close()
    http.closeAllConnections()
  })
  return http.address().port
}

/** A client that has opened; `next` gives its messages, as text. */
export async function open(url, options = {}) {
  const socket = new WebSocket(url, options)
  const messages = []
  socket.on('message', (data) => messages.push(String(data)))
  await once(socket, 'open')
  after(() => socket.terminate())
  const next = async () => {
    while (messages.length === 0) await once(socket, 'message')
    return messages.shift()
  }
  return { socket, next }
}

/**
 * What `use` returns, during which modules of CommonJS of the package `name` that ask for `ws` get the face,
 * as with npm's `overrides`. Those who have loaded `ws` before keep it; that none asks is an error.
 */
export function withFace(name, use) {
  const require = createRequire(import.meta.resolve(name))
  const file = require.resolve('ws')
  const before = require.cache[file]
  let asked = false
  require.cache[file] = {
    id: file,
    filename: file,
    loaded: true,
    children: [],
    get exports() {
      asked = true
      return face
    },
  }
  try {
    return use(require)
  } finally {
    if (before === undefined) delete require.cache[file]
    else require.cache[file] = before
    assert.ok(asked, `${name} has not asked for ws`)
  }
}
