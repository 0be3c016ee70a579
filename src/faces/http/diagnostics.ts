/** What Node's server publishes by `node:diagnostics_channel`, for those who measure and trace requests. */
import { type Channel, channel } from 'node:diagnostics_channel'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { ConnectionFacts } from '../ws/request.js'

const started = channel('http.server.request.start')
const finished = channel('http.server.response.finish')

/** Before the program gets the request. */
export function tellOfStart(request: IncomingMessage, response: ServerResponse): void {
  publish(started, request, response)
}

/** As Node: before the listeners for `finish`. */
export function tellOfFinish(response: ServerResponse): void {
  publish(finished, response.req, response)
}

function publish(to: Channel, request: IncomingMessage, response: ServerResponse): void {
  if (!to.hasSubscribers) return
  const { socket } = request
  to.publish({ request, response, socket, server: socket instanceof ConnectionFacts ? socket.server : undefined })
}
