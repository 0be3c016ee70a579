/** crossws' adapter. */
import { expect, test } from 'vitest'
import crossws, { type CrosswsAdapter, type CrosswsOptions, type Peer } from '../../src/faces/crossws.js'
import { NotSupportedError } from '../../src/index.js'
import { Client, refusal } from '../support/client.js'
import { type Address, addressOf, describeEngines, type EngineName, makeServer, type ServeOptions } from '../support/engines.js'
import { handshake, RawClient } from '../support/raw-client.js'
import { Queue, within } from '../support/waiting.js'

async function mounted(
  engine: EngineName,
  options: CrosswsOptions,
  serverOptions: ServeOptions['server'] = {},
): Promise<{ ws: CrosswsAdapter; address: Address }> {
  const ws = crossws(options)
  const server = makeServer(engine, { server: serverOptions })
  ws.mount(server)
  const { port } = await server.listen({ port: 0, host: '127.0.0.1' })
  return { ws, address: addressOf(port) }
}

test('the option sync is not supported, and the error says what is', () => {
  // The cast lets through what TypeScript would refuse and JavaScript would not.
  expect(() => crossws({ sync: (() => {}) as never })).toThrow(NotSupportedError)
})

describeEngines("crossws' adapter", (engine) => {
  test('gives messages in every form, and sends what crossws sends', async () => {
    const { address } = await mounted(engine, {
      hooks: {
        message(peer, message) {
          if (typeof message.rawData !== 'string') peer.send(message.uint8Array())
          else if (message.text() === 'null') peer.send(null)
          else peer.send({ text: `${message}`, bytes: [...new Uint8Array(message.arrayBuffer())], json: message.json() })
        },
      },
    })
    const client = await Client.open(address)
    expect(JSON.parse(String(await client.ask('[1]')))).toEqual({ text: '[1]', bytes: [91, 49, 93], json: [1] })
    expect(await client.ask(Buffer.from([1, 2]))).toEqual(Buffer.from([1, 2]))
    expect(await client.ask('null')).toBe('')
  })

  test('knows peers, their request, context and ids, until they have closed', async () => {
    const peers = new Queue<Peer>()
    const closes = new Queue<object>()
    const { ws, address } = await mounted(engine, {
      hooks: {
        upgrade: () => ({ context: { user: 'Ada' }, namespace: 'room', headers: { 'x-own': '1' } }),
        open: (peer) => void peers.push(peer),
        close: (_peer, details) => void closes.push(details),
      },
    })
    const client = await Client.open(address, '/a?b=c', { headers: { 'x-test': 'yes' } })
    const peer = await peers.next('a peer')
    expect(peer).toMatchObject({ namespace: 'room', context: { user: 'Ada' }, remoteAddress: '127.0.0.1', bufferedAmount: 0 })
    expect(peer.request.headers.get('x-test')).toBe('yes')
    expect(peer.websocket).toMatchObject({ readyState: 1, url: address.wsUrl('/a?b=c'), protocol: '', binaryType: 'nodebuffer' })
    expect(peer.id).toMatch(/^[\da-f]{8}-[\da-f-]{27}$/)
    expect(`${peer}`).toBe(peer.id)
    expect([...(ws.peers.get('room') ?? [])]).toEqual([peer])
    client.socket.close(4000, 'bye')
    expect(await closes.next('close')).toEqual({ code: 4000, reason: 'bye' })
    expect(ws.peers.size).toBe(0)
    await within(peer.waitForDrain({ threshold: 0 }), 'waitForDrain after the close')
    expect(peer.send('late')).toBe(0)
  })

  test('publishes within a namespace, from a peer and from the adapter', async () => {
    const { ws, address } = await mounted(engine, {
      hooks: {
        open: (peer) => peer.subscribe('chat'),
        message: (peer, message) =>
          message.text() === 'leave' ? peer.unsubscribe('chat') : peer.publish('chat', message.text()),
      },
    })
    const [first, second, elsewhere] = [
      await Client.open(address, '/room'),
      await Client.open(address, '/room'),
      await Client.open(address, '/other'),
    ]
    first.send('from the first')
    expect(await second.next()).toBe('from the first')
    ws.publish('chat', { to: 'all' })
    for (const client of [first, second, elsewhere]) expect(await client.next()).toBe('{"to":"all"}')
    ws.publish('chat', 'to one', { namespace: '/other' })
    expect(await elsewhere.next()).toBe('to one')
    second.send('leave')
    second.socket.ping()
    await second.pongs.next('the answer to a Ping')
    ws.publish('chat', 'without the second')
    expect(await first.next()).toBe('without the second')
    expect(second.messages.size).toBe(0)
  })

  test('refuses with a Response that a hook returns, throws, or has in what it throws', async () => {
    const { address } = await mounted(engine, {
      hooks: {
        upgrade(request) {
          const response = new Response('no', { status: Number(request.query.get('status')) })
          if (request.path === '/return') return response
          throw request.path === '/throw' ? response : { response }
        },
      },
    })
    expect(await refusal(address, '/return?status=401')).toBe(401)
    expect(await refusal(address, '/throw?status=402')).toBe(402)
    expect(await refusal(address, '/inside?status=403')).toBe(403)
  })

  test('chooses a subprotocol by the header that a hook gives', async () => {
    const { address } = await mounted(engine, {
      hooks: { upgrade: () => ({ headers: { 'Sec-WebSocket-Protocol': 'b', 'Set-Cookie': 'a=1' } }) },
    })
    const client = await RawClient.connect(address)
    client.write(handshake({ headers: ['Sec-WebSocket-Protocol: a, b'] }))
    const response = await client.response()
    expect(response.status).toBe(101)
    expect([response.header('sec-websocket-protocol'), response.header('set-cookie')]).toEqual(['b', 'a=1'])
  })

  test('chooses a subprotocol by what a hook returns, else by handleProtocols, else none', async () => {
    const { address } = await mounted(engine, {
      hooks: { upgrade: ({ url }) => (url.endsWith('/hook') ? { protocol: 'b', headers: { 'x-own': '1' } } : undefined) },
      handleProtocols: async (protocols, { url }) => (url.endsWith('/none') ? false : [...protocols].at(-1)),
    })
    const protocolAt = async (path: string, headers: string[]) => {
      const client = await RawClient.connect(address)
      client.write(handshake({ path, headers }))
      const response = await client.response()
      return [response.status, response.header('sec-websocket-protocol')]
    }
    const offers = ['Sec-WebSocket-Protocol: a, b, c']
    expect(await protocolAt('/hook', offers)).toEqual([101, 'b'])
    expect(await protocolAt('/last', offers)).toEqual([101, 'c'])
    expect(await protocolAt('/none', offers)).toEqual([101, undefined])
    expect(await protocolAt('/last', [])).toEqual([101, undefined])
  })

  test('compresses as the hook says for a connection, within the limits of the adapter', async () => {
    const peers = new Queue<Peer>()
    const errors = new Queue<Error>()
    const given: Record<string, unknown> = {
      '/no': false,
      '/yes': true,
      '/shared': { serverNoContextTakeover: true, threshold: 0 },
      '/bits': { serverMaxWindowBits: 9 },
    }
    const open = async (compression: boolean) => {
      const { address } = await mounted(
        engine,
        {
          hooks: {
            upgrade: ({ path }) => ({ perMessageDeflate: given[path] as boolean }),
            open: (peer) => void peers.push(peer),
          },
          limits: { compression: compression && { compressor: '8KB' } },
        },
        { onError: (error) => errors.push(error) },
      )
      return async (path: string) => {
        const client = await RawClient.connect(address)
        client.write(handshake({ path, headers: ['Sec-WebSocket-Extensions: permessage-deflate'] }))
        const response = await client.response()
        return [response.status, response.header('sec-websocket-extensions')]
      }
    }
    const knock = await open(true)
    expect(await knock('/no')).toEqual([101, undefined])
    expect(await knock('/yes')).toEqual([101, expect.not.stringContaining('server_no_context_takeover')])
    expect(await knock('/shared')).toEqual([101, expect.stringContaining('server_no_context_takeover')])
    expect((await knock('/bits'))[0]).toBe(500)
    expect(await errors.next('the error')).toBeInstanceOf(NotSupportedError)
    const knockPlain = await open(false)
    expect(await knockPlain('/no')).toEqual([101, undefined])
    expect((await knockPlain('/yes'))[0]).toBe(500)
    expect(await errors.next('the error')).toBeInstanceOf(NotSupportedError)
  })

  test('takes idleTimeout in whole seconds, as the server has them', async () => {
    await mounted(engine, { idleTimeout: 8.9 })
    await mounted(engine, { idleTimeout: 0.5 })
    await mounted(engine, { idleTimeout: 1, limits: { idleTimeout: 9 } })
    await expect(mounted(engine, { idleTimeout: 7 })).rejects.toThrow(/idleTimeout/)
  })

  test('calls the hooks that resolve gives, after its own', async () => {
    const seen = new Queue<string>()
    const { address } = await mounted(engine, {
      hooks: { message: () => void seen.push('own') },
      resolve: async (request) => ({ message: () => void seen.push(`resolved for ${request.path}`) }),
    })
    const client = await Client.open(address, '/here')
    client.send('x')
    expect(await seen.take(2, 'both hooks')).toEqual(['own', 'resolved for /here'])
  })

  test('gives what a hook throws to the hook error, and closes that peer with 1011', async () => {
    const errors = new Queue<Error>()
    const { address } = await mounted(engine, {
      hooks: {
        message() {
          throw new Error('by the hook')
        },
        error: (_peer, error) => void errors.push(error),
      },
    })
    const client = await Client.open(address)
    client.send('x')
    expect(await errors.next('the error')).toMatchObject({ message: 'by the hook' })
    expect(await client.closed()).toMatchObject({ code: 1011 })
  })

  test('reports what a hook throws, or rejects with, where no hook error takes it', async () => {
    const errors = new Queue<Error>()
    const hooks: CrosswsOptions['hooks'] = {
      message(_peer, message) {
        if (message.text() === 'throw') throw new Error('thrown')
        return Promise.reject(new Error('rejected'))
      },
    }
    for (const options of [{ hooks }, { resolve: async () => hooks }]) {
      const { address } = await mounted(engine, options, { onError: (error) => errors.push(error) })
      for (const [how, message] of [
        ['throw', 'thrown'],
        ['reject', 'rejected'],
      ] as const) {
        const client = await Client.open(address)
        client.send(how)
        expect(await errors.next('onError')).toMatchObject({ message })
        expect(await client.closed()).toMatchObject({ code: 1011 })
      }
    }
    expect(errors.size).toBe(0)
  })

  test('hears Pings, Pongs and drains, and closes every peer', async () => {
    const heard = new Queue<string>()
    const { ws, address } = await mounted(engine, {
      hooks: {
        open: (peer) => void peer.ping('from here'),
        ping: (_peer, data) => void heard.push(`ping ${Buffer.from(data)}`),
        pong: (_peer, data) => void heard.push(`pong ${Buffer.from(data)}`),
        drain: () => void heard.push('drain'),
      },
    })
    const client = await Client.open(address)
    expect(await heard.next('pong')).toBe('pong from here')
    client.socket.ping('from there')
    expect(await heard.next('ping')).toBe('ping from there')
    client.socket.pause()
    const [peer] = [...(ws.peers.get('/') ?? [])]
    while (peer && peer.send(Buffer.alloc(1024 * 1024)) > 0);
    client.socket.resume()
    await within(peer?.waitForDrain() ?? Promise.reject(), 'waitForDrain')
    expect(await heard.next('drain')).toBe('drain')
    await ws.close(4001, 'all')
    expect(await client.closed()).toEqual({ code: 4001, reason: 'all' })
  })
})
