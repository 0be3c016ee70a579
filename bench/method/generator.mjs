/** The load generator, as a process. */
import { spawn } from 'node:child_process'
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
