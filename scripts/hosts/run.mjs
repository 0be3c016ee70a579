/**
 * One run of three hosts and a broker, with faults one after the other: who was told what and when, and what
 * every client got.
 *
 * Long because the shape of all that a run gives is described here, too.
 */
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { setTimeout as delay } from 'node:timers/promises'
import { Member } from './member.mjs'
import { Network } from './network.mjs'

/** @typedef {'redis-pubsub' | 'redis-streams' | 'nats-core' | 'nats-jetstream'} PromiseName */
/** @typedef {'link' | 'server' | 'killed' | 'stopped'} FaultName */
/**
 * @typedef {object} Told what a server has told of its backplane
 * @property {string} origin its host, and which of the servers there it is: `1a`
 * @property {PromiseName} promise
 * @property {number} time
 * @property {boolean} [up] the state has changed
 * @property {string} [code] of an error
 * @property {string} [message]
 * @property {number} [count]
 */
/**
 * @typedef {object} Seen what came of one publisher in one connection of a client
 * @property {number} first
 * @property {number} last
 * @property {number} lost numbers that were missing when a higher one came
 * @property {[number, number][]} holes the same
 * @property {number} reordered of these, those that came later
 * @property {number} repeated others that were not higher than all before
 */
/**
 * @typedef {object} ServerState
 * @property {number} published
 * @property {import('../../src/types/index.js').BackplaneMetrics} metrics
 */
/** @typedef {[time: number, messages: number, delay: number]} Bin time in steps; delay in ms, the longest */
/** @typedef {{ sessions: Record<string, Seen>[][], bins?: Bin[] }} ClientsState */
/**
 * @typedef {object} Snapshot of one promise
 * @property {Record<string, ServerState>} servers by origin, those that run
 * @property {Record<string, Seen>[][][]} clients connections of each client of each host
 */
/**
 * @typedef {object} Fault
 * @property {FaultName} name
 * @property {number} from
 * @property {number} to
 * @property {number} settled when all were up, and every client had what was published until then
 */
/**
 * @typedef {object} Run
 * @property {number} rate
 * @property {number} clients
 * @property {PromiseName[]} promises
 * @property {number} begun
 * @property {number} ended
 * @property {Fault[]} faults
 * @property {Told[]} told
 * @property {Record<string, Snapshot[]>} snapshots by promise: before the first fault, and after each
 * @property {Record<string, Bin[][]>} bins by promise and host, all clients together
 * @property {number} binWidth
 */

/** @type {readonly PromiseName[]} */
export const PROMISES = ['redis-pubsub', 'redis-streams', 'nats-core', 'nats-jetstream']
/** @type {readonly FaultName[]} */
export const FAULTS = ['link', 'server', 'killed', 'stopped']

const HOSTS = ['1', '2', '3']
const BROKER = { host: '4', address: '10.77.0.4' }
const BIN = 100
/** Milliseconds in which processes start, and in which all must be well again after a fault. */
const PATIENCE = 20_000
/** Milliseconds after a fault in which servers still report: the window of a gap, and more. */
const REST = 2500

/**
 * @param {object} options
 * @param {readonly PromiseName[]} options.promises side by side, on one broker
 * @param {readonly FaultName[]} options.faults
 * @param {number} options.rate messages a second, of each server
 * @param {number} options.clients of each server
 * @param {number} options.downtime milliseconds from the broker's end to its start
 * @param {(line: string) => void} options.say
 * @returns {Promise<Run>}
 */
export async function runHosts({ promises, faults, rate, clients, downtime, say }) {
  const hosts = new Hosts(promises, rate, clients)
  try {
    await hosts.start()
    const begun = Date.now()
    /** @type {Fault[]} */
    const done = []
    const snapshots = [await hosts.settle()]
    await delay(1000)
    for (const name of faults) {
      say(`  ${name}`)
      const from = Date.now()
      const { to } = await hosts.suffer(name, downtime)
      await hosts.allUp()
      await delay(REST)
      snapshots.push(await hosts.settle())
      done.push({ name, from, to, settled: Date.now() })
    }
    /** @type {Record<string, Snapshot[]>} */
    const byPromise = {}
    for (const promise of promises) byPromise[promise] = snapshots.flatMap((snapshot) => snapshot[promise] ?? [])
    return {
      rate,
      clients,
      promises: [...promises],
      begun,
      ended: Date.now(),
      faults: done,
      told: hosts.told,
      snapshots: byPromise,
      bins: await hosts.bins(),
      binWidth: BIN,
    }
  } finally {
    await hosts.end()
  }
}

class Hosts {
  #network = new Network([...HOSTS, BROKER.host])
  #folder = mkdtempSync(join(tmpdir(), 'hosts-'))
  /** @type {readonly { name: PromiseName, port: number }[]} */ #promises
  #rate
  #clientCount
  /** @type {Map<string, Member>} by origin */ #servers = new Map()
  /** @type {Member[]} */ #clients = []
  /** @type {Map<string, import('node:child_process').ChildProcess>} */ #brokers = new Map()
  /** @type {Told[]} */ told = []

  /** @param {readonly PromiseName[]} promises @param {number} rate @param {number} clients */
  constructor(promises, rate, clients) {
    this.#promises = promises.map((name, index) => ({ name, port: 7001 + index }))
    this.#rate = rate
    this.#clientCount = clients
  }

