/**
 * One fault of one way through a broker, with a broker, a publisher and a receiver of its own: what the
 * receiver's client has lost, and what the two servers have counted and told.
 *
 * Long because each fault is a few lines that use the same broker, publisher and receiver.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { setTimeout as delay } from 'node:timers/promises'
import { WebSocket } from 'ws'
import { freePort } from '../free-port.mjs'
import { root } from '../install/paths.mjs'

/** @typedef {import('../hosts/run.mjs').PromiseName} PromiseName */
/**
 * @typedef {'killed-1' | 'killed-4' | 'stopped' | 'slow' | 'burst' | 'burst-roomy' | 'receiver'} FaultName
 */
/**
 * @typedef {object} Load messages on one topic
 * @property {number} count
 * @property {number} size bytes of each
 * @property {number} [perSecond] all in one turn of the event loop without it
 */
/**
 * @typedef {object} State what a server knows of its backplane
 * @property {import('../../src/types/index.js').BackplaneMetrics} metrics
 * @property {{ code: string, count: number, message: string }[]} errors in the order in which they were told
 * @property {number} mostPending bytes that have waited
 * @property {number} rssGrowth bytes of resident memory, the most since the first message
 */
/**
 * @typedef {object} Row
 * @property {FaultName} fault
 * @property {PromiseName} promise
 * @property {number} published
 * @property {number} lost messages that did not come to the client
 * @property {number} missing those that the receiver has counted
 * @property {number} dropped those that the publisher has counted
 * @property {number} repeated
 * @property {number} reordered
 * @property {string[]} publisherTold codes of errors, those of one code together, with counts
 * @property {string[]} receiverTold
 * @property {number} pendingBytes
 * @property {number} rssGrowth of the publisher, in bytes
 * @property {number} seconds from the end of the fault, or of what was published, until all was there
 * @property {string[]} broken a sentence for each contradiction to docs/scaling.md
 */

/** Messages of which many wait, and those of which many come. */
const LARGE = { count: 100_000, size: 1024 }
const SMALL = { size: 100, perSecond: 2000 }
/** Milliseconds of SMALL before a fault and after it. */
const AROUND = 1000
/** What a broker that is slow may work, of 100 milliseconds. */
const SLOW = { works: 5, rests: 95 }
/** Milliseconds in which anything must come about. */
const PATIENCE = 90_000
/** Milliseconds in which servers still report: the window of a gap, and more. */
const REST = 2500

/**
 * @type {Record<FaultName,
 *   { title: string, suffer: (run: Run) => Promise<void>, maxPendingBytes?: number }>}
 */
export const FAULTS = {
  'killed-1': {
    title: 'broker killed, started again after 1 s',
    suffer: (run) => run.whileSmall((broker) => killed(broker, 1000)),
  },
  'killed-4': {
    title: 'broker killed, started again after 4 s',
    suffer: (run) => run.whileSmall((broker) => killed(broker, 4000)),
  },
  stopped: { title: 'broker stopped for 5 s', suffer: (run) => run.whileSmall((broker) => stopped(broker, 5000)) },
  slow: {
    title: 'broker at 5 % of its speed, 100,000 × 1 KiB in 5 s',
    suffer: async (run) => {
      const end = run.broker.slowDown()
      await run.publish({ ...LARGE, perSecond: 20_000 })
      await run.quiet()
      end()
    },
  },
  burst: { title: '100,000 × 1 KiB in one turn', suffer: (run) => run.publish(LARGE) },
  'burst-roomy': {
    title: 'the same, with maxPendingBytes of 128 MiB',
    suffer: (run) => run.publish(LARGE),
    maxPendingBytes: 2 ** 27,
  },
  receiver: {
    title: 'receiver stopped for 8 s, 100,000 × 1 KiB meanwhile',
    suffer: async (run) => {
      run.receiver.child.kill('SIGSTOP')
      await Promise.all([run.publish({ ...LARGE, perSecond: 15_000 }), delay(8000)])
      run.receiver.child.kill('SIGCONT')
    },
  },
}

/** @param {Broker} broker @param {number} milliseconds */
async function killed(broker, milliseconds) {
  await broker.kill()
  await delay(milliseconds)
  await broker.start()
}

/** @param {Broker} broker @param {number} milliseconds */
async function stopped(broker, milliseconds) {
  broker.child.kill('SIGSTOP')
  await delay(milliseconds)
  broker.child.kill('SIGCONT')
}

/** @param {PromiseName} promise @param {FaultName} fault @returns {Promise<Row>} */
export async function runFault(promise, fault) {
  const run = new Run(promise, FAULTS[fault].maxPendingBytes, await freePort())
  try {
    await run.start()
    await FAULTS[fault].suffer(run)
    const ended = performance.now()
    await run.settle()
    const seconds = (performance.now() - ended) / 1000
    await delay(REST)
    return { fault, promise, seconds, ...(await run.verdict()) }
  } finally {
    await run.end()
  }
}

