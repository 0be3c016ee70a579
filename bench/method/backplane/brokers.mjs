/** Brokers, each started for one contender on a free port of the loopback device, and gone with it. */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { setTimeout as delay } from 'node:timers/promises'
import { freePort } from '../../../scripts/free-port.mjs'
import { GENERATOR_CORE } from '../places.mjs'
import { processorSeconds } from '../processor-time.mjs'

/** @typedef {'redis-server' | 'nats-server'} Program as Debian's package is called too */

/** Debian puts nats-server where only root looks for programs. */
const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` }

/** Milliseconds in which a broker must listen. */
const START_TIME = 10_000
/** The fewest with which Redis makes a cluster. */
const CLUSTER_NODES = 3

/** What it says of its version; undefined when it is not installed. @param {Program} program */
export function brokerVersion(program) {
  const { status, stdout } = spawnSync(program, ['--version'], { encoding: 'utf8', env })
  const version = /\d+\.\d+\.\d+/.exec(stdout ?? '')?.[0]
  return status === 0 ? `${program} ${version ?? 'of unknown version'}` : undefined
}

/**
 * What a broker is told, beside where it listens. To replay, it writes: Redis as it does with `appendonly`,
 * of which the disk has everything after a second; JetStream has its files.
 * @param {Program} program @param {import('../works.mjs').Backplane['way']} way @param {string} folder
 */
async function optionsFor(program, way, folder) {
  if (program === 'nats-server') return way === 'replayed' ? ['--jetstream', '--store_dir', folder] : []
  const writing = ['--save', '', '--appendonly', way === 'replayed' ? 'yes' : 'no', '--dir', folder]
  return way === 'cluster' ? [...writing, '--cluster-enabled', 'yes', '--cluster-port', `${await freePort()}`] : writing
}

/** One process of it. */
class Node {
  /** @type {import('node:child_process').ChildProcess} */ #child
  port

  /** @param {Program} program @param {number} port @param {readonly string[]} options */
  constructor(program, port, options) {
    this.port = port
    const address = [program === 'redis-server' ? '--bind' : '--addr', '127.0.0.1', '--port', `${port}`]
    // taskset becomes setpriv, and that the broker: its process id is the broker's. It ends with the bench,
    // however that ends.
    const command = ['-c', String(GENERATOR_CORE), 'setpriv', '--pdeathsig', 'KILL', program, ...address, ...options]
    this.#child = spawn('taskset', command, { stdio: 'ignore', env })
  }

  get pid() {
    return this.#child.pid ?? 0
  }

  /** False when it does not in time. */
  async listens() {
    for (const end = Date.now() + START_TIME; !(await isOpen(this.port)); await delay(10))
      if (this.#child.exitCode !== null || Date.now() > end) return false
    return true
  }

  async stop() {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const ended = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await ended
  }
}

export class Broker {
  /** @type {Node[]} */ #nodes = []
  #folders = /** @type {string[]} */ ([])
  /** Of a cluster, that of one node. */
  url = ''

  /**
   * Rejects with what to install, where it is missing.
   * @param {Program} program @param {import('../works.mjs').Backplane['way']} [way]
   */
  static async start(program, way) {
    if (brokerVersion(program) === undefined)
      throw new Error(`${program} is missing: Debian and Ubuntu have it in the package ${program}`)
    const broker = new Broker()
    try {
      for (let n = 0; n < (way === 'cluster' ? CLUSTER_NODES : 1); n++) await broker.#add(program, way)
      if (way === 'cluster') await broker.#join()
    } catch (error) {
      await broker.stop()
      throw error
    }
    broker.url = `${program === 'redis-server' ? 'redis' : 'nats'}://127.0.0.1:${broker.#nodes[0]?.port}`
    return broker
  }

  /** Seconds since it was started, of all nodes. */
  processorSeconds() {
    return this.#nodes.reduce((sum, { pid }) => sum + processorSeconds(pid), 0)
  }

  async stop() {
    for (const node of this.#nodes) await node.stop()
    for (const folder of this.#folders) rmSync(folder, { recursive: true, force: true })
  }

  /** @param {Program} program @param {import('../works.mjs').Backplane['way']} way */
  async #add(program, way) {
    const folder = mkdtempSync(join(tmpdir(), 'broker-'))
    this.#folders.push(folder)
    const node = new Node(program, await freePort(), await optionsFor(program, way, folder))
    this.#nodes.push(node)
    if (!(await node.listens())) throw new Error(`${program} does not listen on port ${node.port}`)
  }

  /** Shares the slots out among the nodes, and waits until each of them knows it. */
  async #join() {
    const addresses = this.#nodes.map(({ port }) => `127.0.0.1:${port}`)
    const create = ['--cluster', 'create', ...addresses, '--cluster-yes']
    const { status, stdout } = spawnSync('redis-cli', create, { encoding: 'utf8', timeout: START_TIME })
    if (status !== 0) throw new Error(`redis-cli has not made a cluster: ${stdout}`)
    for (const { port } of this.#nodes) {
      const info = () => spawnSync('redis-cli', ['-p', `${port}`, 'cluster', 'info'], { encoding: 'utf8' }).stdout
      for (const end = Date.now() + START_TIME; !info().includes('cluster_state:ok'); await delay(50))
        if (Date.now() > end) throw new Error('the nodes do not become a cluster')
    }
  }
}

/** @param {number} port */
async function isOpen(port) {
  const socket = connect(port, '127.0.0.1')
  const result = await new Promise((resolve) => {
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
  })
  socket.destroy()
  return result
}
