/**
 * What all contenders in JavaScript share. Each is a program of its own: `node NAME.mjs
 * echo|echo-deflate|fan-out [KEY.pem CERT.pem]`, which listens on a free port of 127.0.0.1 and prints it.
 * `echo` answers every message with itself, on any path, and so does `echo-deflate`, but each answer is
 * compressed, without context takeover (the windows are shared by all connections); with `fan-out` a message
 * from a connection on /publish goes to all connections on /subscribe.
 */
import { readFileSync } from 'node:fs'
import process from 'node:process'

const [mode, keyFile, certFile] = process.argv.slice(2)

/** Whether to fan out instead of echoing. */
export const fanOut = mode === 'fan-out'

/** Whether to compress every answer. */
export const deflate = mode === 'echo-deflate'

/** The names of the PEM files, and what is in them; undefined for plain ws. */
export const tls =
  keyFile && certFile
    ? { keyFile, certFile, key: readFileSync(keyFile, 'utf8'), cert: readFileSync(certFile, 'utf8') }
    : undefined

/** As every contender is set: room for large messages. */
export const MAX_PAYLOAD = 16 * 1024 * 1024
export const IDLE_TIMEOUT = 120

/** @param {number} port */
export function announce(port) {
  console.log(port)
}

// Memory is measured after garbage collection. Node needs --expose-gc for it.
process.on('SIGUSR2', () => {
  const collect = /** @type {{ gc?: () => void, Bun?: { gc(force: boolean): void } }} */ (globalThis)
  collect.Bun?.gc(true)
  collect.gc?.()
  collect.gc?.()
})
