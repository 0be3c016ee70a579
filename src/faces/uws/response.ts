/**
 * `HttpResponse` of uWebSockets.js.
 *
 * Long because each member of that class is here, in a few lines each, on the state of one response.
 */
import { Buffer } from 'node:buffer'
import { type Accept, NotSupportedError } from '../../index.js'
import { BODILESS, responseOf } from '../response.js'
import { warn } from '../warning.js'
import type { us_socket_context_t } from './behavior.js'
import { bodyOf, type Facts, headerOf, methodOf } from './facts.js'
import { addressBytes, addressText, arrayBufferOf, bufferOf, type RecognizedString, textOf } from './strings.js'
import { callHandler } from './uncaught.js'

const UNUSABLE = 'the HttpResponse cannot be used any more: it has been sent, or its client has gone (onAborted)'

/** Bytes of a response in pieces that may wait before `write` and `tryEnd` tell of backpressure. */
const HIGH_WATER_MARK = 64 * 1024

/** Of a body in chunks, as uWebSockets.js has it. */
const UNKNOWN_LENGTH = 2n ** 64n - 1n

/** What becomes of a request: its response, or, where it asked for a WebSocket, the user data. */
export type Outcome = Response | Accept<unknown>

/** What the module of the face does with its responses. */
export interface ResponseControl {
  /** The handlers have returned: reads the body for the handler that asked, and throws it away otherwise. */
  handled(response: HttpResponse): void
  /** Responds with 500, unless there is a response. */
  failed(response: HttpResponse): void
  /** Cuts the connection of a response that is still to come. */
  cut(response: HttpResponse): void
}

export let responseControl: ResponseControl

export class HttpResponse {
  /** Anything that the program keeps here. */
  [key: string]: unknown
  readonly #request: Facts
  readonly #isUpgrade: boolean
  /** Whether addresses of IPv4 are told as IPv6. */
  readonly #isMapped: boolean
  readonly #settle: (outcome: Outcome) => void
  #state: 'open' | 'responded' | 'aborted' = 'open'
  #status = 200
  /** Whether the status is said, if only by a field that follows it. */
  #hasStatus = false
  #statusText = ''
  readonly #headers: [name: string, value: string][] = []
  /** Of a response in pieces. */
  #body: ReadableStreamDefaultController<Uint8Array> | undefined
  /** Whether the engine takes no more: the client has gone, or asked for the head alone. */
  #isCancelled = false
  /** Whether `write` or `tryEnd` has told of backpressure. */
  #isBlocked = false
  #offset = 0
  #isWatching = false
  readonly #abortHandlers: (() => void)[] = []
  #onWritable: ((offset: number) => unknown) | undefined
  #onData: ((chunk: ArrayBuffer, maxRemaining: bigint) => void) | undefined
  #isReading = false
  /** What is told with the last chunk of the body: undefined before the first one. */
  #remaining: bigint | undefined
  /** While the body is not to be read. */
  #paused: Promise<void> | undefined
  #resume: (() => void) | undefined

  constructor(request: Facts, isUpgrade: boolean, isMapped: boolean, settle: (outcome: Outcome) => void) {
    this.#request = request
    this.#isUpgrade = isUpgrade
    this.#isMapped = isMapped
    this.#settle = settle
  }

