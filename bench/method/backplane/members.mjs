/** The processes of one contender in one work about a backplane, with their broker and their clients. */
import { spawn } from 'node:child_process'
import process from 'node:process'
import { setTimeout as delay } from 'node:timers/promises'
import { complaintIn } from '../complaint.mjs'
import { GENERATOR_CORE, SERVER_CORE } from '../places.mjs'
import { processorSeconds } from '../processor-time.mjs'
import { Broker } from './brokers.mjs'
import { Latencies, Subscriber } from './subscriber.mjs'

/**
 * @typedef {object} Ready what a member says when it can be used
 * @property {number} [port] of a receiver
 * @property {{ port: number, thread: number }[]} [members] receivers that are threads of the publisher
 * @property {number} [thread] the publisher, of these
 * @property {number} [bystander] the thread without clients
 */
/**
 * @typedef {object} Done what a publisher says after a run
 * @property {number} published while it was measured
 * @property {number} processorSeconds of the publisher, for these
 * @property {number} seconds
 * @property {number} total published since it was started
 * @property {number} [alone] µs of processor time to publish a message without a backplane, where that can be
 */
/**
 * @typedef {object} Costs processor time in µs for a message, of those who have a part in it
 * @property {number} publisher for a message that it has published
 * @property {number} [alone] the same without a backplane
 * @property {number} receiver for a message that it has delivered to its client, on average of them
 * @property {number} bystander for a message of the others
 * @property {number} [broker]
 * @property {number} [rest] all other threads of a process that has them all, such as those of V8
 */
/**
 * @typedef {object} Run
 * @property {Costs} costs
 * @property {number} perSecond messages to each receiver
 * @property {number} publisherBusy share of a core
 * @property {Record<string, number>} latencyMicroseconds from `publish` to the client
 */

/**
 * @typedef {object} State seconds of processor time, and what has arrived at all clients together
 * @property {number} received
 * @property {number} receivers
 * @property {number} bystander
 * @property {number} [broker]
 * @property {number} [rest]
 */

/** Milliseconds. */
const START_TIME = 20_000
/** Milliseconds in which what was published must have arrived, and in which anything must go on. */
const PATIENCE = 10_000
/** Messages that the slowest client has got since the publisher was told so. */
const TOLD_EACH = 2500

/** One process. */
class Member {
  /** @type {import('node:child_process').ChildProcess} */ #child
  #errors = ''
  hasEnded = false
  /** What it has said last under each name. @type {Map<string, any>} */
  #said = new Map()
  /** @type {() => void} */ #notify

