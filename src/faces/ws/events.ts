/** Events as listeners of `addEventListener` get them (WHATWG), from the events of an EventEmitter. */
import type { Buffer } from 'node:buffer'
import { CLOSE_CODE } from '../../websocket/close-codes.js'
import type { RawData, WebSocket } from './socket.js'

/** What listeners may do with the socket: no private members, so that one of `ws` has the same type. */
export type EventSource = Pick<
  WebSocket,
  'binaryType' | 'bufferedAmount' | 'close' | 'extensions' | 'ping' | 'protocol' | 'readyState' | 'send' | 'terminate' | 'url'
>

export interface Event {
  readonly type: string
  readonly target: EventSource
}

export interface MessageEvent extends Event {
  /** Text as a string; binary as `binaryType` says. */
  readonly data: string | RawData
}

export interface CloseEvent extends Event {
  readonly code: number
  readonly reason: string
  /** Whether there was a closing handshake. */
  readonly wasClean: boolean
}

export interface ErrorEvent extends Event {
  readonly error: Error
  readonly message: string
}

export interface WebSocketEventMap {
  open: Event
  error: ErrorEvent
  close: CloseEvent
  message: MessageEvent
}

export type EventName = keyof WebSocketEventMap
export type EventListener<K extends EventName> =
  | ((event: WebSocketEventMap[K]) => void)
  | { handleEvent(event: WebSocketEventMap[K]): void }

/** For each event, how it is made of what the emitter emits. */
export const EVENTS: { readonly [K in EventName]: (target: WebSocket, ...emitted: never[]) => WebSocketEventMap[K] } = {
  open: (target) => ({ type: 'open', target }),
  error: (target, error: Error) => ({ type: 'error', target, error, message: error.message }),
  close: (target, code: number, reason: Buffer) => ({
    type: 'close',
    target,
    code,
    reason: reason.toString(),
    wasClean: code !== CLOSE_CODE.ABNORMAL_CLOSURE,
  }),
  message: (target, data: RawData, isBinary: boolean) => ({ type: 'message', target, data: isBinary ? data : String(data) }),
}