/** A broker on a port of its own, which ends with this process. */
class Broker {
  /** @type {import('node:child_process').ChildProcess} */ child
  #program
  #args
  #folder = mkdtempSync(join(tmpdir(), 'faults-'))
  /** @type {number} */ #port
  /** @type {string} */ url

  /** @param {PromiseName} promise @param {number} port */
  constructor(promise, port) {
    const isRedis = promise.startsWith('redis')
    this.#port = port
    this.#program = isRedis ? 'redis-server' : 'nats-server'
    this.url = `${isRedis ? 'redis' : 'nats'}://127.0.0.1:${port}`
    // As it is to be for `replayed`: what it has acknowledged, it has written.
    const writing = promise === 'redis-streams' ? ['--appendonly', 'yes', '--appendfsync', 'always'] : []
    this.#args = isRedis
      ? ['--port', `${port}`, '--bind', '127.0.0.1', '--save', '', '--dir', this.#folder, ...writing]
      : ['--port', `${port}`, '--addr', '127.0.0.1', '--jetstream', '--store_dir', this.#folder]
    this.child = this.#spawn()
  }

  #spawn() {
    const command = ['--pdeathsig', 'KILL', this.#program, ...this.#args]
    // Debian puts nats-server where only root looks for programs.
    const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` }
    return spawn('setpriv', command, { stdio: 'ignore', env })
  }

  async listens() {
    for (const end = Date.now() + PATIENCE; Date.now() < end; await delay(10)) {
      const socket = connect(this.#port, '127.0.0.1')
      const isOpen = await new Promise((resolve) => {
        socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
      })
      socket.destroy()
      if (isOpen) return
      if (this.child.exitCode !== null) break
    }
    throw new Error(`${this.#program} does not start`)
  }

  async start() {
    this.child = this.#spawn()
    await this.listens()
  }

  async kill() {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return
    const ended = once(this.child, 'exit')
    this.child.kill('SIGKILL')
    await ended
  }

  /** It works for a moment, and rests for long. Gives what ends that. */
  slowDown() {
    let isOver = false
    const { child } = this
    const turn = async () => {
      while (!isOver) {
        child.kill('SIGSTOP')
        await delay(SLOW.rests)
        child.kill('SIGCONT')
        await delay(SLOW.works)
      }
    }
    void turn()
    return () => {
      isOver = true
      child.kill('SIGCONT')
    }
  }

  async remove() {
    await this.kill()
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

/** A process with a server. */
class Server {
  /** @type {import('node:child_process').ChildProcess} */ child
  /** @type {Map<string, (value: any) => void>} */ #waits = new Map()
  #errors = ''
  /** @type {Promise<never>} */ #ended

  /** @param {PromiseName} promise @param {string} url @param {number} [maxPendingBytes] */
  constructor(promise, url, maxPendingBytes) {
    const options = JSON.stringify({ promise, url, maxPendingBytes })
    const command = [process.execPath, join(root, 'scripts', 'faults', 'server.mjs'), options]
    const stdio = /** @type {const} */ (['ignore', 'ignore', 'pipe', 'ipc'])
    this.child = spawn('setpriv', ['--pdeathsig', 'KILL', ...command], { stdio: [...stdio] })
    this.child.stderr?.setEncoding('utf8').on('data', (text) => {
      this.#errors += text
    })
    this.#ended = once(this.child, 'exit').then(() => {
      throw new Error(`a server has ended: ${this.#errors}`)
    })
    this.#ended.catch(() => {})
    this.child.on('message', (/** @type {Record<string, any>} */ message) => {
      for (const [name, value] of Object.entries(message)) this.#waits.get(name)?.(value)
    })
  }

  /** The next that it says under this name. @param {string} name @returns {Promise<any>} */
  async says(name) {
    return await Promise.race([new Promise((resolve) => this.#waits.set(name, resolve)), this.#ended])
  }

  /** @returns {Promise<State>} */
  async state() {
    this.child.send({ ask: true })
    return await this.says('state')
  }
}

/** All that takes part. */
class Run {
  #promise
  #maxPendingBytes
  /** @type {Server[]} */ #servers = []
  broker
  /** @type {WebSocket | undefined} */ #client
  #published = 0
  /** What has come: the numbers of messages, which begin with 1. */
  #came = new Uint8Array(1 << 20)
  #last = 0
  #received = 0
  #repeated = 0
  #reordered = 0

  /**
   * @param {PromiseName} promise @param {number | undefined} maxPendingBytes
   * @param {number} port of the broker
   */
  constructor(promise, maxPendingBytes, port) {
    this.#promise = promise
    this.#maxPendingBytes = maxPendingBytes
    this.broker = new Broker(promise, port)
  }

  get publisher() {
    return this.#server(0)
  }

  get receiver() {
    return this.#server(1)
  }

  /** @param {number} index */
  #server(index) {
    const server = this.#servers[index]
    if (server === undefined) throw new Error('the servers are not started')
    return server
  }

  async start() {
    await this.broker.listens()
    for (let n = 0; n < 2; n++) this.#servers.push(new Server(this.#promise, this.broker.url, this.#maxPendingBytes))
    const [, port] = await Promise.all([this.publisher.says('port'), this.receiver.says('port')])
    this.#client = new WebSocket(`ws://127.0.0.1:${port}`)
    this.#client.on('message', (data) => this.#note(Number(data.toString().slice(0, 7))))
    await once(this.#client, 'open')
    await this.settle()
  }

  /** @param {number} number */
  #note(number) {
    this.#received++
    if (this.#came[number]) this.#repeated++
    else if (number < this.#last) this.#reordered++
    this.#came[number] = 1
    this.#last = Math.max(this.#last, number)
  }

  /** @param {Load} load */
  async publish(load) {
    this.publisher.child.send({ publish: load })
    this.#published = await this.publisher.says('published')
  }

  /** @param {(broker: Broker) => Promise<void>} suffer a fault, while a little is published all the time */
  async whileSmall(suffer) {
    let isOver = false
    const publishing = async () => {
      while (!isOver) await this.publish({ ...SMALL, count: 200 })
    }
    const published = publishing()
    await delay(AROUND)
    await suffer(this.broker)
    await this.#areUp()
    await delay(AROUND)
    isOver = true
    await published
  }

  async #areUp() {
    for (const end = Date.now() + PATIENCE; Date.now() < end; await delay(20)) {
      const states = await Promise.all([this.publisher.state(), this.receiver.state()])
      if (states.every(({ metrics }) => metrics.up)) return
    }
    throw new Error('a server does not come up')
  }

  /** Until nothing has come for a second, and nothing waits. */
  async quiet() {
    let before = -1
    for (const end = Date.now() + PATIENCE; Date.now() < end; ) {
      const { metrics } = await this.publisher.state()
      if (metrics.pendingBytes === 0 && this.#received === before) return
      before = this.#received
      await delay(1000)
    }
  }

  /** Publishes until something of it comes: behind all that comes at all. */
  async settle() {
    await this.#areUp()
    const before = this.#published
    for (const end = Date.now() + PATIENCE; Date.now() < end; await delay(20)) {
      if (this.#last > before) return
      await this.publish({ count: 1, size: 100 })
    }
    throw new Error(`nothing comes any more: ${this.#last} of ${this.#published}`)
  }

  async verdict() {
    const [publisher, receiver] = [await this.publisher.state(), await this.receiver.state()]
    // What was published before the receiver had a client is not lost.
    const first = this.#came.indexOf(1)
    let lost = 0
    for (let number = first; number <= this.#last; number++) if (!this.#came[number]) lost++
    const { missing } = receiver.metrics
    const { dropped } = publisher.metrics
    const isReplayed = this.#promise === 'redis-streams' || this.#promise === 'nats-jetstream'
    const broken = []
    if (lost !== missing) broken.push(`${lost} were lost, and the receiver has counted ${missing}`)
    if (isReplayed && lost > dropped) broken.push(`${lost} were lost, and the publisher has dropped ${dropped}`)
    if (this.#repeated + this.#reordered > 0) broken.push(`${this.#repeated} were repeated, ${this.#reordered} reordered`)
    for (const [who, { metrics, errors }] of /** @type {const} */ ([
      ['publisher', publisher],
      ['receiver', receiver],
    ])) {
      const told = errors.reduce((sum, { count }) => sum + count, 0)
      const counted = metrics.dropped + metrics.missing
      if (told !== counted) broken.push(`the ${who} has counted ${counted}, and told ${told}`)
    }
    return {
      published: this.#last - first + 1,
      lost,
      missing,
      dropped,
      repeated: this.#repeated,
      reordered: this.#reordered,
      publisherTold: toldBy(publisher),
      receiverTold: toldBy(receiver),
      pendingBytes: publisher.mostPending,
      rssGrowth: publisher.rssGrowth,
      broken,
    }
  }

  async end() {
    this.#client?.terminate()
    for (const server of this.#servers) server.child.kill('SIGKILL')
    await this.broker.remove()
  }
}

/** @param {State} state */
function toldBy({ errors }) {
  /** @type {Map<string, number[]>} */
  const byCode = new Map()
  for (const { code, count } of errors) byCode.set(code, [...(byCode.get(code) ?? []), count])
  return [...byCode].map(([code, counts]) => {
    const sum = counts.reduce((all, one) => all + one, 0)
    return `${counts.length} × ${code}${sum > 0 ? ` (${sum.toLocaleString('en')})` : ''}`
  })
}
