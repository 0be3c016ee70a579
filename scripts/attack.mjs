/**
 * Attacks a real server with hostile clients of every kind at once (test/attack/kinds), while well-behaved
 * ones (test/attack/witnesses) check each of their own bytes, their order, and that they are served. Fails
 * for a byte that is lost or wrong, a witness that is not served, a crash, something that attackers leave
 * behind, or more memory or more work in one turn of the event loop than docs/limits.md says. Work is
 * counted, in requests and messages; times are printed and not judged.
 *
 *   npm run attack -- [--seconds 180] [--seed 1] [--engine native|portable] [--kind slow-heads] [--sanitize]
 *                     [--aws-lc]
 *
 * Both engines are attacked at once, the portable one for a third of the time. `--kind` names files of
 * test/attack/kinds. `--sanitize` takes the addon built with AddressSanitizer and UndefinedBehaviorSanitizer,
 * and `--aws-lc` one with the AWS-LC that AWS_LC_ROOT_DIR names (scripts/test-native.mjs); one that
 * NATIVE_WEBSOCKET_SERVER_ADDON names is taken as it is. The report is build/reports/attack.tap.
 */
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { setTimeout as wait } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { Child } from '../test/attack/child.mjs'
import { compileTypeScript } from './install/typescript.mjs'
import { addonEnvironment, buildForTests, endWithReport, fail, reports, sanitizerEnvironment } from './test-build.mjs'

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '180' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    engine: { type: 'string', multiple: true, default: ['native', 'portable'] },
    kind: { type: 'string', multiple: true, default: [] },
    sanitize: { type: 'boolean', default: false },
    'aws-lc': { type: 'boolean', default: false },
  },
})
const seconds = Number(values.seconds)
if (!(seconds > 0)) fail(`--seconds must be a number, got ${values.seconds}`)

/** Seconds that the witnesses have the server to themselves, before and after the attack. */
const CALM = 3
/** Seconds for the server's process to end by itself when its servers have closed. */
const PATIENCE = 20
/**
 * Seconds in which something of what attackers have left must be cleared away: idle connections, bodies that
 * never end, closing handshakes. What they have left in the kernel's buffers is delivered first, which takes
 * as long as it takes.
 */
const CLEARING = 45
/** A server that holds this many times what it may is ended, for the machine's sake. */
const TOO_MUCH = 4
const MiB = 1024 * 1024

/** @typedef {{ name: string, problem: string | undefined }} Check problem: undefined when it holds */
/**
 * What the attackers of one kind have done.
 * @typedef {object} Attacks
 * @property {string} name
 * @property {number} connections at once
 * @property {number} attempts
 * @property {number} connected connections that came about
 * @property {number} bytes
 * @property {string[]} problems
 */
/**
 * What the witnesses of one kind have seen; times in milliseconds.
 * @typedef {object} Witnessed
 * @property {string} name
 * @property {number} count
 * @property {number} served
 * @property {number} p50
 * @property {number} p99
 * @property {number} max
 * @property {number} again attempts to connect that had to be repeated
 * @property {string[]} problems
 */
/**
 * The server's figures; times in milliseconds, memory in bytes.
 * @typedef {object} Stats
 * @property {number} longestTurn
 * @property {number} mostWork
 * @property {number} processorTime
 * @property {Record<string, { most: number, bound: number }>} turn what a turn had, and may have, at most
 * @property {number} mostMemory
 * @property {number} connections
 * @property {string[]} failures
 */

const { problem } = compileTypeScript()
if (problem) fail(problem)
const { sanitize, 'aws-lc': awsLc } = values
const folder = (sanitize || awsLc) && values.engine.includes('native') ? buildForTests({ sanitize, awsLc }) : undefined
mkdirSync(reports, { recursive: true })
/** @type {Check[]} */
const checks = []
// At once: what is judged is counted, and witnesses wait a minute. Each engine has a server of its own.
for (const found of await Promise.all(values.engine.map(run))) checks.push(...found)
endWithReport('attack', checks)

/**
 * Bytes of a process in memory; undefined where only it can tell.
 * @param {number | undefined} pid
 */
