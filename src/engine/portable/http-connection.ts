/** A connection of the portable engine while it speaks HTTP. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket as NetSocket } from 'node:net'
import { TLSSocket } from 'node:tls'
import type { ExchangeId } from '../contract.js'
import { PacedInput } from './input.js'
import { RequestReader } from './requests.js'
import { tlsWatch } from './tls-watch.js'
import { MAX_REQUESTS_PER_TURN, MAX_UNREAD_RESPONSE_BYTES } from './turn-budget.js'

/** Lasts until the response is whole and the request's body has come. */
export interface Exchange {
  readonly request: IncomingMessage
  readonly connection: HttpConnection
  /** Undefined for an upgrade, unless the upgrade is refused. */
  response: ServerResponse | undefined
  readonly isUpgrade: boolean
  isBodyPending: boolean
  expectsContinue: boolean
  isResponded: boolean
}

export class HttpConnection {
  readonly stream: NetSocket
  /** The client's address as the proxy has told; empty without a proxy. */
  readonly proxiedAddress: string
  /** The request that the connection was adopted with: the only one that is expected on it. */
  readonly incoming: IncomingMessage | undefined
  readonly input: PacedInput
  readonly requests: RequestReader
  /**
   * At most one exchange without a response, and before it one exchange whose request body has not been read
   * to its end.
   */
  readonly exchanges = new Map<ExchangeId, Exchange>()
  /** Responses that Node has not handed to the kernel yet. */
  readonly unflushed = new Set<ServerResponse>()
  /**
   * The connection has got its last response, and waits for the client to end it: what the client still sends
   * is thrown away.
   */
  isLingering = false

  /** `refuse` ends the connection with the response to a malformed request. */
  constructor(stream: NetSocket, proxiedAddress: string, refuse: () => void, incoming?: IncomingMessage) {
    this.stream = stream
    this.incoming = incoming
    this.proxiedAddress = proxiedAddress
    this.input = new PacedInput(stream)
    this.requests = new RequestReader(stream, this.input, () => this.mayBegin, refuse)
    this.input.reader = this.requests
    if (stream instanceof TLSSocket) tlsWatch.add(stream, this.input)
  }

  /**
   * Whether another request may begin: all requests before have a response, and the client reads its
   * responses.
   */
  get mayBegin(): boolean {
    for (const { isResponded } of this.exchanges.values()) if (!isResponded) return false
    // A response costs more memory than its bytes.
    if (this.unflushed.size >= MAX_REQUESTS_PER_TURN) return false
    let unread = 0
    for (const response of this.unflushed) unread += response.writableLength
    return unread <= MAX_UNREAD_RESPONSE_BYTES
  }

  /** Whether a response has begun before its request has come whole. */
  get isResponding(): boolean {
    for (const { isResponded, response } of this.exchanges.values()) if (isResponded || response?.headersSent) return true
    return false
  }

  /**
   * Calls back when Node has written all responses, unless the connection ends before. Until then the
   * responses own the stream; Node sets the timeout of an idle connection when it has written the last
   * response.
   */
  afterResponses(callback: () => void): void {
    if (this.stream.destroyed) return
    const [earlier] = this.unflushed
    if (earlier === undefined) callback()
    else earlier.once('close', () => this.afterResponses(callback))
  }
}
