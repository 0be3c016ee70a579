/** Responses, from the web-standard Response to the form that engines take. */
import { Buffer } from 'node:buffer'
import { STATUS_CODES, validateHeaderName, validateHeaderValue } from 'node:http'
import { TurnShare } from '../core/turn-share.js'
import type { EngineResponse, ResponseHead } from '../engine/contract.js'
import { ContentLengthError } from '../errors.js'
import { BodySource } from './body-source.js'
import { addDefaultHeaders, TEXT_HEADERS } from './default-headers.js'
import { isFetched, untrueFields } from './fetched-response.js'
import { type WriteBody, type WrittenBody, writers } from './written-bodies.js'

/** A small response in plain text: the name of its status. */
export function plainResponse(status: number, headers: readonly string[] = [], headOnly = false): EngineResponse {
  const statusText = STATUS_CODES[status] ?? ''
  const body = new TextEncoder().encode(`${statusText}\n`)
  return {
    status,
    statusText,
    headers: addDefaultHeaders([...TEXT_HEADERS, ...headers]),
    closes: false,
    contentLength: body.length,
    body: headOnly ? undefined : body,
  }
}

/** A response without content (RFC 9110, section 15.3.5). */
export function emptyResponse(status: 204, headers: readonly string[]): EngineResponse {
  return {
    status,
    statusText: STATUS_CODES[status] ?? '',
    headers: addDefaultHeaders([...headers]),
    closes: false,
    contentLength: undefined,
    body: undefined,
  }
}

/** The response in place of a Response that a handler did not give, or that cannot be sent. */
export function failureResponse(error: unknown, headOnly = false): EngineResponse {
  return { ...plainResponse(500, [], headOnly), closes: error instanceof ContentLengthError }
}

/** A response whose body goes on after the head is sent. */
export interface StreamingResponse extends ResponseHead {
  /** The chunks of the body that have come so far, until they are sent. */
  readonly chunks: Uint8Array[]
  readonly rest: BodySource
}

/** A response whose body a function writes. */
export interface WrittenResponse extends ResponseHead {
  readonly write: WriteBody
}

/** Statuses whose response has no content (RFC 9110, sections 15.3.5, 15.3.6 and 15.4.5). */
const BODILESS = new Set([204, 205, 304])
/** Fields that the engine writes itself, since the engine owns the connection; it sends no trailers. */
const ENGINE_HEADERS: ReadonlySet<string> = new Set(['connection', 'keep-alive', 'trailer', 'transfer-encoding'])

/**
 * A body in several pieces of at most this many bytes is gathered and sent whole, if all pieces are there at
 * once.
 */
const GATHERED = 64 * 1024
/** And of at most so many pieces: more of them take long to gather, and are sent as they come. */
const MAX_GATHERED_CHUNKS = 256

/**
 * Takes a Response apart. A body that is there at once, in one piece or in few, is sent whole with its
 * length; any other is streamed, with the length that the Response announces, if any. For HEAD and 304 that
 * length is sent unchecked, as the length of the response to GET (RFC 9110, section 8.6). Rejects with what
 * the body rejects with, with a TypeError or RangeError when the value is no Response that can be sent, and
 * with a ContentLengthError when its Content-Length is no length, or not that of the body.
 */
export async function readResponse(
  response: Response,
  headOnly: boolean,
): Promise<EngineResponse | StreamingResponse | WrittenResponse> {
  if (!isResponse(response)) throw new TypeError(`a route must respond with a Response, got ${describeType(response)}`)
  const written = writers.get(response)
  if (written !== undefined) return readWritten(response, headOnly, written)
  const source = BodySource.of(response)
  try {
    const head = headOf(response)
    const { status, contentLength: announced } = head
    if (BODILESS.has(status)) {
      source?.cancel()
      return { ...head, contentLength: status === 304 ? announced : status === 205 ? 0 : undefined, body: undefined }
    }
    if (headOnly && (source === undefined || announced !== undefined)) {
      source?.cancel()
      return { ...head, body: undefined }
    }
    const chunks = source === undefined ? [] : await gather(source)
    const size = chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0)
    const isWhole = source === undefined || source.isDone
    if (announced !== undefined && (isWhole ? size !== announced : size > announced)) {
      throw wrongLength(announced, size, isWhole)
    }
    if (isWhole) {
      const [first] = chunks
      const body = chunks.length === 1 && first !== undefined ? first : Buffer.concat(chunks)
      return { ...head, contentLength: size, body: headOnly || source === undefined ? undefined : body }
    }
    if (!headOnly) return { ...head, chunks, rest: source }
    source.cancel()
    return { ...head, body: undefined }
  } catch (error) {
    source?.cancel(error)
    throw error
  }
}

