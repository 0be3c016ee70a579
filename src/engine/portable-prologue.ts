/** Reading what a client sends before the protocol that is meant for Node's own servers: a PROXY header, a TLS ClientHello. */
import { Buffer } from 'node:buffer'
import type { Socket as NetSocket } from 'node:net'

/** Milliseconds for the client to send it. As much as the native engine gives to a connection without a request. */
const DEADLINE = 10_000

/** Undefined while more is needed; `invalid` cuts the connection; else what was found, and how many bytes are done with. */
export type Prologue<T> = undefined | 'invalid' | { readonly value: T; readonly length: number }

/**
 * Reads until `parse` has found what it looks for, and puts the rest back for whoever is next. Cuts a client that sends something else,
 * or nothing, or half of it.
 */
export function readPrologue<T>(socket: NetSocket, parse: (bytes: Buffer) => Prologue<T>, proceed: (value: T) => void): void {
  let seen: Buffer = Buffer.alloc(0)
  const cut = () => {
    socket.destroy()
  }
  const timer = setTimeout(cut, DEADLINE).unref()
  const stop = () => {
    clearTimeout(timer)
    socket.off('readable', read).off('end', cut).off('close', stop)
  }
  function read(): void {
    const chunks = [seen]
    for (let chunk = socket.read(); chunk !== null; chunk = socket.read()) chunks.push(chunk)
    if (chunks.length === 1) return
    seen = Buffer.concat(chunks)
    const found = parse(seen)
    if (found === undefined) return
    stop()
    if (found === 'invalid') {
      cut()
      return
    }
    if (found.length < seen.length) socket.unshift(seen.subarray(found.length))
    proceed(found.value)
  }
  // Stays: whoever is next has listeners of its own, but a reset may come in between.
  socket.on('error', () => {})
  socket.on('readable', read).on('end', cut).on('close', stop)
}
