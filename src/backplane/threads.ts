/** `native-websocket-server/threads`: topics to the servers of all worker threads of one process. */
import type { EngineName, ThreadMember } from '../engine/contract.js'
import { checkEngineName, selectEngine } from '../engine/select.js'
import { BACKPLANE_SETTING_NAMES, resolveBackplaneSettings } from '../options/backplane.js'
import { checkFunction, checkNonEmptyString, checkObject } from '../options/checks.js'
import type { BackplaneEngine, BackplaneEnvelope, BackplaneHost, BackplaneSettings } from './contract.js'
import { type MakeOutside, Outside } from './outside.js'

/**
 * Options of `threads`, beside those that all backplanes have. `maxPendingBytes` is what may wait for a
 * thread of each server of the others: beyond it the oldest is dropped, counted, and told as a gap to the
 * thread that was too slow.
 */
export interface ThreadsOptions extends Partial<BackplaneSettings> {
  /** Servers with the same name hear of each other, whichever thread they are in. Default `default`. */
  group?: string
  /**
   * Makes a backplane to other processes, for example `() => redis()`: a new one with each call. One of the
   * threads calls it and connects for all: what is published on any thread goes out once, and what comes in
   * comes once. When that thread ends, another one takes over within a second and a half. What is published
   * meanwhile waits for it, up to `maxPendingBytes` in each thread, beyond which the oldest is dropped and
   * counted; what comes in meanwhile is missed, which is a gap for all of them. While the outside is down, or
   * too slow, messages go on between the threads. Those to the outside are dropped then, and counted by the
   * server that has published them; for one that is too slow, or that replays, they wait within the same
   * limit. The server of the thread that has the connection reports once why it is down.
   *
   * `required`, `maxPendingBytes` and `linger` are those of `threads`. One that the engine has with another
   * value, which is not the default, makes `listen` reject with OptionError.
   */
  outside?: () => BackplaneEngine
  /**
   * `native` passes messages through the addon, `portable` through `BroadcastChannel`; servers on different
   * ones do not hear of each other. It need not be the engine of the server. Default: as with
   * `new WebSocketServer`.
   */
  engine?: EngineName
}

/** The longest payload of a hub: an envelope travels whole. */
const MAX_ENVELOPE_BYTES = 2 ** 30

/**
 * Makes a backplane between the threads of this process, for one server: `new WebSocketServer({ backplane:
 * threads() })`. Throws OptionError.
 */
export function threads(options: ThreadsOptions = {}): BackplaneEngine {
  checkObject('options', options, [...BACKPLANE_SETTING_NAMES, 'group', 'outside', 'engine'])
  const { group = 'default', outside, engine } = options
  checkNonEmptyString('group', group, 'a string that is not empty')
  if (engine !== undefined) checkEngineName('engine', engine)
  if (outside !== undefined) checkFunction('outside', outside)
  return new ThreadsEngine(group, resolveBackplaneSettings(options), engine, outside)
}

class ThreadsEngine implements BackplaneEngine {
  readonly name = 'threads'
  readonly address = 'this process'
  readonly settings: BackplaneSettings
  readonly isReplayed = false
  readonly maxEnvelopeBytes = MAX_ENVELOPE_BYTES
  readonly #group: string
  readonly #engineName: EngineName | undefined
  readonly #makeOutside: MakeOutside | undefined
  #member: ThreadMember | undefined
  #outside: Outside | undefined

  constructor(group: string, settings: BackplaneSettings, engine: EngineName | undefined, outside: MakeOutside | undefined) {
    this.settings = settings
    this.#group = group
    this.#engineName = engine
    this.#makeOutside = outside
  }

  get isOutsideUp(): boolean | undefined {
    return this.#makeOutside && (this.#outside?.isUp ?? false)
  }

  get pendingBytes(): number {
    return this.#outside?.pendingBytes ?? 0
  }

  async start(host: BackplaneHost): Promise<void> {
    const { engine } = selectEngine(this.#engineName)
    const { maxPendingBytes } = this.settings
    const member = engine.joinThreads(
      // Any string may be a group: what is in front keeps it apart from the hub of the signs.
      { hub: `topics of ${this.#group}`, maxPendingBytes },
      {
        // Envelopes are bytes.
        arrival: (topic, data) => host.deliver(topic, data as Buffer),
        lost: (envelopes) => host.onStatus('gap', undefined, envelopes),
      },
    )
    this.#member = member
    // What changes from here on is told by `interest`.
    const topics = new Set(host.topics())
    for (const topic of topics) member.addInterest(topic)
    await member.ready
    // `close` may have come meanwhile.
    if (this.#makeOutside === undefined || this.#member !== member) return
    this.#outside = new Outside(engine, this.#makeOutside, this.#group, this.settings, host, member, topics)
    try {
      await this.#outside.start()
    } catch (cause) {
      await this.close()
      throw cause
    }
  }

  interest(added: readonly string[], removed: readonly string[]): void {
    for (const topic of removed) this.#member?.removeInterest(topic)
    for (const topic of added) this.#member?.addInterest(topic)
    this.#outside?.interest(added, removed)
  }

  publish(envelopes: readonly BackplaneEnvelope[]): void {
    const member = this.#member
    if (member === undefined) return
    for (const { topic, data } of envelopes) member.publish(topic, data, 0)
    member.flush()
    this.#outside?.publish(envelopes)
  }

  async close(): Promise<void> {
    const [member, outside] = [this.#member, this.#outside]
    this.#member = undefined
    this.#outside = undefined
    // As the gateway it goes on for a moment, with what comes for the other threads.
    try {
      await outside?.close()
    } finally {
      member?.close()
    }
  }
}
