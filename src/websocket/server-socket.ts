/** What is behind a `Socket`. */
import { OptionError } from '../errors.js'
import type { Socket } from '../types/index.js'
import { ServerSocket } from './socket.js'

/** Throws OptionError for anything that only looks like one. */
export function serverSocketOf<T>(socket: Socket<T>): ServerSocket<T> {
  if (socket instanceof ServerSocket) return socket
  throw new OptionError('socket', socket, 'a socket of a WebSocketServer')
}
