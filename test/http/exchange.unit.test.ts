/** `Exchange` on an engine that the test drives: its time in the table, and what it tells the engine. */
import { Buffer } from 'node:buffer'
import { describe, expect, test } from 'vitest'
import type { EngineHttp, EngineResponse, RequestHead } from '../../src/engine/contract.js'
import { IncomingBody } from '../../src/http/body.js'
import { Exchange, type ExchangeHost, type ExchangeTable, OpenExchanges } from '../../src/http/exchange.js'
import { IncomingRequest } from '../../src/http/request.js'
import { plainResponse, readResponse, type StreamingResponse } from '../../src/http/response.js'
import { readTarget } from '../../src/http/target.js'
import { Deferred } from '../support/waiting.js'

const ID = 7
/** Bytes of a request's body. */
const LIMIT = 10

class Host implements ExchangeHost {
  readonly exchanges: ExchangeTable = new Map()
  readonly calls: string[] = []
  readonly responses: EngineResponse[] = []
  settledTimes = 0
  readonly #http: EngineHttp = {
    respond: (_id, response) => {
      this.responses.push(response)
      return true
    },
    beginResponse: () => this.#note('begin', true),
    write: () => this.#note('write', false),
    endResponse: (_id, closes) => this.#note(closes ? 'end and close' : 'end', undefined),
    abort: () => this.#note('abort', undefined),
    pauseBody: () => this.#note('pause', undefined),
    resumeBody: () => this.#note('resume', undefined),
    peerCertificate: () => undefined,
    isFlushed: () => true,
  }

  readonly engine = { http: this.#http }

  settled(): void {
    this.settledTimes += 1
  }

  #note<T>(call: string, result: T): T {
    this.calls.push(call)
    return result
  }
}

/** The exchange of a POST with a body of unknown length, or of a GET. */
function open(method: 'GET' | 'POST' = 'POST') {
  const host = new Host()
  const head: RequestHead = {
    method,
    url: '/',
    fields: '\nhost:a\n',
    hasBody: method === 'POST',
    remoteAddress: '',
    endpoints: '0  0',
    proxiedAddress: '',
  }
  const target = readTarget(head, 'http')
  if (target === undefined) throw new Error('no proper target')
  const body = head.hasBody ? new IncomingBody(host.engine.http, ID, LIMIT, false) : undefined
  const request = new IncomingRequest(head, target, {}, body)
  return { host, request, exchange: new Exchange(new OpenExchanges(host), ID, request, body) }
}

/** A response that never ends, and what its source is told when it is to stop. */
async function endlessResponse(): Promise<{ response: StreamingResponse; stopped: Promise<unknown> }> {
  const stopped = new Deferred<unknown>()
  const source = new ReadableStream({
    start: (controller) => controller.enqueue(Buffer.from('first')),
    cancel: (reason) => stopped.resolve(reason),
  })
  const response = await readResponse(new Response(source), false)
  if (!('rest' in response)) throw new Error('the response is whole')
  return { response, stopped: stopped.promise }
}

describe('an exchange', () => {
  test('without a body is in its table until its response is whole', () => {
    const { host, exchange } = open('GET')
    expect(host.exchanges.get(ID)).toBe(exchange)
    expect(exchange.isOpen).toBe(true)
    exchange.respond(plainResponse(200))
    exchange.settle()
    expect(host.responses.map(({ status, closes }) => [status, closes])).toEqual([[200, false]])
    expect([exchange.isOpen, host.exchanges.size, host.settledTimes]).toEqual([false, 0, 1])
  })

  test('is settled once', () => {
    const { host, exchange } = open('GET')
    exchange.settle()
    exchange.settle()
    exchange.aborted()
    expect(host.settledTimes).toBe(1)
  })

  test('stays in its table behind the response, until its body has come', () => {
    const { host, exchange } = open()
    exchange.respond(plainResponse(200))
    exchange.settle()
    exchange.receive(Buffer.from('ab'), false)
    expect([exchange.isOpen, host.exchanges.size]).toEqual([false, 1])
    exchange.receive(Buffer.alloc(0), true)
    expect(host.exchanges.size).toBe(0)
  })

  test('whose response ends the connection gets no more of its body', async () => {
    const { host, exchange, request } = open()
    exchange.respond({ ...plainResponse(200), closes: true })
    exchange.settle()
    expect(host.exchanges.size).toBe(0)
    await expect(request.text()).rejects.toThrow('the connection has ended before the body of the request was read')
  })

  test('closes the connection with the response when the body is larger than the limit', () => {
    const { host, exchange } = open()
    exchange.receive(Buffer.alloc(LIMIT + 1), false)
    expect(exchange.isTooLarge).toBe(true)
    exchange.respond(plainResponse(413))
    exchange.settle()
    expect(host.responses.map(({ status, closes }) => [status, closes])).toEqual([[413, true]])
    expect(host.exchanges.size).toBe(0)
  })

  test('leaves its table when the body becomes too large behind the response', () => {
    const { host, exchange } = open()
    exchange.respond(plainResponse(200))
    exchange.settle()
    exchange.receive(Buffer.alloc(LIMIT + 1), false)
    expect(host.exchanges.size).toBe(0)
    expect(host.calls).toEqual(['abort'])
  })

  test('of a client that has gone tells the handler and the reader of the body, and takes no response', async () => {
    const { host, exchange, request } = open()
    const reading = request.text()
    exchange.aborted()
    await expect(reading).rejects.toBe(request.signal.reason)
    expect([request.isAborted, exchange.isOpen, host.exchanges.size]).toEqual([true, false, 0])
    exchange.respond(plainResponse(200))
    expect(host.responses).toEqual([])
  })

  test('is open no longer when the handler hears that the client has gone', () => {
    const { exchange, request } = open('GET')
    const heard: boolean[] = []
    request.signal.addEventListener('abort', () => heard.push(exchange.isOpen))
    exchange.aborted()
    expect(heard).toEqual([false])
  })

  test('stops the source of its response when the client goes', async () => {
    const { host, exchange, request } = open('GET')
    const { response, stopped } = await endlessResponse()
    const streaming = exchange.stream(response)
    exchange.aborted()
    await streaming
    expect(await stopped).toBe(request.signal.reason)
    expect(host.calls).toEqual(['begin', 'write'])
  })

  test('stops the source of a response for a client that has gone before', async () => {
    const { host, exchange, request } = open('GET')
    const { response, stopped } = await endlessResponse()
    exchange.aborted()
    await exchange.stream(response)
    expect(await stopped).toBe(request.signal.reason)
    expect(host.calls).toEqual([])
  })
})
