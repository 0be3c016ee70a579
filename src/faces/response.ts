/** Responses of statuses that the class Response itself does not take; which statuses have no content. */
import { writeResponse } from '../index.js'

/** The last one that it takes. */
const LAST = 599
/** The last one with three digits. */
const VERY_LAST = 999

/** Statuses whose response has no content (RFC 9110, sections 15.3.5, 15.3.6 and 15.4.5). */
export const BODILESS: ReadonlySet<number> = new Set([204, 205, 304])

/** Throws RangeError for statuses below 200 or above 999. Bytes are copied. */
export function responseOf(
  body: Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array> | null,
  init: { readonly status: number; readonly statusText: string; readonly headers: [name: string, value: string][] },
): Response {
  const { status } = init
  const isTaken = status <= LAST || status > VERY_LAST
  const taken = isTaken ? init : { ...init, status: 500 }
  const response = body instanceof Uint8Array ? writeResponse(body, taken) : new Response(body, taken)
  return isTaken ? response : Object.defineProperty(response, 'status', { value: status })
}
