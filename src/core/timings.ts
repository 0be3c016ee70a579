/**
 * What handlers cost a server, how long turns of the event loop are, and how late the loop is. Only a server
 * with a metrics page has this: its handlers are wrapped before it listens, so that all others pay nothing.
 *
 * Two looks at the clock and an entry cost about 0.25 µs (0.1 µs for a look, on a virtual machine). A handler
 * that is called more often than every MIN_INTERVAL is therefore measured only now and then, and the entry
 * stands for all calls since the one before: what measuring takes stays below a hundredth of a thread's time,
 * whatever the load.
 */
import { isResponse } from '../http/response.js'
import type { Awaitable, WebSocketHandlers } from '../types/index.js'
import { isThenable } from '../util/thenable.js'
import { Histogram } from './histogram.js'

/** Seconds, of handlers: from the shortest echo to a handler that blocks everything. */
const HANDLER_BOUNDS = [0.000_005, 0.000_02, 0.000_1, 0.000_5, 0.002_5, 0.01, 0.05, 0.25, 1, 5]
/** Seconds, of turns and of delays. */
const LOOP_BOUNDS = [0.000_1, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5]
/** Seconds, of responses, which may wait for a database. */
const RESPONSE_BOUNDS = [0.000_5, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

/** Milliseconds between two calls of one handler that are both measured, on average. */
const MIN_INTERVAL = 0.05
/** Calls that one measured call stands for, at most. */
const MAX_STRIDE = 64
/** Milliseconds between two turns that are measured. */
const TURN_INTERVAL = 5
/** Milliseconds between two looks at how late a timer of the event loop is. */
const DELAY_INTERVAL = 20

/** The class of a response's status, or `error` where the handler failed. */
export type StatusClass = '2xx' | '3xx' | '4xx' | '5xx' | 'error'

/** By the first digit of a status. A Response has none below 200. */
const STATUS_CLASSES: readonly (StatusClass | undefined)[] = [undefined, undefined, '2xx', '3xx', '4xx', '5xx']

/** One HTTP route. */
export interface HttpTimings {
  readonly method: string
  readonly path: string
  /** From the call of the handler to its response. */
  readonly responses: Map<StatusClass, Histogram>
}

/** One WebSocket route. */
export interface WebSocketTimings {
  readonly path: string
  /** By the handler's name. */
  readonly handlers: Map<string, Histogram>
  /** Connections that are open. */
  open: number
  /** Connections that have ended, by close code. */
  readonly closed: Map<string, number>
}

type MessageHandler<T> = NonNullable<WebSocketHandlers<T>['message']>

export class Timings {
  readonly http: HttpTimings[] = []
  readonly webSocket: WebSocketTimings[] = []
  /** Of some turns: from a call of a handler until the turn is over. */
  readonly turns = new Histogram(LOOP_BOUNDS)
  readonly delays = new Histogram(LOOP_BOUNDS)
  #lastTurn = 0
  #timer: NodeJS.Timeout | undefined

  /** Begins to watch the event loop; does nothing the second time. */
  start(): void {
    if (this.#timer === undefined) this.#watchLoop()
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  wrapHttp<R>(method: string, path: string, handler: (request: R) => Awaitable<Response>): (request: R) => Awaitable<Response> {
    const timings: HttpTimings = { method, path, responses: new Map() }
    this.http.push(timings)
    const enter = (begun: number, status: StatusClass) => {
      let histogram = timings.responses.get(status)
      if (histogram === undefined) {
        histogram = new Histogram(RESPONSE_BOUNDS)
        timings.responses.set(status, histogram)
      }
      histogram.observe((performance.now() - begun) / 1000)
    }
    return (request) => {
      const begun = performance.now()
      this.#seeTurn(begun)
      let given: Awaitable<Response>
      try {
        given = handler(request)
      } catch (error) {
        enter(begun, 'error')
        throw error
      }
      if (isThenable(given)) {
        given.then(
          (response) => enter(begun, classOf(response)),
          () => enter(begun, 'error'),
        )
      } else {
        enter(begun, classOf(given))
      }
      return given
    }
  }

  /** Handlers that a user adds to the route's object, or replaces there, after this are not seen. */
  wrapWebSocket<T>(path: string, handlers: WebSocketHandlers<T>): WebSocketHandlers<T> {
    const timings: WebSocketTimings = { path, handlers: new Map(), open: 0, closed: new Map() }
    this.webSocket.push(timings)
    const timed = <A extends unknown[], R>(name: string, call: (...args: A) => R): ((...args: A) => R) => {
      const timer = new CallTimer((begun) => this.#seeTurn(begun))
      timings.handlers.set(name, timer.durations)
      return (...args) => {
        if (timer.passes()) return call(...args)
        const begun = timer.begin()
        try {
          return call(...args)
        } finally {
          timer.end(begun)
        }
      }
    }
    const { upgrade, handshake, open, message, drain, dropped, ping, pong, subscription, close, error } = handlers
    const timedOpen = open && timed('open', open.bind(handlers))
    const timedClose = close && timed('close', close.bind(handlers))
    // Handlers are called on the user's own object, which may have private fields.
    return {
      ...(upgrade && { upgrade: timed('upgrade', upgrade.bind(handlers)) }),
      ...(handshake && { handshake: timed('handshake', handshake.bind(handlers)) }),
      open(socket) {
        timings.open += 1
        return timedOpen?.(socket)
      },
      ...(message && { message: this.#wrapMessage(timings, message.bind(handlers)) }),
      ...(drain && { drain: drain.bind(handlers) }),
      ...(dropped && { dropped: dropped.bind(handlers) }),
      ...(ping && { ping: ping.bind(handlers) }),
      ...(pong && { pong: pong.bind(handlers) }),
      ...(subscription && { subscription: subscription.bind(handlers) }),
      close(socket, code, reason, wasClean) {
        timings.open -= 1
        const name = codeName(code)
        timings.closed.set(name, (timings.closed.get(name) ?? 0) + 1)
        return timedClose?.(socket, code, reason, wasClean)
      },
      ...(error && { error: error.bind(handlers) }),
    }
  }

  /** As `timed`, without an array for the arguments of each call. */
  #wrapMessage<T>(timings: WebSocketTimings, call: MessageHandler<T>): MessageHandler<T> {
    const timer = new CallTimer((begun) => this.#seeTurn(begun))
    timings.handlers.set('message', timer.durations)
    return (socket, message, isBinary) => {
      if (timer.passes()) return call(socket, message, isBinary)
      const begun = timer.begin()
      try {
        return call(socket, message, isBinary)
      } finally {
        timer.end(begun)
      }
    }
  }

  /** A handler is called in this turn. Its immediates run when the rest of the turn's events were handled. */
  #seeTurn(begun: number): void {
    if (begun - this.#lastTurn < TURN_INTERVAL) return
    this.#lastTurn = begun
    setImmediate(() => this.turns.observe((performance.now() - begun) / 1000))
  }

  #watchLoop(): void {
    const begun = performance.now()
    this.#timer = setTimeout(() => {
      this.delays.observe(Math.max(0, performance.now() - begun - DELAY_INTERVAL) / 1000)
      this.#watchLoop()
    }, DELAY_INTERVAL)
    this.#timer.unref()
  }
}

/** Chooses the calls of one handler that are measured. */
class CallTimer {
  readonly durations = new Histogram(HANDLER_BOUNDS)
  readonly #begins: (now: number) => void
  /** Calls to let pass before the next one is measured. */
  #left = 0
  /** Calls that the next measured one stands for. */
  #stride = 1
  #lastEnd = Number.NEGATIVE_INFINITY

  constructor(begins: (now: number) => void) {
    this.#begins = begins
  }

  /** Whether this call is not measured. */
  passes(): boolean {
    if (this.#left === 0) return false
    this.#left -= 1
    return true
  }

  begin(): number {
    const now = performance.now()
    this.#begins(now)
    return now
  }

  end(begun: number): void {
    const now = performance.now()
    const stride = this.#stride
    this.durations.observe((now - begun) / 1000, stride)
    // Calls that came one each MIN_INTERVAL, or more rarely, are followed by one that is measured too.
    const interval = (now - this.#lastEnd) / stride
    this.#stride = Math.min(MAX_STRIDE, Math.max(1, Math.ceil(MIN_INTERVAL / interval)))
    this.#left = this.#stride - 1
    this.#lastEnd = now
  }
}

/** Whatever a handler has given. */
function classOf(response: unknown): StatusClass {
  // Response.error() has 0, and is not sent.
  return (isResponse(response) && STATUS_CLASSES[Math.floor(response.status / 100)]) || 'error'
}

/** Close codes of RFC 6455 by number, others by their first digit: a client may send 2,000 of them. */
function codeName(code: number): string {
  return code < 1016 ? String(code) : `${Math.floor(code / 1000)}xxx`
}
