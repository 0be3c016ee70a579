/** What requests and sockets know of their connection. */
import { X509Certificate } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeAll, expect, onTestFinished, test } from 'vitest'
import type { ServerRequest, Socket, UpgradeRequest } from '../../src/index.js'
import { Authority, type Certificate, localhostCertificate } from '../support/certificates.js'
import { Client } from '../support/client.js'
import { describeEngines, makeServer, serve } from '../support/engines.js'
import { proxyHeader } from '../support/proxy-header.js'
import { RawClient } from '../support/raw-client.js'
import { request } from '../support/tls-client.js'
import { Queue, within } from '../support/waiting.js'

const endsOf = ({ remoteAddress, remotePort, localAddress, localPort }: ServerRequest | Socket) => ({
  remoteAddress,
  remotePort,
  localAddress,
  localPort,
})

describeEngines('the ends of a connection', (engine) => {
  for (const tls of [false, true]) {
    test(`are known of a request, an upgrade and a socket${tls ? ' (TLS)' : ''}`, async () => {
      const seen = new Queue<object>()
      const served = await serve(
        engine,
        {
          upgrade: (upgrade) => {
            seen.push(endsOf(upgrade))
            return { data: undefined }
          },
          open: (socket) => void seen.push(endsOf(socket)),
          close: (socket) => void seen.push(endsOf(socket)),
        },
        { server: tls ? { tls: true } : {}, routes: (server) => server.get('/http', (asked) => Response.json(endsOf(asked))) },
      )
      const client = await Client.open(served)
      // The cast is for a member of `ws` that its types do not name.
      const { localPort } = (client.socket as unknown as { _socket: { localPort: number } })._socket
      const expected = { remoteAddress: '127.0.0.1', remotePort: localPort, localAddress: '127.0.0.1', localPort: served.port }
      expect(await seen.take(2, 'the upgrade and the socket')).toEqual([expected, expected])
      client.socket.close()
      expect(await seen.next('the socket that has closed')).toEqual(expected)
    })
  }

  test('are those of the proxy behind a PROXY header', async () => {
    const served = await serve(
      engine,
      {},
      {
        server: { proxyProtocol: true },
        routes: (server) => server.get('/', (asked) => Response.json({ ...endsOf(asked), proxied: asked.proxiedAddress })),
      },
    )
    const client = await RawClient.connect(served)
    client.write(proxyHeader(), 'GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    const ends = JSON.parse((await client.response()).body.toString())
    expect(ends).toMatchObject({
      remoteAddress: '127.0.0.1',
      localAddress: '127.0.0.1',
      localPort: served.port,
      proxied: '192.0.2.7',
    })
    expect(ends.remotePort).toBeGreaterThan(0)
    expect(ends.remotePort).not.toBe(50_000)
  })

  test('of a dual-stack socket are IPv4 for an IPv4 client', async () => {
    const server = makeServer(engine)
    server.get('/', (asked) => Response.json(endsOf(asked)))
    const { port } = await server.listen({ port: 0 })
    const ends = await (await fetch(`http://127.0.0.1:${port}/`)).json()
    expect(ends).toMatchObject({ remoteAddress: '127.0.0.1', localAddress: '127.0.0.1', localPort: port })
  })

  test('are empty on a unix socket', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'nws-'))
    onTestFinished(() => rmSync(directory, { recursive: true }))
    const unix = join(directory, 'socket')
    const server = makeServer(engine)
    const seen = new Queue<object>()
    server.get('/', (asked) => {
      seen.push(endsOf(asked))
      return new Response()
    })
    await server.listen({ unix })
    const client = connect(unix)
    onTestFinished(() => void client.destroy())
    client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    expect(await seen.next('the request')).toEqual({ remoteAddress: '', remotePort: 0, localAddress: '', localPort: 0 })
  })
})

