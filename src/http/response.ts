/** Answers, from the web-standard Response to the flat text that engines know. */
import { STATUS_CODES, validateHeaderName, validateHeaderValue } from 'node:http'
import type { EngineResponse } from '../engine/contract.js'

/** A small answer in plain text: what its status is called. */
export function plainResponse(status: number, headers: readonly string[] = [], headOnly = false): EngineResponse {
  const statusText = STATUS_CODES[status] ?? ''
  return {
    status,
    statusText,
    headers: ['content-type', 'text/plain; charset=utf-8', ...headers],
    body: new TextEncoder().encode(`${statusText}\n`),
    headOnly,
  }
}

/** Statuses whose answer has no content (RFC 9110, sections 15.3.5, 15.3.6 and 15.4.5). */
const BODILESS = new Set([204, 205, 304])
/** What the engine writes itself, for it owns the connection. */
const ENGINE_HEADERS = new Set(['connection', 'content-length', 'date', 'keep-alive', 'transfer-encoding'])

/** Reads a web-standard Response whole. Rejects with what its body rejects with, or when it is no Response at all. */
export async function toEngineResponse(response: Response, headOnly: boolean): Promise<EngineResponse> {
  if (!isResponse(response)) throw new TypeError(`a route must answer with a Response, got ${describeType(response)}`)
  const { status } = response
  // Response.error() has status 0, and other implementations may let more through.
  const isFinal = Number.isInteger(status) && status >= 200 && status <= 599
  if (!isFinal) throw new RangeError(`a route cannot answer with status ${status}`)
  const headers: string[] = []
  for (const [name, value] of response.headers) {
    if (ENGINE_HEADERS.has(name.toLowerCase())) continue
    // Node's own Headers are checked; those of other implementations could break out of the head.
    validateHeaderName(name)
    validateHeaderValue(name, value)
    headers.push(name, value)
  }
  const statusText = response.statusText || (STATUS_CODES[status] ?? '')
  validateHeaderValue('statusText', statusText)
  const hasBody = !BODILESS.has(status) && response.body !== null
  return {
    status,
    statusText,
    headers,
    body: hasBody ? new Uint8Array(await response.arrayBuffer()) : undefined,
    headOnly,
  }
}

/** By shape rather than by class: frameworks and polyfills bring Response classes of their own. */
export function isResponse(value: unknown): value is Response {
  return typeof value === 'object' && value !== null && 'status' in value && 'headers' in value && 'arrayBuffer' in value
}

function describeType(value: unknown): string {
  return value === null ? 'null' : typeof value
}
