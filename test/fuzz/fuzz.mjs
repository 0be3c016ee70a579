// Calls everything at random for a time: (engine, seconds, seed). Prints one line of JSON, then ends by
// itself.
import process from 'node:process'
import { setTimeout as wait } from 'node:timers/promises'
import { politeClient, rawClient } from './clients.mjs'
import { Random } from './random.mjs'
import { World } from './world.mjs'

Error.stackTraceLimit = 20
const [engine = 'native', seconds = '60', seed = '1'] = process.argv.slice(2)

/** Connections that are kept busy, to the servers of one generation. */
const CLIENTS = 30
/** Milliseconds that a generation of servers lives. */
const GENERATION = 1500

const random = new Random(Number(seed))
const world = new World(random, engine)

// A handler's error that neither `error` nor `onError` takes ends here, as it should. Nothing else may.
process.on('uncaughtException', (error) => world.reported(error, 'uncaughtException'))
process.on('unhandledRejection', (error) => world.fail('unhandledRejection', error))

let connections = 0
async function keepBusy(targets, until) {
  while (performance.now() < until) {
    const client = random.chance(0.4) ? politeClient : rawClient
    connections += 1
    await client(random, random.pick(targets))
  }
}

async function keepCalling(until) {
  while (performance.now() < until) {
    world.act(60)
    await wait(random.int(5))
  }
}

async function generation(end) {
  const states = Array.from({ length: 1 + random.int(3) }, () => world.makeServer())
  world.act(10) // no server listens yet
  const targets = (await Promise.all(states.map((state) => world.listen(state)))).filter((target) => target !== undefined)
  const until = Math.min(end, performance.now() + GENERATION)
  if (targets.length > 0) {
    await Promise.all([keepCalling(until), ...Array.from({ length: CLIENTS }, () => keepBusy(targets, until))])
  }
  await Promise.all(states.map((state) => world.close(state)))
  world.act(10) // everything has closed
}

async function run() {
  const end = performance.now() + Number(seconds) * 1000
  let generations = 0
  while (performance.now() < end) {
    await generation(end)
    generations += 1
  }
  // What the last of them still has under way.
  for (const server of world.servers) await server.close({ timeout: 0 }).catch((error) => world.check(error, 'close'))
  await wait(100)
  return generations
}

// A mistake of our own must not end among the errors that are counted.
const generations = await run().catch((error) => world.fail('the fuzz itself', error))
const { counts, failures } = world
console.log(JSON.stringify({ engine, seed: Number(seed), generations, connections, ...counts, failures }))
