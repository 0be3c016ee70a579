// Well-behaved clients, each of which checks all of its own bytes, their order, and that it is served:
// (seed). Started by scripts/attack.mjs, which sends where to go. A kind of witness is one file of
// witnesses/.
import { readdirSync } from 'node:fs'
import process from 'node:process'
import { setTimeout as wait } from 'node:timers/promises'
import { Random } from '../fuzz/random.mjs'

const [seed = '1'] = process.argv.slice(2)
const folder = new URL('witnesses/', import.meta.url)
const files = readdirSync(folder).sort()
const kinds = await Promise.all(files.map(async (file) => (await import(new URL(file, folder).href)).default))

/** Milliseconds in which a client has been served at all, on a machine that is busy. */
const PATIENCE = 60_000
/** Milliseconds that a client waits at most before it asks for the next thing. */
const PAUSE = 50

/** One well-behaved client. */
class Witness {
  target
  random
  #result
  #state

  constructor(target, random, result, state) {
    this.target = target
    this.random = random
    this.#result = result
    this.#state = state
  }

  get goesOn() {
    return this.#state.goesOn
  }

  /** Does something once that the server has to answer, and measures it. */
  async measure(action) {
    const start = performance.now()
    await served(action(), this.target)
    this.#result.times.push(performance.now() - start)
    await wait(this.random.int(PAUSE))
  }

  /**
   * Begins something, once more where the server has cut the connection meanwhile. One that does not come to
   * a request for some time is cut, and many that have their handshakes before it take time.
   */
  async begin(action) {
    for (;;) {
      try {
        return await action()
      } catch (error) {
        if (error.code !== 'ECONNRESET') throw error
        this.#result.again += 1
      }
    }
  }

  /** Does it over and over. */
  async keep(action) {
    while (this.goesOn) await this.measure(action)
  }
}

async function served(promise, { label }) {
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not served within ${PATIENCE} ms (${label})`)), PATIENCE)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

const state = { goesOn: true }
const results = kinds.map(({ name, count }) => ({ name, count, times: [], again: 0, problems: [] }))

async function keepWitnessing(kind, result, target, random) {
  try {
    await kind.witness(new Witness(target, random, result, state))
  } catch (error) {
    // This one has seen enough; the others go on.
    const [message, place] = String(error?.stack ?? error).split('\n')
    result.problems.push(`${message} ${place?.trim() ?? ''}`)
  }
}

/** Milliseconds. */
function percentile(sorted, share) {
  return sorted.length === 0 ? 0 : sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]
}

let witnesses
process.on('message', async ({ id, command, target }) => {
  if (command === 'start') {
    const { host, port, securePort } = target
    const plain = { host, port, secure: false, label: 'plain' }
    const secure = { host, port: securePort, secure: true, label: 'TLS' }
    let next = Number(seed) + 1_000_000
    witnesses = kinds.flatMap((kind, index) =>
      Array.from({ length: kind.count }, (_, place) =>
        keepWitnessing(kind, results[index], place % 2 === 0 ? plain : secure, new Random(next++)),
      ),
    )
    process.send({ id, answer: kinds.reduce((sum, { count }) => sum + count, 0) })
  } else if (command === 'stop') {
    state.goesOn = false
    await Promise.all(witnesses)
    const answer = results.map(({ name, count, times, again, problems }) => {
      const sorted = times.sort((a, b) => a - b)
      const [p50, p99, max] = [0.5, 0.99, 1].map((share) => percentile(sorted, share))
      return { name, count, served: sorted.length, p50, p99, max, again, problems }
    })
    process.send({ id, answer })
    process.disconnect()
  }
})
process.send({ id: 0, answer: kinds.length })
