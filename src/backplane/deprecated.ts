/**
 * The server's end of a backplane of the first kind, an object with `start`, `publish` and `close` alone:
 * what is published here goes out, and what comes in is published here. It goes with the next major
 * release.
 */
import { Buffer } from 'node:buffer'
import process from 'node:process'
import type { Payload } from '../engine/contract.js'
import { ClosedError, WebSocketServerError } from '../errors.js'
import { checkTopic, type OutgoingMessage, toPayload } from '../options/arguments.js'
import { checkBoolean } from '../options/checks.js'
import type { Backplane } from '../types/index.js'
import { bufferOver, plainView } from '../util/bytes.js'
import { isThenable } from '../util/thenable.js'

let hasWarned = false

/** Once in a process. */
function warn(): void {
  if (hasWarned) return
  hasWarned = true
  const message =
    'backplanes with start, publish and close alone are deprecated: use native-websocket-server/redis, /nats or /threads, or a BackplaneEngine'
  process.emitWarning(message, { type: 'DeprecationWarning', code: 'NATIVE_WEBSOCKET_SERVER_DEP0001' })
}

export class DeprecatedBackplaneLink {
  readonly #backplane: Backplane
  readonly #report: (error: unknown) => void
  readonly #publishHere: (topic: string, payload: Payload) => void
  /** From the first call of `start` on; a failed one may be repeated. */
  #starting: Promise<void> | undefined
  #isStarted = false
  #isClosed = false

  /** `publishHere` is for what comes in, `report` for what the backplane throws or rejects with. */
  constructor(backplane: Backplane, publishHere: (topic: string, payload: Payload) => void, report: (error: unknown) => void) {
    warn()
    this.#backplane = backplane
    this.#publishHere = publishHere
    this.#report = report
  }

  /**
   * Once for a server, however often it tries to listen. Rejects with ERR_BACKPLANE, or with ClosedError
   * after `close`.
   */
  async start(): Promise<void> {
    this.#starting ??= this.#start()
    try {
      await this.#starting
    } catch (cause) {
      this.#starting = undefined
      if (!this.#isClosed) throw failure('start', cause)
    }
    if (this.#isClosed) throw new ClosedError()
  }

  async #start(): Promise<void> {
    await this.#backplane.start((topic, data, isBinary) => this.#deliver(topic, data, isBinary))
    this.#isStarted = true
  }

  /** Sends out what was published here. Whatever goes wrong is reported. */
  publish(topic: string, { payload, isText }: OutgoingMessage): void {
    if (!this.#isStarted || this.#isClosed) return
    try {
      // The publisher may change its bytes as soon as its call returns.
      const bytes = typeof payload === 'string' ? payload : plainView(payload).slice()
      const data = isText && typeof bytes !== 'string' ? bufferOver(bytes).toString() : bytes
      const result: unknown = this.#backplane.publish(topic, data, typeof data !== 'string')
      if (isThenable(result)) Promise.resolve(result).catch((cause: unknown) => this.#report(failure('publish', cause)))
    } catch (cause) {
      this.#report(failure('publish', cause))
    }
  }

  /**
   * Resolves when the backplane has closed, which it need not if it was never started. What goes wrong is
   * reported.
   */
  async close(): Promise<void> {
    this.#isClosed = true
    if (this.#starting === undefined) return
    try {
      await this.#backplane.close()
    } catch (cause) {
      this.#report(failure('close', cause))
    }
  }

  #deliver(topic: string, data: string | Uint8Array, isBinary: boolean): void {
    checkTopic(topic)
    checkBoolean('isBinary', isBinary)
    const payload = toPayload(data)
    if (this.#isClosed) return
    if (isBinary) this.#publishHere(topic, typeof payload === 'string' ? Buffer.from(payload) : payload)
    else this.#publishHere(topic, typeof payload === 'string' ? payload : Buffer.from(plainView(payload)).toString())
  }
}

function failure(method: keyof Backplane, cause: unknown): Error {
  const reason = cause instanceof Error ? cause.message : String(cause)
  return new WebSocketServerError('ERR_BACKPLANE', `the backplane failed to ${method}: ${reason}`, { cause })
}
