/** The channels of `node:diagnostics_channel`. To be published on only while `hasSubscribers`. */
import { channel } from 'node:diagnostics_channel'
import {
  type BackpressureDiagnostics,
  type CloseDiagnostics,
  DIAGNOSTICS_CHANNELS,
  type ErrorDiagnostics,
  type OpenDiagnostics,
  type RefusalDiagnostics,
} from '../types/index.js'

interface TypedChannel<T> {
  readonly hasSubscribers: boolean
  /** What a subscriber throws becomes an uncaught exception. */
  publish(message: T): void
}

/** Each name has one channel in a process, which stays as long as this holds it. */
export const channels: {
  readonly open: TypedChannel<OpenDiagnostics>
  readonly close: TypedChannel<CloseDiagnostics>
  readonly upgradeRefused: TypedChannel<RefusalDiagnostics>
  readonly error: TypedChannel<ErrorDiagnostics>
  readonly backpressure: TypedChannel<BackpressureDiagnostics>
} = {
  open: channel(DIAGNOSTICS_CHANNELS.open),
  close: channel(DIAGNOSTICS_CHANNELS.close),
  upgradeRefused: channel(DIAGNOSTICS_CHANNELS.upgradeRefused),
  error: channel(DIAGNOSTICS_CHANNELS.error),
  backpressure: channel(DIAGNOSTICS_CHANNELS.backpressure),
}