  get #brokerNames() {
    const names = this.#promises.map(({ name }) => name.replace(/-.*/, ''))
    return [...new Set(names)]
  }

  async start() {
    await this.#startBrokers()
    await Promise.all(HOSTS.map((host) => this.#startServer(`${host}a`)))
    for (const host of HOSTS) {
      const options = { promises: this.#promises, count: this.#clientCount }
      this.#clients.push(new Member(this.#network, host, 'hosts-clients.mjs', options, this.told))
    }
    await Promise.all(this.#clients.map((member) => member.isReady()))
    for (const server of this.#servers.values()) server.tell({ publish: true })
    await this.#allHeard()
  }

  async #startBrokers() {
    await Promise.all(this.#brokerNames.map((name) => this.#startBroker(name)))
  }

  /** @param {string} name */
  async #startBroker(name) {
    const port = name === 'redis' ? 6379 : 4222
    // As it is to be for `replayed`: what it has acknowledged, it has written.
    const command =
      name === 'redis'
        ? ['redis-server', '--bind', BROKER.address, '--protected-mode', 'no', '--save', '', '--dir', this.#folder].concat(
            '--appendonly yes --appendfsync always'.split(' '),
          )
        : ['nats-server', '--addr', BROKER.address, '--jetstream', '--store_dir', this.#folder]
    const child = this.#network.spawn(BROKER.host, command, 'ignore')
    this.#brokers.set(name, child)
    // Only inside of a namespace can it be seen to listen.
    const probe = `const s=require('net').connect(${port},'${BROKER.address}',()=>process.exit());s.on('error',()=>process.exit(1))`
    for (const end = Date.now() + PATIENCE; ; ) {
      const [code] = await once(this.#network.spawn(BROKER.host, [process.execPath, '-e', probe], 'ignore'), 'exit')
      if (code === 0) return
      if (child.exitCode !== null || Date.now() > end) throw new Error(`${name} does not start`)
    }
  }

  /** @param {string} origin */
  async #startServer(origin) {
    const brokers = { redis: `redis://${BROKER.address}:6379`, nats: `nats://${BROKER.address}:4222` }
    const options = { origin, promises: this.#promises, brokers, rate: this.#rate }
    const server = new Member(this.#network, origin.slice(0, 1), 'hosts-server.mjs', options, this.told)
    this.#servers.set(origin, server)
    await server.isReady()
    return server
  }

  /** @param {FaultName} name @param {number} downtime */
  async suffer(name, downtime) {
    if (name === 'link') {
      this.#network.link('1', 'down')
      await delay(5000)
      this.#network.link('1', 'up')
    } else if (name === 'server') {
      const server = this.#servers.get('2a')
      this.#servers.delete('2a')
      await server?.kill()
      await delay(1000)
      const again = await this.#startServer('2b')
      again.tell({ publish: true })
      await this.#allHeard()
    } else if (name === 'killed') {
      for (const child of this.#brokers.values()) {
        child.kill('SIGKILL')
        await once(child, 'exit')
      }
      await delay(downtime)
      const to = Date.now()
      await this.#startBrokers()
      return { to }
    } else {
      for (const child of this.#brokers.values()) child.kill('SIGSTOP')
      await delay(5000)
      for (const child of this.#brokers.values()) child.kill('SIGCONT')
    }
    return { to: Date.now() }
  }

  /** Until every client has got something of every server that runs. */
  async #allHeard() {
    await this.#until('every client hears every server', async () => {
      const states = await this.#askClients()
      return this.#promises.every(({ name }) =>
        states.every((state) =>
          /** @type {ClientsState} */ (state[name]).sessions.every((sessions) =>
            [...this.#servers.keys()].every((origin) => sessions.at(-1)?.[origin] !== undefined),
          ),
        ),
      )
    })
  }

  async allUp() {
    await this.#until('every server is up', async () => {
      const states = await this.#askServers()
      return [...states.values()].every((state) => Object.values(state).every(({ metrics }) => metrics.up))
    })
  }

  /**
   * When every client has what is published by now, or more.
   * @returns {Promise<Record<string, Snapshot>>}
   */
  async settle() {
    const published = await this.#askServers()
    /** @type {Record<string, ClientsState>[]} */
    let clients = []
    await this.#until('every client has what was published', async () => {
      clients = await this.#askClients()
      return this.#promises.every(({ name }) =>
        clients.every((state) =>
          /** @type {ClientsState} */ (state[name]).sessions.every((sessions) =>
            [...published].every(([origin, states]) => (sessions.at(-1)?.[origin]?.last ?? 0) >= (states[name]?.published ?? 0)),
          ),
        ),
      )
    })
    const servers = await this.#askServers()
    /** @type {Record<string, Snapshot>} */
    const result = {}
    for (const { name } of this.#promises) {
      result[name] = {
        servers: Object.fromEntries([...servers].map(([origin, states]) => [origin, /** @type {ServerState} */ (states[name])])),
        clients: clients.map((state) => /** @type {ClientsState} */ (state[name]).sessions),
      }
    }
    return result
  }

  async bins() {
    const states = await this.#askClients(true)
    /** @type {Record<string, Bin[][]>} */
    const result = {}
    for (const { name } of this.#promises) result[name] = states.map((state) => state[name]?.bins ?? [])
    return result
  }

  async end() {
    this.#network.remove()
    rmSync(this.#folder, { recursive: true, force: true })
  }

  /** @returns {Promise<Map<string, Record<string, ServerState>>>} */
  async #askServers() {
    const entries = [...this.#servers].map(async ([origin, server]) => /** @type {const} */ ([origin, await server.ask()]))
    return new Map(await Promise.all(entries))
  }

  /** @returns {Promise<Record<string, ClientsState>[]>} */
  async #askClients(series = false) {
    return await Promise.all(this.#clients.map((member) => member.ask({ series })))
  }

  /** @param {string} what @param {() => Promise<boolean>} condition */
  async #until(what, condition) {
    for (const end = Date.now() + PATIENCE; !(await condition()); await delay(20))
      if (Date.now() > end) throw new Error(`not within ${PATIENCE} ms: ${what}`)
  }
}
