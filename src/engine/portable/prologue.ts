/**
 * Reads what a client sends before the bytes that Node's own servers get: a PROXY header, a TLS ClientHello.
 */
import { Buffer } from 'node:buffer'
import type { Socket as NetSocket } from 'node:net'

/**
 * Milliseconds for each step before HTTP: a PROXY header, a ClientHello, the rest of a TLS handshake. As much
 * as the native engine gives to a connection without a request. Node gives a handshake 120 seconds otherwise.
 */
export const MAX_PROLOGUE_TIME = 10_000

/**
 * A number while more bytes are needed: how many, counted from the first one, before `parse` can say more.
 * `invalid` cuts the connection. Otherwise the value that was found, and the number of bytes that are used
 * up.
 */
export type Prologue<T> = number | 'invalid' | { readonly value: T; readonly length: number }

/** Bytes that come in pieces, each of which is copied a few times at most. */
class Collected {
  #memory = Buffer.alloc(0)
  length = 0

  add(chunk: Buffer): void {
    const length = this.length + chunk.length
    if (length > this.#memory.length) {
      const larger = Buffer.alloc(2 * length)
      this.#memory.copy(larger, 0, 0, this.length)
      this.#memory = larger
    }
    chunk.copy(this.#memory, this.length)
    this.length = length
  }

  bytes(): Buffer {
    return this.#memory.subarray(0, this.length)
  }
}

/**
 * Reads until `parse` has found its value, and puts the rest back for the next reader of the socket. Cuts a
 * client that sends something else, or nothing, or only a part.
 */
export function readPrologue<T>(socket: NetSocket, parse: (bytes: Buffer) => Prologue<T>, proceed: (value: T) => void): void {
  const seen = new Collected()
  let needed = 1
  const cut = () => {
    socket.destroy()
  }
  const timer = setTimeout(cut, MAX_PROLOGUE_TIME).unref()
  const stop = () => {
    clearTimeout(timer)
    socket.off('readable', read).off('end', cut).off('close', stop)
  }
  function read(): void {
    for (let chunk = socket.read(); chunk !== null; chunk = socket.read()) seen.add(chunk)
    if (seen.length < needed) return
    const bytes = seen.bytes()
    const found = parse(bytes)
    if (typeof found === 'number') {
      needed = found
      return
    }
    stop()
    if (found === 'invalid') {
      cut()
      return
    }
    if (found.length < bytes.length) socket.unshift(bytes.subarray(found.length))
    proceed(found.value)
  }
  // This listener stays: the next reader has listeners of its own, but a reset may come before the reader
  // adds them.
  socket.on('error', () => {})
  socket.on('readable', read).on('end', cut).on('close', stop)
}
