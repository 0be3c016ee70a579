/**
 * A request and its response as `node:http` has them. They are objects of the classes of Node, whose headers
 * and events are those of Node; what would go through their socket goes through the engine. The methods that
 * do so are members of each response rather than of a class, for frameworks replace the prototypes of both.
 *
 * Long because what a response does depends on how far it has come, and these methods share that.
 */
import { Buffer } from 'node:buffer'
import { type IncomingMessage, type OutgoingHttpHeader, type OutgoingHttpHeaders, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import process from 'node:process'
import { NotSupportedError, type ServerRequest } from '../../index.js'
import { responseOf } from '../response.js'
import { warn } from '../warning.js'
import { ConnectionFacts, messageHeadOf } from '../ws/request.js'
import { tellOfFinish } from './diagnostics.js'

export type RequestListener = (request: IncomingMessage, response: ServerResponse) => unknown

/** A class of responses: that of Node, or one that extends it. */
export type ResponseClass = new (message: IncomingMessage) => ServerResponse

/** What a server has of its exchanges. */
export interface ExchangeHost {
  /** What `request.socket.server` is. */
  readonly server: object
  readonly IncomingMessage: typeof IncomingMessage | undefined
  readonly ServerResponse: ResponseClass | undefined
  /** Whether clients are asked for certificates. */
  readonly keepsCertificates: boolean
  /** Gives a request to the program, which responds whenever it will. */
  tell(message: IncomingMessage, response: ServerResponse): void
  /** Nothing was read or written for as long as `setTimeout` has said. Whether a listener has heard. */
  timedOut(socket: Socket): boolean
}

/** Bytes that may wait for the client before `write` returns false. */
const HIGH_WATER_MARK = 64 * 1024

type WriteCallback = (error?: Error | null) => void
type Fields = OutgoingHttpHeaders | OutgoingHttpHeader[]

/** Gives a request to a server's program. Resolves with the response. */
export function exchange(request: ServerRequest, host: ExchangeHost): Promise<Response> {
  return new Promise((settle) => {
    // Later, one that was not asked for is unknown.
    if (host.keepsCertificates) void request.clientCertificate
    const socket = new ConnectionFacts(request, host.server)
    const message = messageHeadOf(request, { socket, Class: host.IncomingMessage })
    feed(message, request)
    const Class = host.ServerResponse ?? ServerResponse
    const response = new Class(message)
    response.assignSocket(socket)
    equip(response)
    outgoing.set(response, new Outgoing(response, settle, () => request.terminate()))
    request.signal.addEventListener('abort', () => abort(message, response))
    // `destroy` of the request, the response or the socket. A response that has ended still goes out, as
    // with Node: programs destroy the socket in a listener for `finish`.
    socket.once('close', () => {
      if (!response.writableEnded) request.terminate()
    })
    socket.on('timeout', () => {
      const isHeard = [
        !message.complete && message.emit('timeout', socket),
        response.emit('timeout', socket),
        host.timedOut(socket),
      ]
      if (!isHeard.includes(true)) socket.destroy()
    })
    host.tell(message, response)
  })
}

/** Something was read from the client or written to it. */
function touch(socket: Socket | null): void {
  if (socket instanceof ConnectionFacts) socket.touch()
}

/** Has the body read as fast as the message is read. */
function feed(message: IncomingMessage, request: ServerRequest): void {
  const { body } = request
  if (body === null) {
    message.complete = true
    message.push(null)
    return
  }
  let reader: ReadableStreamDefaultReader<Uint8Array> | undefined
  let isReading = false
  const read = async () => {
    reader ??= body.getReader()
    try {
      do {
        const { done, value } = await reader.read()
        if (discarded.has(message)) return
        if (done) {
          message.complete = true
          message.push(null)
          return
        }
        touch(message.socket)
        isReading = message.push(value)
      } while (isReading)
    } catch (error) {
      // When the client has gone, `abort` says so, in the words of Node.
      if (!request.signal.aborted && !discarded.has(message)) message.destroy(error instanceof Error ? error : undefined)
    }
  }
  message._read = () => {
    if (isReading) return
    isReading = true
    void read()
  }
}

/** Requests that have their response, and whose bodies no program reads. */
const discarded = new WeakSet<IncomingMessage>()

/** As Node: a request that no program reads ends after its response, and emits `close`. */
function discard(message: IncomingMessage): void {
  if (message.destroyed || message.readableEnded) return
  // A program may still be reading.
  if (message.readableFlowing !== null || message.listenerCount('readable') > 0) return
  if (!message.complete) {
    // What is left of the body is the engine's to throw away.
    discarded.add(message)
    message._read = () => {}
    message.complete = true
    message.push(null)
  }
  message.resume()
}

/** The client has gone. */
function abort(message: IncomingMessage, response: ServerResponse): void {
  const state = stateOf(response)
  state.isCancelled = true
  message.socket.destroy()
  if (!message.destroyed) {
    const error = Object.assign(new Error('aborted'), { code: 'ECONNRESET' })
    // As Node: an error that no listener waits for is none.
    if (message.listenerCount('error') === 0) message.on('error', () => {})
    message.destroy(error)
  }
  state.end()
  state.settle(new Response())
}

/** What a response has come to. */
class Outgoing {
  readonly #response: ServerResponse
  readonly settle: (response: Response) => void
  /** Of a response in pieces. */
  body: ReadableStreamDefaultController<Uint8Array> | undefined
  isCancelled = false
  needsDrain = false
  /** From `finish` on. */
  hasFinished = false
  #given = 0
  /** The Content-Length of a body in pieces. */
  #announced: number | undefined
  #hasEnded = false
  readonly #terminate: () => void

  constructor(response: ServerResponse, settle: (response: Response) => void, terminate: () => void) {
    this.#response = response
    this.settle = settle
    this.#terminate = terminate
    // By `destroy` of the socket or of the response.
    response.once('close', () => {
      this.#hasEnded = true
    })
  }

  /** Whether the status and the method leave room for a body. */
  get hasBody(): boolean {
    const { req, statusCode } = this.#response
    return req.method !== 'HEAD' && statusCode !== 204 && statusCode !== 205 && statusCode !== 304
  }

  /** Sends head and body at once; `undefined` for a body in pieces. */
  begin(whole: Uint8Array<ArrayBuffer> | undefined): void {
    const response = this.#response
    if (!response.sendDate) throw new NotSupportedError('ServerResponse.sendDate', 'set a Date of your own')
    if (!response.useChunkedEncodingByDefault && whole === undefined && !response.hasHeader('content-length') && this.hasBody) {
      throw new NotSupportedError('ServerResponse.useChunkedEncodingByDefault', 'set Content-Length, or write the body by `end`')
    }
    if (!response.headersSent) response.writeHead(response.statusCode)
    const { statusCode: status, statusMessage: statusText } = response
    const headers = this.#withRightLength(fieldsOf(response), whole?.byteLength)
    if (!response.shouldKeepAlive) headers.push(['connection', 'close'])
    if (!this.hasBody) {
      this.isCancelled = true
      this.settle(responseOf(null, { status, statusText, headers }))
    } else if (whole !== undefined) {
      this.settle(responseOf(whole.byteLength === 0 ? null : whole, { status, statusText, headers }))
    } else {
      this.settle(responseOf(this.#stream(), { status, statusText, headers }))
    }
  }

  /** Without a Content-Length that the engine would refuse; Node sends whatever it is given. */
  #withRightLength(fields: [name: string, value: string][], size: number | undefined): [name: string, value: string][] {
    const given = fields.filter(([name]) => name === 'content-length')
    if (given.length === 0) return fields
    const announced = given.length === 1 ? lengthOf(given[0]?.[1] ?? '') : undefined
    const isChunked = this.#response.hasHeader('transfer-encoding')
    const isRight = announced !== undefined && (!this.hasBody || size === undefined || size === announced)
    if (isRight && !isChunked) {
      if (this.hasBody) this.#announced = announced
      return fields
    }
    if (!isRight) warn('the Content-Length of a ServerResponse is not that of the body: another one, or none, was sent')
    return fields.filter(([name]) => name !== 'content-length')
  }

  /** Whether a body in pieces cannot become as long as its head says; `isEnd` after its last piece. */
  isWrong(isEnd: boolean): boolean {
    const announced = this.#announced
    return announced !== undefined && (this.#given > announced || (isEnd && this.#given !== announced))
  }

  /** The client must not take what it has for the whole. The error is for those who listen for it. */
  cut(): Error {
    const response = this.#response
    const error = mismatch(this.#given, this.#announced ?? 0)
    this.isCancelled = true
    process.nextTick(() => {
      if (response.listenerCount('error') > 0) response.emit('error', error)
      else warn('the Content-Length of a ServerResponse is not that of the body in pieces: the connection was cut')
    })
    response.destroy()
    this.#terminate()
    return error
  }

  /** Bytes that wait for the client. */
  get waiting(): number {
    return this.body === undefined || this.#hasEnded ? 0 : HIGH_WATER_MARK - (this.body.desiredSize ?? HIGH_WATER_MARK)
  }

  /** Throws as Node where `strictContentLength` is set, and this is not the length that was announced. */
  count(bytes: number, isEnd: boolean): void {
    const response = this.#response
    const given = this.#given + bytes
    const announced = response.strictContentLength && this.hasBody ? response.getHeader('content-length') : undefined
    if (announced !== undefined && !response.hasHeader('transfer-encoding')) {
      const length = Number(announced)
      if (given > length || (isEnd && given !== length)) throw mismatch(given, length)
    }
    this.#given = given
  }

  /** Whether there is room for more. */
  give(bytes: Uint8Array): boolean {
    if (this.isCancelled) return true
    touch(this.#response.socket)
    if (bytes.byteLength > 0) this.body?.enqueue(bytes)
    this.needsDrain = (this.body?.desiredSize ?? 0) <= 0
    return !this.needsDrain
  }

  /** Emits `close`, once. */
  end(): void {
    if (this.#hasEnded) return
    this.#hasEnded = true
    const response = this.#response
    // Else the end of the socket would have the response emit `close` again.
    if (response.socket !== null) response.detachSocket(response.socket)
    response.destroyed = true
    // As Node keeps it; its getter `closed` tells of it.
    Object.assign(response, { _closed: true })
    response.emit('close')
  }

  #stream(): ReadableStream<Uint8Array> {
    return new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.body = controller
        },
        pull: () => this.#drained(),
        cancel: () => {
          this.isCancelled = true
          this.#drained()
        },
      },
      new ByteLengthQueuingStrategy({ highWaterMark: HIGH_WATER_MARK }),
    )
  }

  #drained(): void {
    if (!this.needsDrain) return
    this.needsDrain = false
    this.#response.socket?.emit('drain')
    this.#response.emit('drain')
  }
}

const outgoing = new WeakMap<ServerResponse, Outgoing>()

function stateOf(response: ServerResponse): Outgoing {
  const state = outgoing.get(response)
  // `exchange` has given one to each response.
  if (state === undefined) throw new TypeError('the response is none of this server')
  return state
}

function writeHead(this: ServerResponse, status: number, reason?: string | Fields, more?: Fields): ServerResponse {
  const [message, fields] = typeof reason === 'string' ? [reason, more] : [undefined, reason ?? more]
  // Kept with the other fields: what Node's own method is given may go into the text of the head alone.
  if (fields !== undefined && !this.headersSent) setFields(this, fields)
  const { writeHead: original } = ServerResponse.prototype
  return message === undefined ? original.call(this, status) : Reflect.apply(original, this, [status, message])
}

function write(
  this: ServerResponse,
  chunk: string | Uint8Array,
  encoding?: BufferEncoding | WriteCallback,
  callback?: WriteCallback,
): boolean {
  const done = typeof encoding === 'function' ? encoding : callback
  if (this.writableEnded) {
    const error = Object.assign(new Error('write after end'), { code: 'ERR_STREAM_WRITE_AFTER_END' })
    process.nextTick(() => {
      done?.(error)
      this.emit('error', error)
    })
    return false
  }
  const bytes = bytesOf(chunk, encoding)
  if (this.destroyed) {
    const error = Object.assign(new Error('Cannot call write after a stream was destroyed'), { code: 'ERR_STREAM_DESTROYED' })
    if (done !== undefined) process.nextTick(done, error)
    return false
  }
  const state = stateOf(this)
  state.count(bytes.byteLength, false)
  if (state.body === undefined && !state.isCancelled) state.begin(undefined)
  if (!state.isCancelled && state.isWrong(false)) {
    const error = state.cut()
    if (done !== undefined) process.nextTick(done, error)
    return false
  }
  const hasRoom = state.give(bytes)
  if (done !== undefined) process.nextTick(done)
  return hasRoom
}

function flushHeaders(this: ServerResponse): void {
  const state = stateOf(this)
  if (state.body === undefined && !state.isCancelled) state.begin(undefined)
}

function end(
  this: ServerResponse,
  chunk?: string | Uint8Array | WriteCallback | null,
  encoding?: BufferEncoding | WriteCallback,
  callback?: WriteCallback,
): ServerResponse {
  const done = typeof chunk === 'function' ? chunk : typeof encoding === 'function' ? encoding : callback
  const bytes = typeof chunk === 'function' || chunk === undefined || chunk === null ? NOTHING : bytesOf(chunk, encoding)
  if (this.writableEnded) {
    // As Node, which emits this for a chunk alone.
    const isWrite = bytes !== NOTHING
    const error = Object.assign(new Error(isWrite ? 'write after end' : 'Cannot call end after a stream was finished'), {
      code: isWrite ? 'ERR_STREAM_WRITE_AFTER_END' : 'ERR_STREAM_ALREADY_FINISHED',
    })
    process.nextTick(() => {
      done?.(error)
      if (isWrite) this.emit('error', error)
    })
    return this
  }
  const state = stateOf(this)
  if (this.destroyed) {
    // As Node: nothing was finished.
    this.finished = true
    return this
  }
  state.count(bytes.byteLength, true)
  if (state.body !== undefined) {
    if (!state.isCancelled && state.isWrong(true)) {
      state.cut()
      this.finished = true
      return this
    }
    state.give(bytes)
    if (!state.isCancelled) state.body.close()
  } else if (!state.isCancelled) {
    state.begin(bytes)
  }
  this.finished = true
  process.nextTick(() => {
    this.emit('prefinish')
    state.hasFinished = true
    tellOfFinish(this)
    this.emit('finish')
    done?.()
    this.socket?.setTimeout(0)
    discard(this.req)
    state.end()
  })
  return this
}

const NOTHING = new Uint8Array()

/** Undefined where it is no length. */
function lengthOf(value: string): number | undefined {
  const length = /^\d+$/.test(value) ? Number(value) : Number.NaN
  return Number.isSafeInteger(length) ? length : undefined
}

/** With the text of Node. */
function mismatch(given: number, announced: number): Error {
  const text = `Response body's content-length of ${given} byte(s) does not match the content-length of ${announced} byte(s) set in header`
  return Object.assign(new Error(text), { code: 'ERR_HTTP_CONTENT_LENGTH_MISMATCH' })
}

/** What is asked for beyond what the engine sends. */
function absent(member: string, instead: string): () => never {
  return () => {
    throw new NotSupportedError(`ServerResponse.${member}`, instead)
  }
}

const METHODS = {
  writeHead,
  write,
  end,
  flushHeaders,
  addTrailers: absent('addTrailers', 'send header fields'),
  writeEarlyHints: absent('writeEarlyHints', 'send Link fields with the response'),
  writeProcessing: absent('writeProcessing', 'leave it out'),
  assignSocket: absent('assignSocket', 'respond to each request with the response that came with it'),
  // The server sends "100 Continue" when the body is read.
  writeContinue: (callback?: () => void) => callback?.(),
}

/** Of newer releases of Node. */
const writeInformation = 'writeInformation' in ServerResponse.prototype ? absent('writeInformation', 'leave it out') : undefined

const GETTERS: PropertyDescriptorMap = {
  writableFinished: getter((response) => stateOf(response).hasFinished),
  writableHighWaterMark: getter(() => HIGH_WATER_MARK),
  writableLength: getter((response) => stateOf(response).waiting),
  writableNeedDrain: getter((response) => !response.destroyed && !response.finished && stateOf(response).needsDrain),
}

/** Gives the response its members: one by one, since that takes a tenth of the time of defineProperties. */
function equip(response: ServerResponse): void {
  const to = response as unknown as Record<keyof typeof METHODS | 'writeInformation', unknown>
  to.writeHead = METHODS.writeHead
  to.write = METHODS.write
  to.end = METHODS.end
  to.flushHeaders = METHODS.flushHeaders
  to.addTrailers = METHODS.addTrailers
  to.writeEarlyHints = METHODS.writeEarlyHints
  to.writeProcessing = METHODS.writeProcessing
  to.assignSocket = METHODS.assignSocket
  to.writeContinue = METHODS.writeContinue
  if (writeInformation !== undefined) to.writeInformation = writeInformation
  Object.defineProperties(response, GETTERS)
}

function getter(get: (response: ServerResponse) => unknown): PropertyDescriptor {
  return {
    get(this: ServerResponse) {
      return get(this)
    },
    configurable: true,
  }
}

/** What a class of a program must leave as it is, since each response has its own here. */
export function overriddenBy(Class: ResponseClass): string | undefined {
  return Object.keys({ ...METHODS, ...GETTERS }).find((name) => {
    for (
      let at: object | null = Class.prototype as object;
      at !== null && at !== ServerResponse.prototype;
      at = Object.getPrototypeOf(at)
    ) {
      if (Object.hasOwn(at, name)) return true
    }
    return false
  })
}

function bytesOf(chunk: unknown, encoding: unknown): Uint8Array<ArrayBuffer> {
  if (typeof chunk === 'string') {
    return Buffer.from(chunk, typeof encoding === 'string' && Buffer.isEncoding(encoding) ? encoding : 'utf8')
  }
  // A copy: the program may go on to use the memory.
  if (chunk instanceof Uint8Array) return Uint8Array.from(chunk)
  throw Object.assign(new TypeError('The "chunk" argument must be of type string or an instance of Buffer or Uint8Array'), {
    code: 'ERR_INVALID_ARG_TYPE',
  })
}

/** As `writeHead` takes them: an object, or names and values in turn. */
function setFields(response: ServerResponse, fields: Fields): void {
  if (!Array.isArray(fields)) {
    for (const [name, value] of Object.entries(fields)) if (value !== undefined) response.setHeader(name, value)
    return
  }
  const flat = fields.flat()
  for (let at = 0; at + 1 < flat.length; at += 2) response.removeHeader(String(flat[at]))
  for (let at = 0; at + 1 < flat.length; at += 2) response.appendHeader(String(flat[at]), String(flat[at + 1]))
}

function fieldsOf(response: ServerResponse): [name: string, value: string][] {
  const all: [string, string][] = []
  for (const [name, value] of Object.entries(response.getHeaders())) {
    for (const one of Array.isArray(value) ? value : [value]) if (one !== undefined) all.push([name, String(one)])
  }
  return all
}
