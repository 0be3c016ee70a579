/** What the broker says where a user has no right to a subject: it goes on, and so does the connection. */
import { setImmediate as setImmediatePromise } from 'node:timers/promises'
import type { NatsConnection } from '@nats-io/transport-node'
import type { BackplaneEnvelope } from '../contract.js'
import type { SessionEvents } from '../session.js'
import type { Subjects } from './subjects.js'

/** Of the client's PermissionViolationError, what is used here. */
export interface Violation {
  readonly operation: string
  readonly subject: string
  readonly message: string
}

/** Undefined where an error is about something else. */
export function violationOf(cause: unknown): Violation | undefined {
  if (!(cause instanceof Error)) return undefined
  if (cause.name !== 'PermissionViolationError') return violationOf(cause.cause)
  // As the client declares it.
  const { operation, subject } = cause as Error & Violation
  return { operation, subject, message: cause.message }
}

/** Envelopes of one call of `publish`. */
interface Call {
  readonly envelopes: readonly BackplaneEnvelope[]
  /** Those that were not refused yet, by subject; made when the first one is. */
  bySubject: Map<string, BackplaneEnvelope[]> | undefined
}

/** Finds the envelopes that the broker has refused: it names their subjects, in their order. */
export class RefusedEnvelopes {
  readonly #subjects: Subjects
  readonly #events: SessionEvents
  /** Those of which a refusal may come, the oldest first. */
  readonly #calls = new Set<Call>()
  #question: { readonly subject: string; refusal?: string } | undefined

  constructor(connection: NatsConnection, subjects: Subjects, events: SessionEvents) {
    this.#subjects = subjects
    this.#events = events
    this.#watch(connection).catch(() => {})
  }

  /** Rejects when a message on the subject, which the broker has read when `work` resolves, was refused. */
  async unlessRefused(subject: string, work: Promise<unknown>): Promise<void> {
    const question: { readonly subject: string; refusal?: string } = { subject }
    this.#question = question
    await work
    await setImmediatePromise()
    this.#question = undefined
    if (question.refusal !== undefined) throw new Error(question.refusal)
  }

  /** `envelopes` are published; `work` resolves when the broker has read all of them. */
  during(envelopes: readonly BackplaneEnvelope[], work: Promise<unknown>): void {
    const call: Call = { envelopes, bySubject: undefined }
    this.#calls.add(call)
    // The client tells refusals a few promises later than the broker's reply to what comes behind them.
    const settled = () => void setImmediate(() => this.#calls.delete(call))
    work.then(settled, settled)
  }

  async #watch(connection: NatsConnection): Promise<void> {
    for await (const status of connection.status()) {
      const violation = status.type === 'error' ? violationOf(status.error) : undefined
      if (violation?.operation === 'publish') this.#refused(violation)
    }
  }

  #refused({ subject, message }: Violation): void {
    if (this.#question?.subject === subject) this.#question.refusal = message
    for (const call of this.#calls) {
      call.bySubject ??= this.#grouped(call.envelopes)
      const envelope = call.bySubject.get(subject)?.shift()
      if (envelope === undefined) continue
      this.#events.dropped(envelope, message)
      return
    }
  }

  #grouped(envelopes: readonly BackplaneEnvelope[]): Map<string, BackplaneEnvelope[]> {
    const bySubject = new Map<string, BackplaneEnvelope[]>()
    for (const envelope of envelopes) {
      const subject = this.#subjects.of(envelope.topic)
      const some = bySubject.get(subject)
      if (some === undefined) bySubject.set(subject, [envelope])
      else some.push(envelope)
    }
    return bySubject
  }
}
