/**
 * A reverse proxy: WebSockets are served here, and all other requests by a server behind this one.
 *
 *   UPSTREAM=http://localhost:8080 node examples/proxy.mjs        then: curl -i http://localhost:7000/
 *
 * A Response of `fetch` can be returned as it is: bodies are streamed both ways, no faster than each side
 * reads. `fetch` has decompressed the content, so the server leaves out what the fields of the answer still
 * say of its compression and length. What a request's fields say of the client's connection is left out here,
 * for `fetch` refuses some of it.
 */
import { WebSocketServer } from 'native-websocket-server'

const { origin } = new URL(process.env.UPSTREAM ?? 'http://localhost:8080')

/**
 * Fields of one connection (RFC 9110, section 7.6.1), beside those that Connection names; and those that
 * `fetch` sets itself.
 */
const NOT_FORWARDED = [
  ...['connection', 'keep-alive', 'proxy-connection', 'te', 'trailer', 'transfer-encoding', 'upgrade'],
  ...['host', 'expect', 'accept-encoding'],
]

/** @param {import('native-websocket-server').ServerRequest} request */
function forwarded({ headers, remoteAddress }) {
  const fields = new Headers(headers)
  const named = (fields.get('connection') ?? '').split(',').map((name) => name.trim())
  for (const name of [...named, ...NOT_FORWARDED]) if (name !== '') fields.delete(name)
  fields.append('x-forwarded-for', remoteAddress)
  fields.set('x-forwarded-host', headers.get('host') ?? '')
  return fields
}

const server = new WebSocketServer()
  .ws('/live', { message: (socket, data) => void socket.send(data) })
  .any('/*', async (request) => {
    // Not relative to the origin: a path that begins with two slashes would name another host.
    const { pathname, search } = new URL(request.url)
    const { method, body, signal } = request
    try {
      // A redirect is the client's to follow.
      const init = { method, headers: forwarded(request), body, signal, redirect: 'manual', duplex: 'half' }
      // The cast: `duplex` is missing in the types of some releases.
      return await fetch(`${origin}${pathname}${search}`, /** @type {RequestInit} */ (init))
    } catch (error) {
      if (signal.aborted) throw error // the client has gone
      return new Response(`${origin} cannot be reached.\n`, { status: 502 })
    }
  })

const { port } = await server.listen({ port: Number(process.env.PORT ?? 7000) })
console.log(`Proxy on http://localhost:${port} for ${origin}, echo on ws://localhost:${port}/live`)