function readWritten(response: Response, headOnly: boolean, written: WrittenBody): EngineResponse | WrittenResponse {
  const head = headOf(response)
  const { status, contentLength } = head
  if (typeof written !== 'function' && !BODILESS.has(status)) {
    const { byteLength } = written
    if (headOnly) return { ...head, contentLength: contentLength ?? byteLength, body: undefined }
    if (contentLength !== undefined && byteLength !== contentLength) throw wrongLength(contentLength, byteLength, true)
    return { ...head, contentLength: byteLength, body: written }
  }
  if (typeof written === 'function' && !headOnly && !BODILESS.has(status)) return { ...head, write: written }
  const length = status === 204 ? undefined : status === 205 ? 0 : contentLength
  return { ...head, contentLength: length, body: undefined }
}

/** Whether the response has parts that are not there yet. */
export function isInParts(
  response: EngineResponse | StreamingResponse | WrittenResponse,
): response is StreamingResponse | WrittenResponse {
  return 'rest' in response || 'write' in response
}

/** Cancels the body of a Response that is not going to be sent. */
export function cancelResponse(response: unknown, reason: unknown): void {
  if (!isResponse(response) || writers.has(response)) return
  try {
    BodySource.of(response)?.cancel(reason)
  } catch {
    // A reader of the user's has locked the body: only that reader may cancel it.
  }
}

/**
 * Reads the pieces that are there at once, and no more of them than make a share, until the source has ended.
 */
async function gather(source: BodySource): Promise<Uint8Array[]> {
  const share = new TurnShare()
  const chunks: Uint8Array[] = []
  let size = 0
  while (chunks.length < 2 || (size < GATHERED && chunks.length < MAX_GATHERED_CHUNKS)) {
    if (chunks.length > 1 && share.mustWait) {
      await share.wait()
      source.beginTurn()
    }
    const chunk = await source.nextNow()
    if (chunk === undefined) break
    chunks.push(chunk)
    size += chunk.byteLength
    // By their number alone: the bytes have their own limit. The first chunk comes with its request.
    if (chunks.length > 1) share.spendChunk(0)
  }
  return chunks
}

function headOf(response: Response): ResponseHead {
  const { status } = response
  // Response.error() has status 0. Beyond 599, which a client takes for 500 (RFC 9110, section 15), faces go.
  const isFinal = Number.isInteger(status) && status >= 200 && status <= 999
  if (!isFinal) throw new RangeError(`a route cannot respond with status ${status}`)
  const untrue = isFetched(response) ? untrueFields(response.headers) : ENGINE_HEADERS
  const headers: string[] = []
  let contentLength: number | undefined
  let closes = false
  for (const [name, value] of response.headers) {
    const lower = name.toLowerCase()
    if (untrue.has(lower)) {
      if (lower === 'connection' && untrue === ENGINE_HEADERS) closes = saysClose(value)
      continue
    }
    if (lower === 'content-length') {
      if (contentLength !== undefined) throw noLength(`${contentLength}, ${value}`)
      contentLength = toLength(value)
      continue
    }
    // Node's own Headers are checked; those of other implementations could break out of the head.
    validateHeaderName(name)
    validateHeaderValue(name, value)
    headers.push(name, value)
  }
  const statusText = response.statusText || (STATUS_CODES[status] ?? '')
  validateHeaderValue('statusText', statusText)
  return { status, statusText, headers: addDefaultHeaders(headers), contentLength, closes }
}

/** RFC 9112, section 9.6. */
function saysClose(connection: string): boolean {
  return connection.split(',').some((option) => option.trim().toLowerCase() === 'close')
}

/** `1*DIGIT` (RFC 9110, section 8.6), as far as numbers are exact. */
function toLength(value: string): number {
  const length = /^\d+$/.test(value) ? Number(value) : Number.NaN
  if (!Number.isSafeInteger(length)) throw noLength(value)
  return length
}

function noLength(value: string): ContentLengthError {
  const shown = JSON.stringify(value.slice(0, 60))
  return new ContentLengthError(`the Content-Length of a Response must be a number of bytes below 2^53, got ${shown}`)
}

/** For a body that ended after `size` bytes, or that has given `size` bytes so far (not `hasEnded`). */
export function wrongLength(announced: number, size: number, hasEnded: boolean): ContentLengthError {
  const found = hasEnded ? `${size} bytes` : `${size} bytes or more`
  return new ContentLengthError(`the body of a Response has ${found}, but its Content-Length says ${announced}`)
}

/** By shape rather than by class: frameworks and polyfills bring Response classes of their own. */
export function isResponse(value: unknown): value is Response {
  return typeof value === 'object' && value !== null && 'status' in value && 'headers' in value && 'arrayBuffer' in value
}

function describeType(value: unknown): string {
  return value === null ? 'null' : typeof value
}
