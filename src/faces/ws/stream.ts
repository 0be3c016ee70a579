/** `createWebSocketStream` of the `ws` package. */
import process from 'node:process'
import { Duplex, type DuplexOptions } from 'node:stream'
import { TurnShare } from '../../core/turn-share.js'
import { type RawData, socketEvents, type WebSocket } from './socket.js'

const CLOSED = 3

/**
 * The socket as a Duplex: each message is a chunk, and each chunk a message. The stream pauses and resumes
 * the socket, and waits for the callback of each `send`.
 */
export function createWebSocketStream(socket: WebSocket, options: DuplexOptions = {}): Duplex {
  let terminates = true
  const share = new TurnShare()
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
      const send = () => {
        share.spendChunk(chunk.length)
        socket.send(chunk, callback)
      }
      // The socket calls back in this turn while its client takes all that is sent.
      if (share.mustWait) void share.wait().then(send)
      else send()
    },
    final(callback) {
      if (socket.readyState === CLOSED) {
        callback()
        if (stream.readableEnded) stream.destroy()
        return
      }
      // The end of the readable side, which comes with `close`, destroys the stream.
      socketEvents.onceEnded(socket, callback)
      socket.close()
    },
    destroy(error, callback) {
      const emitClose = () => void process.nextTick(() => stream.emit('close'))
      if (socket.readyState === CLOSED) {
        callback(error)
        emitClose()
        return
      }
      let isDone = false
      socket.once('error', (second) => {
        isDone = true
        callback(second)
      })
      socket.once('close', () => {
        if (!isDone) callback(error)
        emitClose()
      })
      if (terminates) socket.terminate()
    },
  })
  stream.on('end', () => {
    if (!stream.destroyed && stream.writableFinished) stream.destroy()
  })
  // A message that could not be sent.
  stream.once('error', (error) => {
    stream.destroy()
    // Where no other listener takes it, it is an uncaught exception.
    if (stream.listenerCount('error') === 0) stream.emit('error', error)
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
