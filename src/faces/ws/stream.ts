/** `createWebSocketStream` of the `ws` package. */
import process from 'node:process'
import { Duplex, type DuplexOptions } from 'node:stream'
import type { RawData, WebSocket } from './socket.js'

const CLOSED = 3

/**
 * The socket as a Duplex: each message is a chunk, and each chunk a message. The stream pauses and resumes
 * the socket, and waits for the callback of each `send`.
 */
export function createWebSocketStream(socket: WebSocket, options: DuplexOptions = {}): Duplex {
  let terminates = true
  const stream = new Duplex({
    ...options,
    autoDestroy: false,
    emitClose: false,
    objectMode: false,
    writableObjectMode: false,
    read() {
      if (socket.isPaused) socket.resume()
    },
    write(chunk, _encoding, callback) {
      socket.send(chunk, callback)
    },
    final(callback) {
      if (socket.readyState === CLOSED) {
        finish()
        return
      }
      socket.once('close', finish)
      socket.close()

      function finish(): void {
        callback()
        if (stream.readableEnded) stream.destroy()
      }
    },
    destroy(error, callback) {
      const end = () => {
        callback(error)
        process.nextTick(() => stream.emit('close'))
      }
      if (socket.readyState === CLOSED) {
        end()
        return
      }
      socket.once('close', end)
      if (terminates) socket.terminate()
    },
  })
  stream.on('end', () => {
    if (stream.writableFinished) stream.destroy()
  })
  socket.on('message', (data: RawData, isBinary: boolean) => {
    const isText = !isBinary && stream.readableObjectMode
    if (!stream.push(isText ? data.toString() : data)) socket.pause()
  })
  socket.once('error', (error) => {
    if (stream.destroyed) return
    // The socket closes by itself after an error.
    terminates = false
    stream.destroy(error)
  })
  socket.once('close', () => {
    if (stream.destroyed) return
    stream.push(null)
  })
  return stream
}