function memoryOf(pid) {
  const file = `/proc/${pid}/statm`
  if (pid === undefined || !existsSync('/proc/self/statm')) return undefined
  try {
    return Number(readFileSync(file, 'utf8').split(' ')[1]) * 4096
  } catch {
    return undefined // it has ended
  }
}

/**
 * @param {string} engine
 * @returns {Promise<Check[]>}
 */
async function run(engine) {
  const time = engine === 'native' ? seconds : seconds / 3
  console.log(`Attacking the ${engine} engine for ${time} s, seed ${values.seed} …`)
  const built = engine === 'native' ? folder : undefined
  const sanitized = sanitize ? built : undefined
  const log = (/** @type {string} */ who) => join(reports, `attack-${engine}-${who}.log`)
  const env = sanitized ? sanitizerEnvironment(sanitized, 'detect_leaks=0:malloc_context_size=20') : addonEnvironment(built)
  const server = new Child('server.mjs', [engine], env, log('server'))
  const attackers = new Child('attackers.mjs', [values.seed, ...values.kind], process.env, log('attackers'))
  const witnesses = new Child('witnesses.mjs', [values.seed], process.env, log('witnesses'))
  const children = [server, attackers, witnesses]
  /** @type {string[]} */
  const crashes = []
  /** @type {Attacks[]} */
  let attacked = []
  /** @type {Witnessed[]} */
  let witnessed = []
  /** @type {Stats | undefined} */
  let stats
  /** @type {string | undefined} */
  let leftBehind = 'not known'
  let [bound, most] = [0, 0]
  try {
    const [target] = await Promise.all(children.map(({ ready }) => ready))
    await witnesses.ask('start', { target })
    await wait(CALM * 1000)
    const before = await server.ask('begin')
    bound = before.mostMemory + (await attackers.ask('start', { target, engine }))
    const end = performance.now() + time * 1000
    while (performance.now() < end && !server.hasEnded) {
      most = Math.max(most, memoryOf(server.pid) ?? 0)
      if (most > TOO_MUCH * bound && !sanitized) {
        server.kill()
        throw new Error(`the server was ended: it held ${inMiB(most)}`)
      }
      await wait(100)
    }
    attacked = await attackers.ask('stop')
    await wait(CALM * 1000)
    witnessed = await witnesses.ask('stop')
    leftBehind = await clearing(server)
    stats = await server.ask('close')
    // When nothing is left that keeps it alive.
    const ending = await Promise.race([server.ended, wait(PATIENCE * 1000, 'has not ended by itself')])
    if (ending !== 'exit code 0') crashes.push(`the server: ${ending}`)
  } catch (error) {
    crashes.push(error instanceof Error ? error.message : String(error))
  }
  for (const child of children) child.kill()
  await Promise.all(children.map(({ ended }) => ended))
  if (stats !== undefined) most = Math.max(most, stats.mostMemory)
  print(engine, attacked, witnessed, { stats, most, bound })

  for (const { log } of children) crashes.push(readFileSync(log, 'utf8').trim().slice(0, 10_000))
  crashes.push(...(stats?.failures ?? []), ...attacked.flatMap(({ problems }) => problems))
  const idle = attacked.filter(({ connected }) => connected === 0).map(({ name }) => `${name}: no connection came about`)
  const unserved = witnessed.filter(({ served }) => served === 0).map(({ name }) => `${name}: never served`)
  const wrong = counted(witnessed.flatMap(({ name, problems }) => problems.map((problem) => `${name}: ${problem}`)))
  const turns = Object.entries(stats?.turn ?? {})
  for (const [what, { most, bound }] of turns) console.log(`  ${what} in a turn: ${most} of ${bound}`)
  const tooMany = turns.filter(([, { most, bound }]) => !(most > 0 && most <= bound))
  const none = (/** @type {unknown[]} */ list) => (list.length === 0 ? ['no result'] : [])
  return [
    {
      name: `the server survives every kind of attack at once, and ends by itself without a word on standard error [${engine}]`,
      problem: crashes.filter(Boolean).join('\n') || undefined,
    },
    {
      name: `every kind of attacker has come through [${engine}]`,
      problem: [...none(attacked), ...idle].join('\n') || undefined,
    },
    {
      name: `witnesses miss no byte of theirs, in order, and all are served [${engine}]`,
      problem: [...none(witnessed), ...unserved, ...wrong].join('\n') || undefined,
    },
    { name: `clients that have gone leave no WebSocket behind [${engine}]`, problem: leftBehind },
    {
      name: `no turn of the event loop has more than docs/limits.md says [${engine}]`,
      problem:
        [...none(turns), ...tooMany.map(([what, { most, bound }]) => `${what}: ${most} of ${bound}`)].join('\n') || undefined,
    },
    ...(sanitized
      ? []
      : [
          {
            name: `the server holds no more than docs/limits.md says [${engine}]`,
            problem: most > 0 && most <= bound ? undefined : `${inMiB(most)} of ${inMiB(bound)}`,
          },
        ]),
  ]
}

