/** Answers, from the web-standard Response to what engines know. */
import { Buffer } from 'node:buffer'
import { STATUS_CODES, validateHeaderName, validateHeaderValue } from 'node:http'
import type { EngineResponse, ResponseHead } from '../engine/contract.js'
import { BodySource } from './body-source.js'

/** A small answer in plain text: what its status is called. */
export function plainResponse(status: number, headers: readonly string[] = [], headOnly = false): EngineResponse {
  const statusText = STATUS_CODES[status] ?? ''
  const body = new TextEncoder().encode(`${statusText}\n`)
  return {
    status,
    statusText,
    headers: ['content-type', 'text/plain; charset=utf-8', ...headers],
    closes: false,
    contentLength: body.length,
    body: headOnly ? undefined : body,
  }
}

/** An answer without content (RFC 9110, section 15.3.5). */
export function emptyResponse(status: 204, headers: readonly string[]): EngineResponse {
  return { status, statusText: STATUS_CODES[status] ?? '', headers, closes: false, contentLength: undefined, body: undefined }
}

/** An answer whose length is not known when it begins. */
export interface StreamingResponse extends ResponseHead {
  /** What there is of the body so far. */
  readonly chunks: readonly Uint8Array[]
  readonly rest: BodySource
}

/** Statuses whose answer has no content (RFC 9110, sections 15.3.5, 15.3.6 and 15.4.5). */
const BODILESS = new Set([204, 205, 304])
/** What the engine writes itself, for it owns the connection; it sends no trailers. */
const ENGINE_HEADERS = new Set(['connection', 'content-length', 'date', 'keep-alive', 'trailer', 'transfer-encoding'])

/** Bytes of a body in several pieces up to which it is gathered and sent whole, if it is there at once. */
const GATHERED = 64 * 1024

/**
 * Takes a Response apart. A body that is there at once, in one piece or in few, is announced with its length; any other is streamed.
 * Rejects with what the body rejects with, and with a TypeError or RangeError when the value is no Response that can be sent.
 */
export async function readResponse(response: Response, headOnly: boolean): Promise<EngineResponse | StreamingResponse> {
  if (!isResponse(response)) throw new TypeError(`a route must answer with a Response, got ${describeType(response)}`)
  const source = BodySource.of(response)
  try {
    const head = headOf(response)
    if (BODILESS.has(head.status)) {
      source?.cancel()
      return { ...head, contentLength: head.status === 205 ? 0 : undefined, body: undefined }
    }
    if (source === undefined) {
      return { ...head, contentLength: headOnly ? announcedLength(response) : 0, body: undefined }
    }
    const chunks = await gather(source)
    if (source.isDone) {
      const [first] = chunks
      const body = chunks.length === 1 && first !== undefined ? first : Buffer.concat(chunks)
      return { ...head, contentLength: body.byteLength, body: headOnly ? undefined : body }
    }
    if (!headOnly) return { ...head, chunks, rest: source }
    source.cancel()
    return { ...head, contentLength: undefined, body: undefined }
  } catch (error) {
    source?.cancel(error)
    throw error
  }
}

/** Of what is never going to be sent. */
export function cancelResponse(response: unknown, reason: unknown): void {
  if (!isResponse(response)) return
  try {
    BodySource.of(response)?.cancel(reason)
  } catch {
    // Somebody else reads the body: it is not ours to end.
  }
}

/** Reads what comes within this turn of the event loop, until it is clear whether that is all. */
async function gather(source: BodySource): Promise<Uint8Array[]> {
  const chunks: Uint8Array[] = []
  let size = 0
  while (chunks.length < 2 || size < GATHERED) {
    const chunk = await source.nextNow()
    if (chunk === undefined) break
    chunks.push(chunk)
    size += chunk.byteLength
  }
  return chunks
}

function headOf(response: Response): ResponseHead {
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
  return { status, statusText, headers, closes: false }
}

/** What an answer to HEAD without a body says that a GET would bring. */
function announcedLength(response: Response): number | undefined {
  const length = response.headers.get('content-length')
  return length !== null && /^\d{1,15}$/.test(length) ? Number(length) : undefined
}

/** By shape rather than by class: frameworks and polyfills bring Response classes of their own. */
export function isResponse(value: unknown): value is Response {
  return typeof value === 'object' && value !== null && 'status' in value && 'headers' in value && 'arrayBuffer' in value
}

function describeType(value: unknown): string {
  return value === null ? 'null' : typeof value
}
