/** One HTTP request by Node's own client. */
import { type IncomingHttpHeaders, request as requestPlain } from 'node:http'
import { request as requestTls } from 'node:https'
import { localhostCertificate } from './certificates.js'
import type { Served } from './engines.js'
import { within } from './waiting.js'

export interface Answer {
  readonly status: number
  readonly statusText: string
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

export interface RequestSettings {
  readonly method?: string
  readonly headers?: Record<string, string>
  readonly body?: string | Uint8Array
}

/** Sends a request on a connection of its own, and reads the whole answer. */
export function http(
  served: Served,
  path: string,
  { method = 'GET', headers = {}, body }: RequestSettings = {},
): Promise<Answer> {
  const answer = new Promise<Answer>((resolve, reject) => {
    const send = served.secure ? requestTls : requestPlain
    const trust = served.secure ? { ca: localhostCertificate().cert, servername: 'localhost' } : {}
    const address = { host: served.host, port: served.port, path, method, headers, agent: false as const }
    const request = send({ ...address, ...trust }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () => {
        const { statusCode = 0, statusMessage = '' } = response
        resolve({ status: statusCode, statusText: statusMessage, headers: response.headers, body: Buffer.concat(chunks) })
      })
    })
    request.on('error', reject)
    request.end(body)
  })
  return within(answer, `the answer to ${method} ${path}`)
}