/**
 * Waits until all WebSockets have gone, when all clients have. Gives what is wrong.
 * @param {Child} server
 * @returns {Promise<string | undefined>}
 */
async function clearing(server) {
  let [left, delivered, since] = [-1, -1, performance.now()]
  for (;;) {
    const { connections, events, open } = await server.ask('stats')
    if (connections === 0) return undefined
    if (connections !== left || events !== delivered) since = performance.now()
    if (performance.now() - since > CLEARING * 1000) {
      return `${connections} WebSockets have stayed for ${CLEARING} s with nothing to deliver, by route: ${JSON.stringify(open)}`
    }
    left = connections
    delivered = events
    await wait(500)
  }
}

/**
 * Each of them once, with how often it came.
 * @param {string[]} problems
 */
function counted(problems) {
  /** @type {Map<string, number>} */
  const counts = new Map()
  for (const problem of problems) counts.set(problem, (counts.get(problem) ?? 0) + 1)
  return [...counts].map(([problem, count]) => `${count} × ${problem}`)
}

/** @param {number} bytes */
function inMiB(bytes) {
  return `${Math.round(bytes / MiB)} MiB`
}

/** @param {number} milliseconds */
function inMs(milliseconds) {
  return milliseconds < 10 ? milliseconds.toFixed(1) : Math.round(milliseconds)
}

/**
 * @param {string} engine
 * @param {Attacks[]} attacked
 * @param {Witnessed[]} witnessed
 * @param {{ stats: Stats | undefined, most: number, bound: number }} server
 */
function print(engine, attacked, witnessed, { stats, most, bound }) {
  console.log(`\nAttackers [${engine}]`)
  printTable(
    ['kind', 'at once', 'attempts', 'connected', 'MiB sent'],
    attacked.map(({ name, connections, attempts, connected, bytes }) => [
      name,
      connections,
      attempts,
      connected,
      Math.round(bytes / MiB),
    ]),
  )
  console.log(`\nWitnesses [${engine}], times in ms`)
  printTable(
    ['kind', 'at once', 'served', 'p50', 'p99', 'max', 'again', 'failed'],
    witnessed.map(({ name, count, served, p50, p99, max, again, problems }) => [
      name,
      count,
      served,
      ...[p50, p99, max].map(inMs),
      again,
      problems.length,
    ]),
  )
  console.log(`\nServer [${engine}]: most memory ${inMiB(most)} of ${inMiB(bound)}`)
  if (stats !== undefined) {
    const { longestTurn, mostWork, processorTime } = stats
    console.log(
      `  longest turn ${inMs(longestTurn)} ms; most processor time in a turn ${inMs(mostWork)} ms, in all ${inMs(processorTime)} ms`,
    )
  }
}

/**
 * @param {string[]} head
 * @param {(string | number)[][]} rows
 */
function printTable(head, rows) {
  const all = [head, ...rows].map((row) => row.map(String))
  const widths = head.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)))
  const line = (/** @type {string[]} */ row) =>
    row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0))).join('  ')
  for (const row of all) console.log(`  ${line(row)}`)
}