describeEngines('the target of a request', (engine) => {
  test('is there as it was sent, and so is its query', async () => {
    const served = await serve(
      engine,
      {},
      { routes: (server) => server.any('/*', ({ target, search, url }) => Response.json({ target, search, url })) },
    )
    const ask = async (target: string) => {
      const client = await RawClient.connect(served)
      client.write(`GET ${target} HTTP/1.1\r\nHost: a\r\n\r\n`)
      return JSON.parse((await client.response()).body.toString())
    }
    expect(await ask(`/a%2db/./c?x="1"&y=%c3%a9&z='`)).toEqual({
      target: `/a%2db/./c?x="1"&y=%c3%a9&z='`,
      search: `?x="1"&y=%c3%a9&z='`,
      url: 'http://a/a-b/c?x=%221%22&y=%c3%a9&z=%27',
    })
    expect(await ask('/plain')).toMatchObject({ target: '/plain', search: '' })
  })
})

describeEngines('the extensions of a socket', (engine) => {
  test('are those that were agreed on', async () => {
    const seen = new Queue<string>()
    const served = await serve(engine, { open: (socket) => void seen.push(socket.extensions), compression: {} })
    const client = await Client.open(served, '/', { perMessageDeflate: true })
    const agreed = await seen.next('open')
    expect(agreed).toMatch(/^permessage-deflate; /)
    await Client.open(served)
    expect(await seen.next('open')).toBe('')
    expect(client.socket.extensions).toBe('permessage-deflate')
  })
})

/** What `request` waits for. */
const HEALTHY = Response.json({ status: 'healthy' })

let authority: Authority
let stranger: Certificate
let known: Certificate
beforeAll(() => {
  authority = Authority.make('the authority')
  known = authority.issue({ name: 'a client' })
  stranger = Authority.make('a stranger').issue({ name: 'nobody' })
})

describeEngines('the certificate of a client', (engine) => {
  const serveAsking = async (seen: Queue<X509Certificate | undefined>) => {
    const note = ({ clientCertificate }: ServerRequest | UpgradeRequest) => void seen.push(clientCertificate)
    return serve(
      engine,
      {
        upgrade: (upgrade) => {
          note(upgrade)
          return { data: undefined }
        },
      },
      {
        server: { tls: { ...localhostCertificate(), ca: authority.cert, requestCert: true, rejectUnauthorized: false } },
        routes: (server) =>
          server.get('/health', async (asked) => {
            await new Promise(setImmediate)
            note(asked)
            return HEALTHY.clone()
          }),
      },
    )
  }

  test('is known of a request and of an upgrade, when an authority of the server has signed it', async () => {
    const seen = new Queue<X509Certificate | undefined>()
    const served = await serveAsking(seen)
    await request(served, { ...known })
    const certificate = await seen.next('the request')
    expect(certificate).toBeInstanceOf(X509Certificate)
    expect(certificate?.subject).toContain('a client')
    await Client.open(served, '/', { ...known })
    expect((await seen.next('the upgrade'))?.raw).toEqual(new X509Certificate(known.cert).raw)
  })

  test('is undefined for a client without one, and for one that a stranger has signed', async () => {
    const seen = new Queue<X509Certificate | undefined>()
    const served = await serveAsking(seen)
    await Client.open(served)
    await Client.open(served, '/', { ...stranger })
    expect(await within(seen.take(2, 'two upgrades'), 'two upgrades')).toEqual([undefined, undefined])
  })

  test('is undefined when it is asked for too late, and without TLS', async () => {
    const late = new Queue<ServerRequest>()
    const tls = { ...localhostCertificate(), ca: authority.cert, requestCert: true }
    const routes = (server: { get(path: string, handler: (asked: ServerRequest) => Response): unknown }) =>
      server.get('/health', (asked) => {
        late.push(asked)
        return HEALTHY.clone()
      })
    await request(await serve(engine, {}, { server: { tls }, routes }), { ...known })
    expect((await late.next('a request')).clientCertificate).toBeUndefined()
    const plain = await serve(engine, {}, { routes })
    await fetch(plain.httpUrl('/health'))
    expect((await late.next('a request')).clientCertificate).toBeUndefined()
  })
})
