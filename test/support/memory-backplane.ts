/** A backplane engine in memory: members of one broker object, with the faults that tests ask for. */
import type { BackplaneEngine, BackplaneEnvelope, BackplaneHost, BackplaneSettings } from '../../src/index.js'
import { resolveBackplaneSettings } from '../../src/options/backplane.js'

/** What engines share. */
export class MemoryBroker {
  readonly members = new Set<MemoryEngine>()
  /** All that was sent, the newest last. */
  readonly sent: BackplaneEnvelope[] = []

  send(from: MemoryEngine, envelope: BackplaneEnvelope): void {
    this.sent.push(envelope)
    for (const member of this.members) if (member !== from) member.receive(envelope)
  }
}

export class MemoryEngine implements BackplaneEngine {
  readonly name = 'memory'
  readonly address = 'here'
  readonly settings: BackplaneSettings
  isReplayed = false
  maxEnvelopeBytes = 1_000_000
  /** Calls of `interest`. */
  readonly interests: { added: readonly string[]; removed: readonly string[] }[] = []
  /** Calls of `publish`. */
  readonly batches: (readonly BackplaneEnvelope[])[] = []
  /** What `start` does first. */
  beforeStart: () => void = () => {}
  /** Set: `publish` promises, and a call of `resolve` or `reject` in here settles the promise. */
  promises: PromiseWithResolvers[] | undefined
  host: BackplaneHost | undefined
  isDown = false
  isClosed = false
  #broker: MemoryBroker

  constructor(broker: MemoryBroker, settings: Partial<BackplaneSettings> = {}) {
    this.#broker = broker
    this.settings = resolveBackplaneSettings(settings)
  }

  start(host: BackplaneHost): void {
    this.beforeStart()
    this.host = host
    this.#broker.members.add(this)
  }

  interest(added: readonly string[], removed: readonly string[]): void {
    this.interests.push({ added, removed })
  }

  publish(envelopes: readonly BackplaneEnvelope[]): void | Promise<void> {
    this.batches.push(envelopes)
    if (this.promises === undefined) {
      this.send(envelopes)
      return
    }
    return new Promise((resolve, reject) => {
      this.promises?.push({ resolve, reject })
    })
  }

  send(envelopes: readonly BackplaneEnvelope[]): void {
    for (const envelope of envelopes) this.#broker.send(this, envelope)
  }

  receive({ topic, data }: BackplaneEnvelope): void {
    if (!this.isDown) this.host?.deliver(topic, data)
  }

  goDown(reason: string): void {
    this.isDown = true
    this.host?.onStatus('down', reason)
  }

  goUp(): void {
    this.isDown = false
    this.host?.onStatus('up')
    if (!this.isReplayed) this.host?.onStatus('gap')
  }

  close(): void {
    this.isClosed = true
    this.#broker.members.delete(this)
  }
}

interface PromiseWithResolvers {
  resolve(): void
  reject(cause: Error): void
}