  /**
   * @param {readonly string[]} command @param {readonly string[]} more @param {string} cores
   * @param {Readonly<Record<string, string>>} env @param {() => void} notify something has changed
   */
  constructor(command, more, cores, env, notify) {
    this.#notify = notify
    const stdio = /** @type {const} */ (['ignore', 'ignore', 'pipe', 'ipc'])
    // taskset becomes the member, and the IPC channel is its own.
    this.#child = spawn('taskset', ['-c', cores, ...command, ...more], { stdio: [...stdio], env: { ...process.env, ...env } })
    this.#child.stderr?.setEncoding('utf8').on('data', (/** @type {string} */ text) => {
      this.#errors = (this.#errors + text).slice(0, 2000)
    })
    this.#child.on('message', (/** @type {Record<string, any>} */ message) => {
      for (const [name, value] of Object.entries(message)) this.#said.set(name, value)
      this.#notify()
    })
    this.#child.on('exit', () => {
      this.hasEnded = true
      this.#notify()
    })
  }

  get pid() {
    return this.#child.pid ?? 0
  }

  get complaint() {
    return complaintIn(this.#errors, this.hasEnded ? this.#child : undefined)
  }

  /** @param {string} name @returns {any} what it has said under this name, once */
  take(name) {
    const value = this.#said.get(name)
    this.#said.delete(name)
    return value
  }

  /** @param {object} message */
  tell(message) {
    // A member that has ended is noticed by its end.
    if (!this.hasEnded) this.#child.send(message, () => {})
  }

  async stop() {
    if (this.hasEnded) return
    const ended = new Promise((resolve) => this.#child.once('exit', resolve))
    this.#child.kill('SIGKILL')
    await ended
  }
}

export class Members {
  /** @type {Broker | undefined} */ #broker
  /** @type {Member[]} */ #members = []
  /** @type {Subscriber[]} */ #subscribers = []
  /** @type {Ready} */ #threads = {}
  #latencies = new Latencies()
  #told = 0
  /** Wakes what waits. @type {() => void} */
  #wake = () => {}

  /**
   * @param {import('../contenders.mjs').Contender} contender
   * @param {import('../works.mjs').Backplane} backplane
   */
  static async start(contender, { broker, way, receivers }) {
    const members = new Members()
    try {
      if (broker) members.#broker = await Broker.start(broker, way)
      const place = members.#broker?.url ?? `threads:${receivers}`
      const receiverCore = String(GENERATOR_CORE)
      const publisherCores = broker ? String(SERVER_CORE) : [SERVER_CORE, GENERATOR_CORE].join(',')
      const roles = broker ? ['publisher', 'receiver', 'bystander'] : ['publisher']
      for (const role of roles) {
        const cores = role === 'publisher' ? publisherCores : receiverCore
        const wake = () => members.#wake()
        members.#members.push(new Member(contender.members ?? [], [role, place, way ?? ''], cores, contender.env ?? {}, wake))
      }
      /** @type {Ready[]} */
      const ready = []
      for (const member of members.#members)
        ready.push(await members.#until(() => member.take('ready'), START_TIME, 'a member is not ready'))
      members.#threads = ready[0] ?? {}
      const ports = members.#threads.members?.map(({ port }) => port) ?? [ready[1]?.port ?? 0]
      const isSocketIo = contender.load?.includes('--socket-io') ?? false
      members.#subscribers = ports.map((port) => new Subscriber(port, isSocketIo, () => members.#arrived()))
      await members.#probe()
      return members
    } catch (error) {
      const reasons = [error instanceof Error ? error.message : String(error), members.complaint]
      await members.stop()
      throw new Error(reasons.filter(Boolean).join('; '))
    }
  }

  get complaint() {
    return this.#members
      .map(({ complaint }) => complaint)
      .filter(Boolean)
      .join('; ')
  }

  /** @param {import('../measure.mjs').Settings} settings @param {number} [rate] */
  async run({ warmUp, seconds }, rate) {
    const publisher = this.#publisher
    publisher.tell({ run: { rate, warmUp, seconds } })
    await this.#until(() => publisher.take('measuring'), warmUp * 1000 + PATIENCE, 'the publisher does not go on')
    const before = this.#state()
    this.#latencies.clear()
    for (const subscriber of this.#subscribers) subscriber.latencies = this.#latencies
    await this.#until(() => publisher.take('measured'), seconds * 1000 + PATIENCE, 'the publisher does not go on')
    const after = this.#state()
    for (const subscriber of this.#subscribers) subscriber.latencies = undefined
    /** @type {Done} */
    const done = await this.#until(() => publisher.take('done'), PATIENCE, 'the publisher does not go on')
    const hasAll = () => this.#least >= done.total || undefined
    await this.#until(hasAll, PATIENCE, () => `${done.total - this.#least} of ${done.total} messages did not arrive`)
    return this.#toRun(done, before, after)
  }

  async stop() {
    for (const subscriber of this.#subscribers) subscriber.close()
    for (const member of this.#members) await member.stop()
    await this.#broker?.stop()
  }

  get #publisher() {
    const [publisher] = this.#members
    if (!publisher) throw new Error('there is no publisher')
    return publisher
  }

  /** What the slowest client has got. */
  get #least() {
    return Math.min(...this.#subscribers.map(({ received }) => received))
  }

  #arrived() {
    const least = this.#least
    if (least - this.#told >= TOLD_EACH) {
      this.#told = least
      this.#publisher.tell({ got: least })
    }
    this.#wake()
  }

  /** Until each client has got something: the subscriptions hold then. */
  async #probe() {
    const end = Date.now() + START_TIME
    while (!this.#subscribers.every(({ hasProbe }) => hasProbe)) {
      if (Date.now() > end) throw new Error('nothing arrives')
      this.#publisher.tell({ probe: true })
      await delay(50)
      this.#check()
    }
    // Probes that are still on their way.
    await delay(200)
  }

  /** Throws when a member or a client has failed. */
  #check() {
    for (const { failure } of this.#subscribers) if (failure) throw failure
    if (this.#members.some(({ hasEnded }) => hasEnded)) throw new Error('a member has ended')
  }

  /**
   * Waits until there is a value.
   * @template T
   * @param {() => T | undefined} take @param {number} time milliseconds
   * @param {string | (() => string)} complaint when there is none in time
   * @returns {Promise<T>}
   */
  async #until(take, time, complaint) {
    const end = Date.now() + time
    for (;;) {
      const value = take()
      if (value !== undefined) return value
      this.#check()
      const left = end - Date.now()
      if (left <= 0) throw new Error(typeof complaint === 'string' ? complaint : complaint())
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, left)
        this.#wake = () => {
          clearTimeout(timer)
          resolve(undefined)
        }
      })
    }
  }

  /** Of all but the publisher, which measures itself. @returns {State} */
  #state() {
    const [publisher, receiver, bystander] = this.#members
    const received = this.#subscribers.reduce((sum, each) => sum + each.received, 0)
    const pid = publisher?.pid ?? 0
    const { members, thread, bystander: idle } = this.#threads
    if (members) {
      const receivers = members.reduce((sum, each) => sum + processorSeconds(pid, each.thread), 0)
      const idler = processorSeconds(pid, idle)
      const rest = processorSeconds(pid) - receivers - idler - processorSeconds(pid, thread)
      return { received, receivers, bystander: idler, rest }
    }
    return {
      received,
      receivers: processorSeconds(receiver?.pid ?? 0),
      bystander: processorSeconds(bystander?.pid ?? 0),
      ...(this.#broker && { broker: this.#broker.processorSeconds() }),
    }
  }

  /** @param {Done} done @param {State} before @param {State} after @returns {Run} */
  #toRun(done, before, after) {
    const delivered = after.received - before.received
    if (delivered <= 0 || done.published <= 0) throw new Error('nothing arrived in time')
    const each = delivered / this.#subscribers.length
    /** @param {'bystander' | 'broker' | 'rest'} name */
    const cost = (name) => (((after[name] ?? Number.NaN) - (before[name] ?? Number.NaN)) / each) * 1e6
    return {
      costs: {
        publisher: (done.processorSeconds / done.published) * 1e6,
        ...(done.alone !== undefined && { alone: done.alone }),
        receiver: ((after.receivers - before.receivers) / delivered) * 1e6,
        bystander: cost('bystander'),
        ...(after.broker !== undefined && { broker: cost('broker') }),
        ...(after.rest !== undefined && { rest: cost('rest') }),
      },
      perSecond: each / done.seconds,
      publisherBusy: done.processorSeconds / done.seconds,
      latencyMicroseconds: this.#latencies.summary(),
    }
  }
}
