/**
 * What TypeScript makes of the face of uWebSockets.js where a program was written for that package's
 * declarations. npm does not carry them: what the face promises of them is written down here, in parts.
 */
import { expect, test } from 'vitest'
import type {
  App,
  AppOptions,
  HttpRequest,
  HttpResponse,
  RecognizedString,
  SSLApp,
  us_listen_socket,
  us_socket_context_t,
  WebSocket,
  WebSocketBehavior,
} from '../../src/faces/uws.js'

/** Of a socket. */
interface Sending {
  send(message: RecognizedString, isBinary?: boolean, compress?: boolean): number
  sendFirstFragment(message: RecognizedString, isBinary?: boolean, compress?: boolean): number
  sendFragment(message: RecognizedString, compress?: boolean): number
  sendLastFragment(message: RecognizedString, compress?: boolean): number
  end(code?: number, shortMessage?: RecognizedString): void
  close(): void
  ping(message?: RecognizedString): number
  getBufferedAmount(): number
  subscribe(topic: RecognizedString): boolean
  unsubscribe(topic: RecognizedString): boolean
  isSubscribed(topic: RecognizedString): boolean
  getTopics(): string[]
  publish(topic: RecognizedString, message: RecognizedString, isBinary?: boolean, compress?: boolean): boolean
  cork(callback: () => void): Sending
  getUserData(): { readonly user: string }
  getRemoteAddress(): ArrayBuffer
  getRemoteAddressAsText(): ArrayBuffer
  getRemotePort(): number
}

/** Of a response. */
interface Responding {
  writeStatus(status: RecognizedString): Responding
  writeHeader(key: RecognizedString, value: RecognizedString): Responding
  write(chunk: RecognizedString): boolean
  end(body?: RecognizedString, closeConnection?: boolean): Responding
  endWithoutBody(reportedContentLength?: number, closeConnection?: boolean): Responding
  close(): Responding
  getWriteOffset(): number
  pause(): void
  resume(): void
  getRemoteAddress(): ArrayBuffer
  getRemoteAddressAsText(): ArrayBuffer
  getProxiedRemoteAddress(): ArrayBuffer
  upgrade<T>(
    userData: T,
    key: RecognizedString,
    protocol: RecognizedString,
    extensions: RecognizedString,
    context: us_socket_context_t,
  ): void
  tryEnd(chunk: RecognizedString, totalSize: number): [boolean, boolean]
  onWritable(handler: (offset: number) => boolean): Responding
  onAborted(handler: () => void): Responding
  onData(handler: (chunk: ArrayBuffer, isLast: boolean) => void): Responding
  cork(callback: () => void): Responding
}

/** Of a request. */
interface Asking {
  getHeader(lowerCaseKey: RecognizedString): string
  getParameter(index: number | RecognizedString): string | undefined
  getQuery(): string
  getQuery(key: string): string | undefined
  setYield(hasYielded: boolean): Asking
}

/** Of a request, in older declarations. */
interface AskingBefore {
  getHeader(lowerCaseKey: RecognizedString): string
  getParameter(index: number): string
  getUrl(): string
  getMethod(): string
  getCaseSensitiveMethod(): string
  forEach(callback: (key: string, value: string) => void): void
  setYield(hasYielded: boolean): AskingBefore
}

/** Of an app. */
interface Serving {
  get(pattern: RecognizedString, handler: (response: HttpResponse, request: HttpRequest) => void | Promise<void>): Serving
  ws<T>(pattern: RecognizedString, behavior: WebSocketBehavior<T>): Serving
  publish(topic: RecognizedString, message: RecognizedString, isBinary?: boolean, compress?: boolean): boolean
  any(pattern: RecognizedString, handler: (response: Responding, request: AskingBefore) => void | Promise<void>): Serving
  numSubscribers(topic: RecognizedString): number
  addServerName(hostname: string, options: AppOptions): Serving
  listen(port: number, callback: (token: false | us_listen_socket) => void | Promise<void>): Serving
  listen(port: number, options: number, callback: (token: false | us_listen_socket) => void | Promise<void>): Serving
  listen(host: RecognizedString, port: number, callback: (token: false | us_listen_socket) => void | Promise<void>): Serving
  close(): Serving
}

test('apps, requests, responses and sockets serve where those of uWebSockets.js are asked for', () => {
  const take = (_app: Serving, _request: Asking & AskingBefore, _response: Responding, _socket: Sending) => {}
  const give = (
    app: ReturnType<typeof App>,
    request: HttpRequest,
    response: HttpResponse,
    socket: WebSocket<{ readonly user: string }>,
  ) => take(app, request, response, socket)
  const make = (app: typeof App, secure: typeof SSLApp): ((options: AppOptions) => Serving)[] => [app, secure]
  expect([typeof give, typeof make]).toEqual(['function', 'function'])
})

test('handlers that annotate parts of what they get are handlers here', () => {
  const behavior: WebSocketBehavior<{ readonly user: string }> = {
    maxPayloadLength: 1024,
    open: (socket: Sending) => void socket.send(socket.getUserData().user),
    message: (socket: Sending, message: ArrayBuffer, isBinary: boolean) => void socket.send(message, isBinary),
    upgrade: (response: Responding, request: Asking) => void response.end(request.getHeader('origin')),
  }
  expect(behavior.maxPayloadLength).toBe(1024)
})
