/** A connection of the portable engine while it speaks HTTP. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket as NetSocket } from 'node:net'
import type { ExchangeId } from '../contract.js'
import { PacedInput } from './input.js'
import { RequestReader } from './requests.js'
import { MAX_REQUESTS_PER_TURN, MAX_UNREAD_RESPONSE_BYTES } from './turn-budget.js'

/** Lasts until the request is answered and its body has come. */
export interface Exchange {
  readonly request: IncomingMessage
  readonly connection: HttpConnection
  /** None for an upgrade, unless it is refused. */
  response: ServerResponse | undefined
  readonly isUpgrade: boolean
  isBodyPending: boolean
  expectsContinue: boolean
  isAnswered: boolean
}

export class HttpConnection {
  readonly stream: NetSocket
  /** What a proxy has told of it; empty without one. */
  readonly proxiedAddress: string
  readonly input: PacedInput
  readonly requests: RequestReader
  /** One that is not answered, at most, and before it one whose body has not been read to its end. */
  readonly exchanges = new Map<ExchangeId, Exchange>()
  /** Responses that Node has not handed to the kernel yet. */
  readonly unflushed = new Set<ServerResponse>()
  /** It has got its last response, and the client is to end it: what it still sends is thrown away. */
  isLingering = false

  /** `refuse` ends it, with the answer to a request that is wrong. */
  constructor(stream: NetSocket, proxiedAddress: string, refuse: () => void) {
    this.stream = stream
    this.proxiedAddress = proxiedAddress
    this.input = new PacedInput(stream)
    this.requests = new RequestReader(stream, this.input, () => this.mayBegin, refuse)
    this.input.reader = this.requests
  }

  /**
   * Whether another request may begin: those before are answered, and the client takes what it has asked for.
   */
  get mayBegin(): boolean {
    for (const { isAnswered } of this.exchanges.values()) if (!isAnswered) return false
    // Each is more than its bytes.
    if (this.unflushed.size >= MAX_REQUESTS_PER_TURN) return false
    let unread = 0
    for (const response of this.unflushed) unread += response.writableLength
    return unread <= MAX_UNREAD_RESPONSE_BYTES
  }

  /** Whether the response to a request has begun that has not come whole. */
  get isAnswering(): boolean {
    for (const { isAnswered, response } of this.exchanges.values()) if (isAnswered || response?.headersSent) return true
    return false
  }

  /**
   * Calls back when Node has written all responses, unless the connection ends before. Until then they own
   * the stream; and Node would set the timeout of an idle connection then.
   */
  afterResponses(callback: () => void): void {
    if (this.stream.destroyed) return
    const [earlier] = this.unflushed
    if (earlier === undefined) callback()
    else earlier.once('close', () => this.afterResponses(callback))
  }
}