  /**
   * For example `404 Not Found`. As in uWebSockets.js, the first call counts, and none behind `writeHeader`
   * or a part of the body: the status is 200 then.
   */
  writeStatus(status: RecognizedString): this {
    this.#checkOpen()
    if (this.#hasStatus) return this
    this.#hasStatus = true
    const text = textOf(status)
    this.#status = Number.parseInt(text, 10)
    this.#statusText = text.replace(/^\d+ ?/, '')
    return this
  }

  writeHeader(key: RecognizedString, value: RecognizedString): this {
    this.#checkOpen()
    this.#hasStatus = true
    // uWebSockets.js would write it into the body.
    if (this.#body !== undefined) warn('writeHeader after a part of the response has no effect: call it before `write`')
    this.#headers.push([textOf(key), textOf(value)])
    return this
  }

  /** Sends the head of a response in pieces. */
  beginWrite(): this {
    this.#checkOpen()
    this.#begin()
    return this
  }

  /** False when bytes wait for the client: `onWritable` tells when they are few again. */
  write(chunk: RecognizedString): boolean {
    this.#checkOpen()
    this.#begin()
    return this.#give(chunk)
  }

  /** With `closeConnection`, the connection ends after the response, if its head was not sent before. */
  end(body: RecognizedString = '', closeConnection = false): this {
    this.#checkOpen()
    this.#mayClose(closeConnection)
    if (this.#body !== undefined) {
      this.#give(body)
      this.#finish()
    } else {
      this.#respond(bufferOf(body))
    }
    return this
  }

  /** The length is for HEAD and 304, which have no body. `closeConnection` as in `end`. */
  endWithoutBody(reportedContentLength?: number, closeConnection = false): this {
    this.#checkOpen()
    this.#mayClose(closeConnection)
    if (reportedContentLength !== undefined) {
      if (reportedContentLength !== 0 && methodOf(this.#request) !== 'HEAD' && this.#status !== 304) {
        throw new NotSupportedError('endWithoutBody with a length of a response to GET', 'send the body that it announces')
      }
      this.#setLength(reportedContentLength)
    }
    this.#respond(undefined)
    return this
  }

  /**
   * Sends a piece of a body of `totalSize` bytes, unless too many bytes wait for the client: then nothing of
   * it is taken, and `onWritable` tells when to try again. Returns whether it was taken, and whether the
   * response is whole.
   */
  tryEnd(fullBodyOrChunk: RecognizedString, totalSize: number): [ok: boolean, hasResponded: boolean] {
    this.#checkOpen()
    const bytes = bufferOf(fullBodyOrChunk)
    if (this.#body === undefined && bytes.byteLength >= totalSize) {
      this.#respond(bytes)
      return [true, true]
    }
    if (this.#body === undefined) {
      this.#setLength(totalSize)
      this.#begin()
    } else if (this.#isFull) {
      this.#isBlocked = true
      return [false, false]
    }
    this.#give(bytes)
    this.#isBlocked = false
    const isWhole = this.#offset >= totalSize
    if (isWhole) this.#finish()
    return [true, isWhole]
  }

  /** Cuts the connection. Handlers of `onAborted` are called before this returns. */
  close(): this {
    this.#checkOpen()
    this.#watch()
    this.#request.terminate()
    return this
  }

  getWriteOffset(): number {
    this.#checkOpen()
    return this.#offset
  }

  /** The handler's result means nothing here. */
  onWritable(handler: (offset: number) => boolean): this {
    this.#checkOpen()
    this.#onWritable = handler
    return this
  }

  /** Handlers add up. */
  onAborted(handler: () => void): this {
    this.#checkOpen()
    this.#abortHandlers.push(handler)
    this.#watch()
    return this
  }

  /** To be called before the route's handler returns. The chunks may be kept. */
  onData(handler: (chunk: ArrayBuffer, isLast: boolean) => void): this {
    return this.onDataV2((chunk, maxRemaining) => handler(chunk, maxRemaining === 0n))
  }

  /**
   * As `onData`, with the most bytes that can follow: 0 with the last chunk, 2^64-1 where no length is known.
   */
  onDataV2(handler: (chunk: ArrayBuffer, maxRemainingBodyLength: bigint) => void): this {
    this.#checkOpen()
    this.#onData = handler
    return this
  }

  /** The whole body; null when it has more than `maxSize` bytes. */
  collectBody(maxSize: number, handler: (body: ArrayBuffer | null) => void): this {
    const chunks: Uint8Array[] = []
    let size = 0
    return this.onData((chunk, isLast) => {
      if (size > maxSize) return
      size += chunk.byteLength
      chunks.push(new Uint8Array(chunk))
      if (size > maxSize) handler(null)
      else if (isLast) handler(arrayBufferOf(Buffer.concat(chunks)))
    })
  }

  /** The most bytes of the body that can follow: 0 when it is whole, 2^64-1 where no length is known. */
  maxRemainingBodyLength(): bigint {
    this.#checkOpen()
    return this.#remaining ?? this.#declaredLength ?? (bodyOf(this.#request) === null ? 0n : UNKNOWN_LENGTH)
  }

  /** Throws NotSupportedError. */
  collect(): never {
    throw new NotSupportedError('HttpResponse.collect', 'use collectBody')
  }

  /** Stops to read the body. */
  pause(): void {
    this.#checkOpen()
    this.#paused ??= new Promise((resolve) => {
      this.#resume = resolve
    })
  }

  resume(): void {
    this.#checkOpen()
    this.#paused = undefined
    this.#resume?.()
  }

  /** Calls back at once: a response leaves in as few writes as possible in any case. */
  cork(callback: () => void): this {
    this.#checkOpen()
    callback()
    return this
  }

  /**
   * Accepts the WebSocket, with the first subprotocol in `secWebSocketProtocol`, which must be one that the
   * client has offered, and with headers that were written before. The key and the extensions of the request
   * are the engine's.
   */
  upgrade<UserData>(
    userData: UserData,
    _secWebSocketKey: RecognizedString | undefined,
    secWebSocketProtocol: RecognizedString | undefined,
    _secWebSocketExtensions: RecognizedString | undefined,
    _context: us_socket_context_t,
  ): void {
    this.#checkOpen()
    if (!this.#isUpgrade) throw new TypeError('the request does not ask for a WebSocket, or no route of `ws` has its path')
    const isProtocol = ([name]: readonly [string, string]) => name.toLowerCase() === 'sec-websocket-protocol'
    // Programs that choose one by themselves write it with `writeHeader`.
    const chosen = textOf(secWebSocketProtocol) || (this.#headers.find(isProtocol)?.[1] ?? '')
    const protocol = chosen.split(',', 1)[0]?.trim()
    const headers = this.#headers.filter((header) => !isProtocol(header))
    this.#state = 'responded'
    this.#settle({ data: userData, headers, ...(protocol && { protocol }) })
  }

  /** 4 or 16 bytes; none on a unix socket. */
  getRemoteAddress(): ArrayBuffer {
    this.#checkOpen()
    return addressBytes(this.#request.remoteAddress, this.#isMapped)
  }

  /** For example `127.0.0.1`, or `0000:0000:0000:0000:0000:0000:0000:0001`. */
  getRemoteAddressAsText(): ArrayBuffer {
    this.#checkOpen()
    return addressText(this.#request.remoteAddress, this.#isMapped)
  }

  getRemotePort(): number {
    this.#checkOpen()
    return this.#request.remotePort
  }

  /** As a proxy tells it, with the option `proxyProtocol`; else empty. */
  getProxiedRemoteAddress(): ArrayBuffer {
    this.#checkOpen()
    return addressBytes(this.#request.proxiedAddress ?? '', false)
  }

  /** As `getProxiedRemoteAddress`, in the words of `getRemoteAddressAsText`. */
  getProxiedRemoteAddressAsText(): ArrayBuffer {
    this.#checkOpen()
    return addressText(this.#request.proxiedAddress ?? '', false)
  }

  /** 0: of what a proxy tells, the engine keeps the address alone. */
  getProxiedRemotePort(): number {
    this.#checkOpen()
    return 0
  }

  #checkOpen(): void {
    if (this.#state !== 'open') throw new Error(UNUSABLE)
  }

  #watch(): void {
    if (this.#isWatching) return
    this.#isWatching = true
    this.#request.signal.addEventListener('abort', () => this.#abort())
  }

  #abort(): void {
    // As with uWebSockets.js, what comes after the response is no abort.
    if (this.#state !== 'open') return
    this.#state = 'aborted'
    this.#isCancelled = true
    this.#paused = undefined
    this.#resume?.()
    for (const handler of this.#abortHandlers) callHandler(handler)
    // The server throws away what it is given for a client that has gone.
    this.#settle(new Response())
  }

  #mayClose(closes: boolean): void {
    if (!closes) return
    if (this.#body !== undefined) {
      // An error here would keep the response from ending.
      warn('closeConnection after a part of the response has no effect: write the header `Connection: close` before')
      return
    }
    this.#headers.push(['connection', 'close'])
  }

  #setLength(length: number): void {
    this.#dropLength()
    this.#headers.push(['content-length', String(length)])
  }

  #dropLength(): void {
    const at = this.#headers.findIndex(([name]) => name.toLowerCase() === 'content-length')
    if (at !== -1) this.#headers.splice(at, 1)
  }

  /** A whole response; `undefined`: with the length that was set, if any. */
  #respond(body: Uint8Array<ArrayBuffer> | undefined): void {
    if (body !== undefined) this.#dropLength()
    const isBodiless = body === undefined || body.byteLength === 0 || BODILESS.has(this.#status)
    const response = this.#responseWith(isBodiless ? null : body)
    this.#state = 'responded'
    this.#settle(response)
  }

  #responseWith(body: Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array> | null): Response {
    return responseOf(body, { status: this.#status, statusText: this.#statusText, headers: singly(this.#headers) })
  }

  /** Sends the head of a response in pieces. */
  #begin(): void {
    if (this.#body !== undefined || this.#isCancelled) return
    this.#hasStatus = true
    this.#watch()
    const stream = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#body = controller
        },
        pull: () => this.#hasRoom(),
        cancel: () => {
          this.#isCancelled = true
          this.#hasRoom()
        },
      },
      new ByteLengthQueuingStrategy({ highWaterMark: HIGH_WATER_MARK }),
    )
    this.#settle(this.#responseWith(stream))
  }

  get #isFull(): boolean {
    return !this.#isCancelled && (this.#body?.desiredSize ?? 0) <= 0
  }

  /** Whether there is room for more. The program may go on to use the memory of the chunk: this is a copy. */
  #give(chunk: RecognizedString): boolean {
    const bytes = Uint8Array.from(bufferOf(chunk))
    this.#offset += bytes.byteLength
    if (!this.#isCancelled && bytes.byteLength > 0) this.#body?.enqueue(bytes)
    this.#isBlocked = this.#isFull
    return !this.#isBlocked
  }

  #finish(): void {
    this.#state = 'responded'
    if (!this.#isCancelled) this.#body?.close()
  }

  #hasRoom(): void {
    if (!this.#isBlocked || this.#state !== 'open') return
    this.#isBlocked = false
    callHandler(this.#onWritable, this.#offset)
  }

  /** Undefined where the request has none. */
  get #declaredLength(): bigint | undefined {
    const declared = bodyOf(this.#request) === null ? undefined : headerOf(this.#request, 'content-length')
    return declared === undefined ? undefined : BigInt(declared)
  }

  async #read(): Promise<void> {
    const body = bodyOf(this.#request)
    if (body === null) {
      // As uWebSockets.js: a request without a body has an empty last chunk.
      queueMicrotask(() => this.#tell(new ArrayBuffer(0), 0n))
      return
    }
    const length = this.#declaredLength
    const reader = body.getReader()
    let received = 0n
    try {
      for (;;) {
        while (this.#paused !== undefined) await this.#paused
        const { done, value } = await reader.read()
        if (value !== undefined) {
          received += BigInt(value.byteLength)
          this.#tell(arrayBufferOf(value), length === undefined ? UNKNOWN_LENGTH : length - received)
        }
        if (!done) continue
        if (received !== length) this.#tell(new ArrayBuffer(0), 0n)
        return
      }
    } catch {
      // The client has gone, which `onAborted` tells; or the body is longer than any that the server takes.
      if (this.#state === 'open') this.close()
    }
  }

  #tell(chunk: ArrayBuffer, maxRemaining: bigint): void {
    this.#remaining = maxRemaining
    if (this.#state !== 'aborted') callHandler(this.#onData, chunk, maxRemaining)
  }

  static {
    responseControl = {
      handled(response) {
        if (response.#isReading) return
        response.#isReading = true
        if (response.#onData !== undefined) {
          void response.#read()
          return
        }
        if (response.#state !== 'open') return
        response.#watch()
        // Without a reader the server would not notice that the client leaves.
        bodyOf(response.#request)
          ?.cancel()
          .catch(() => {})
      },
      cut(response) {
        response.#watch()
        response.#request.terminate()
      },
      failed(response) {
        if (response.#state !== 'open' || response.#body !== undefined) return
        response.#status = 500
        response.#statusText = ''
        response.#headers.length = 0
        response.#respond(bufferOf('Internal Server Error\n'))
      },
    }
  }
}

/** Fields that have one value: clients take the first line of several, where a Response would join them. */
const SINGLE = new Set(['age', 'content-type', 'etag', 'expires', 'last-modified', 'location', 'retry-after', 'server'])

function singly(headers: readonly (readonly [name: string, value: string])[]): [name: string, value: string][] {
  const seen = new Set<string>()
  const all: [string, string][] = []
  for (const [name, value] of headers) {
    const lower = name.toLowerCase()
    if (SINGLE.has(lower) && seen.has(lower)) continue
    seen.add(lower)
    all.push([name, value])
  }
  return all
}
