/** What idle connections hold. */
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { contenderNamed, Server } from './contenders.mjs'
import { shakeHands, startGenerator } from './generator.mjs'

/** How long a server rests before its memory is looked at. */
const IDLE_MILLISECONDS = 20_000

/**
 * Resident memory with and without the connections, in a fresh process. @param {import('./works.mjs').Work}
 * work @param {import('./measure.mjs').Outcome} outcome
 */
export async function measureMemory(work, outcome) {
  const contender = contenderNamed(outcome.contender)
  const server = await Server.start(contender, 'echo', outcome.tls)
  try {
    // What the first connections bring along once and for all (code, TLS tables) is not counted.
    await shakeHands(work, server, outcome.tls)
    await hold({ ...work, connections: 200 }, server, outcome.tls, async () => {})
    const before = await settledMemory(server, contender)
    await hold(work, server, outcome.tls, async () => {
      const bytes = ((await settledMemory(server, contender)) - before) / work.connections
      const none = { cpuMicroseconds: Number.NaN, generatorCpuMicroseconds: Number.NaN, perSecond: Number.NaN }
      outcome.rounds.push({ figure: bytes, ...none, serverBusy: Number.NaN, generatorBusy: Number.NaN, latencyMicroseconds: {} })
    })
    outcome.peakMemory = server.memory('VmHWM')
  } finally {
    await server.stop()
  }
}

/**
 * V8 gives back what its young generation has grown by when a process has been idle for some 10 seconds.
 *
 * @param {Server} server @param {import('./contenders.mjs').Contender} contender
 */
async function settledMemory(server, contender) {
  await delay(IDLE_MILLISECONDS)
  for (let i = 0; i < 3; i++) {
    server.collectGarbage(contender)
    await delay(300)
  }
  return server.memory('VmRSS')
}

/**
 * Opens a work's connections, and closes them when `meanwhile` is done. @param {import('./works.mjs').Work}
 * work @param {Server} server @param {boolean} tls @param {() => Promise<void>} meanwhile
 */
async function hold(work, server, tls, meanwhile) {
  const child = startGenerator(work, server, tls, [])
  const ended = once(child, 'close')
  let errors = ''
  child.stderr.setEncoding('utf8').on('data', (text) => (errors += text))
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const { value } = await lines.next()
  if (value !== 'open') {
    await ended
    throw new Error(errors.trim() || 'the connections could not be opened')
  }
  try {
    await meanwhile()
  } finally {
    child.stdin.end()
    await ended
  }
}
