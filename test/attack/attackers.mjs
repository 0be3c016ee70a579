// All attackers at once: (seed, names of kinds or nothing for all). Started by scripts/attack.mjs, which
// sends where to go; `stop` ends them, and is answered with what was done. A kind is one file of kinds/.
import { setMaxListeners } from 'node:events'
import { readdirSync } from 'node:fs'
import { constants, setPriority } from 'node:os'
import process from 'node:process'
import { Random } from '../fuzz/random.mjs'
import { Attempt } from './hostile.mjs'
import { ALLOWANCE } from './limits.mjs'

const [seed = '1', ...names] = process.argv.slice(2)
const folder = new URL('kinds/', import.meta.url)
const files = readdirSync(folder).filter((file) => names.length === 0 || names.includes(file.replace('.mjs', '')))
const kinds = await Promise.all(files.sort().map(async (file) => (await import(new URL(file, folder).href)).default))

// Server and witnesses come first on a machine that has too few processors for all.
setPriority(constants.priority.PRIORITY_BELOW_NORMAL)

const stop = new AbortController()
// Every wait of every attacker listens to it.
setMaxListeners(0, stop.signal)

/** Milliseconds before an attacker comes again whose attempt was over at once. */
const PAUSE = 5

const results = kinds.map(({ name, connections }) => ({ name, connections, attempts: 0, connected: 0, bytes: 0, problems: [] }))

async function keepAttacking(kind, result, server, random) {
  while (!stop.signal.aborted) {
    result.attempts += 1
    const attempt = new Attempt(random, server, stop.signal, (bytes) => {
      result.bytes += bytes
    })
    try {
      await kind.attack(attempt)
    } catch (error) {
      // What the network does is no exception here, so that this is a mistake of ours.
      if (result.problems.length < 3) result.problems.push(String(error?.stack ?? error))
      await attempt.wait(1000)
    } finally {
      result.connected += attempt.connected
      for (const problem of attempt.problems) if (result.problems.length < 3) result.problems.push(`${kind.name}: ${problem}`)
      attempt.end()
    }
    await attempt.wait(PAUSE)
  }
}

let attackers
process.on('message', async ({ id, command, target, engine }) => {
  if (command === 'start') {
    let next = Number(seed)
    attackers = kinds.flatMap((kind, index) =>
      Array.from({ length: kind.connections }, () => keepAttacking(kind, results[index], { target, engine }, new Random(next++))),
    )
    // What all of them together may make the server hold.
    const bytes = kinds.reduce((sum, { connections, memory }) => sum + connections * memory(engine), ALLOWANCE)
    process.send({ id, answer: bytes })
  } else if (command === 'stop') {
    stop.abort()
    await Promise.all(attackers)
    process.send({ id, answer: results })
    process.disconnect()
  }
})
process.send({ id: 0, answer: kinds.length })
