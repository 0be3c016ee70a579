/** The load generator, as a process. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import process from 'node:process'
import { GENERATOR_CORE, generator } from './places.mjs'

/**
 * @param {import('./works.mjs').Work} work
 * @param {import('./contenders.mjs').Server} server
 * @param {boolean} tls
 * @param {readonly string[]} more
 */
export function startGenerator(work, server, tls, more) {
  const options = ['--port', String(server.port), '--connections', String(work.connections), ...(tls ? ['--tls'] : [])]
  return spawn('taskset', ['-c', String(GENERATOR_CORE), generator, work.mode, ...options, ...work.arguments, ...more], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: process.env,
  })
}

/**
 * A second of handshakes, which is some ten thousand: what they run has been compiled then, which the threads
 * of V8 would else do, and keep memory for, in the middle of what is measured.
 *
 * @param {import('./works.mjs').Work} work
 * @param {import('./contenders.mjs').Server} server
 * @param {boolean} tls
 */
export async function shakeHands(work, server, tls) {
  const connect = { ...work, mode: /** @type {const} */ ('connect'), connections: 50, arguments: [] }
  const child = startGenerator(connect, server, tls, ['--seconds', '1'])
  child.stdout.resume()
  let errors = ''
  child.stderr.setEncoding('utf8').on('data', (text) => (errors += text))
  const [code] = await once(child, 'close')
  if (code !== 0) throw new Error(errors.trim() || `the generator ended with ${code}`)
}
