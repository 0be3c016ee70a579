/** Brokers, each started for one contender on a free port of the loopback device, and gone with it. */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { setTimeout as delay } from 'node:timers/promises'
import { GENERATOR_CORE } from '../places.mjs'

/** @typedef {'redis-server' | 'nats-server'} Program as Debian's package is called too */

/** Debian puts nats-server where only root looks for programs. */
const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` }

/** Milliseconds in which a broker must listen. */
const START_TIME = 10_000

/** What it says of its version; undefined when it is not installed. @param {Program} program */
export function brokerVersion(program) {
  const { status, stdout } = spawnSync(program, ['--version'], { encoding: 'utf8', env })
  const version = /\d+\.\d+\.\d+/.exec(stdout ?? '')?.[0]
  return status === 0 ? `${program} ${version ?? 'of unknown version'}` : undefined
}

export class Broker {
  /** @type {import('node:child_process').ChildProcess} */ #child
  /** @type {string} */ #folder
  /** @type {string} */ url

  /** @param {Program} program @param {number} port */
  constructor(program, port) {
    this.#folder = mkdtempSync(join(tmpdir(), 'broker-'))
    const options =
      program === 'redis-server'
        ? ['--port', `${port}`, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', this.#folder]
        : ['--port', `${port}`, '--addr', '127.0.0.1']
    this.url = `${program === 'redis-server' ? 'redis' : 'nats'}://127.0.0.1:${port}`
    // taskset becomes setpriv, and that the broker: its process id is the broker's. It ends with the bench,
    // however that ends.
    const command = ['-c', String(GENERATOR_CORE), 'setpriv', '--pdeathsig', 'KILL', program, ...options]
    this.#child = spawn('taskset', command, { stdio: 'ignore', env })
  }

  get pid() {
    return this.#child.pid ?? 0
  }

  /** Rejects with what to install, where it is missing. @param {Program} program */
  static async start(program) {
    if (brokerVersion(program) === undefined)
      throw new Error(`${program} is missing: Debian and Ubuntu have it in the package ${program}`)
    const port = await freePort()
    const broker = new Broker(program, port)
    const end = Date.now() + START_TIME
    while (!(await isOpen(port))) {
      if (broker.#child.exitCode === null && Date.now() < end) await delay(10)
      else {
        await broker.stop()
        throw new Error(`${program} does not listen on port ${port}`)
      }
    }
    return broker
  }

  async stop() {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const ended = once(this.#child, 'exit')
      this.#child.kill('SIGKILL')
      await ended
    }
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
  server.close()
  await once(server, 'close')
  return port
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
