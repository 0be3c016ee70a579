/** Responses to requests for a WebSocket connection that is not to be, and who is told of them. */
import { channels } from '../core/diagnostics.js'
import type { EngineResponse, RequestHead } from '../engine/contract.js'
import { plainResponse } from '../http/response.js'
import { writers } from '../http/written-bodies.js'
import type { RefusalReason } from '../types/index.js'

/** A request that comes to no handler. */
export interface Refusal {
  readonly reason: RefusalReason
  readonly response: EngineResponse
}

/** Whom a refusal concerns. */
export type Refused = Pick<RequestHead, 'url' | 'remoteAddress'>

/** Tells the diagnostics channel. */
export function tellRefusal(
  { url, remoteAddress }: Refused,
  { status }: { readonly status: number },
  reason: RefusalReason,
): void {
  if (channels.upgradeRefused.hasSubscribers) {
    channels.upgradeRefused.publish({ reason, status, target: url, remoteAddress })
  }
}

/** A response in plain text. */
export function refusal(status: number, reason: RefusalReason, closes = false): Refusal {
  return { reason, response: { ...plainResponse(status), closes } }
}

/** Tells the source of a Response that is not going to be sent to stop. */
export function discard(response: Response): void {
  if (writers.has(response)) return
  // A reader of the user's may have locked the body: then only that reader may cancel it.
  response.body?.cancel().catch(() => {})
}
