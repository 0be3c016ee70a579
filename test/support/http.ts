/** One HTTP request by Node's own client. */
import { type IncomingHttpHeaders, request as requestPlain } from 'node:http'
import { request as requestTls } from 'node:https'
import { localhostCertificate } from './certificates.js'
import type { Address } from './engines.js'
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
  address: Address,
  path: string,
  { method = 'GET', headers = {}, body }: RequestSettings = {},
): Promise<Answer> {
  const answer = new Promise<Answer>((resolve, reject) => {
    const send = address.secure ? requestTls : requestPlain
    const trust = address.secure ? { ca: localhostCertificate().cert, servername: 'localhost' } : {}
    const target = { host: address.host, port: address.port, path, method, headers, agent: false as const }
    const request = send({ ...target, ...trust }, (response) => {
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
