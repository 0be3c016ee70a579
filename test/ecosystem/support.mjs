/** Servers of the face of `ws`, on each engine that is here, for programs that were written for `ws`. */
import { once } from 'node:events'
import { after, describe } from 'node:test'
import { WebSocketServer } from '../../dist/faces/ws.js'
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
