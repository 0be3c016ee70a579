/** Every member that uWebSockets.js 20 has is there: it works, or an error says what to do in its place. */
import { Buffer } from 'node:buffer'
import { expect, onTestFinished, test } from 'vitest'
import uWS, * as face from '../../src/faces/uws.js'
import { NotSupportedError } from '../../src/index.js'
import { addressOf, describeEngines, type EngineName, type Served } from '../support/engines.js'
import { http } from '../support/http.js'
import { RawClient } from '../support/raw-client.js'
import { Queue, within } from '../support/waiting.js'

/** Of the module, with what its binaries have beyond its declarations. */
const FUNCTIONS = ['App', 'SSLApp', 'us_listen_socket_close', 'us_socket_local_port', '_cfg', 'DeclarativeResponse'] as const
const ABSENT_FUNCTIONS = [
  'H3App',
  'getParts',
  'getString',
  'setString',
  'deleteString',
  'getStringKeys',
  'deleteStringCollection',
  'getInteger',
  'setInteger',
  'incInteger',
  'deleteInteger',
  'getIntegerKeys',
  'deleteIntegerCollection',
  'lock',
  'unlock',
  'arm',
  'setTimeout',
  'clearTimeout',
] as const

const APP_MEMBERS =
  'addServerName any close connect del domain filter get head listen listen_unix missingServerName numSubscribers options patch post publish put removeServerName trace ws getDescriptor addChildAppDescriptor removeChildAppDescriptor'
const ABSENT_OF_APP = [
  'connect',
  'domain',
  'filter',
  'getDescriptor',
  'addChildAppDescriptor',
  'removeChildAppDescriptor',
] as const
const RESPONSE_MEMBERS =
  'beginWrite close collect collectBody cork end endWithoutBody getProxiedRemoteAddress getProxiedRemoteAddressAsText getProxiedRemotePort getRemoteAddress getRemoteAddressAsText getRemotePort getWriteOffset maxRemainingBodyLength onAborted onData onDataV2 onWritable pause resume tryEnd upgrade write writeHeader writeStatus'
const REQUEST_MEMBERS = 'forEach getCaseSensitiveMethod getHeader getMethod getParameter getQuery getUrl setYield'
const SOCKET_MEMBERS =
  'close cork end getBufferedAmount getRemoteAddress getRemoteAddressAsText getRemotePort getTopics getUserData isSubscribed ping publish send sendFirstFragment sendFragment sendLastFragment subscribe unsubscribe'

/** Which of them are missing. */
function missingOf(value: object, members: string): string[] {
  const found = new Map(Object.entries(Object.getOwnPropertyDescriptors(Object.getPrototypeOf(value))))
  return members.split(' ').filter((member) => typeof found.get(member)?.value !== 'function')
}

async function serve(
  engine: EngineName,
  prepare: (app: face.TemplatedApp) => void,
): Promise<Pick<Served, keyof ReturnType<typeof addressOf>>> {
  const app = face.App({ engine })
  onTestFinished(() => void app.close())
  prepare(app)
  const listened = new Promise<face.us_listen_socket | false>((resolve) => app.listen('127.0.0.1', 0, resolve))
  const token = await within(listened, 'the app to listen')
  if (token === false) throw new Error('the app does not listen')
  return addressOf(face.us_socket_local_port(token))
}

test('functions are there, by name and in the default export; those that are missing say so', () => {
  for (const name of FUNCTIONS) expect([typeof face[name], uWS[name]]).toEqual(['function', face[name]])
  for (const name of ABSENT_FUNCTIONS) {
    expect(uWS[name]).toBe(face[name])
    expect(face[name]).toThrow(NotSupportedError)
    expect(face[name]).toThrow(`${name} is not supported: `)
  }
  expect(face._cfg('silent')).toBeUndefined()
  expect(() => face._cfg('loud')).toThrow(NotSupportedError)
  expect(() => face.us_listen_socket_close({})).toThrow(TypeError)
  expect(() => face.us_socket_local_port({})).toThrow(TypeError)
})

test('members of an app are there; those that are missing say so', () => {
  const app = face.App({ engine: 'portable' })
  expect(missingOf(app, APP_MEMBERS)).toEqual([])
  for (const name of ABSENT_OF_APP) {
    expect(() => app[name]()).toThrow(NotSupportedError)
    expect(() => app[name]()).toThrow(`App.${name} is not supported: `)
  }
  expect(() => face.SSLApp({ dh_params_file_name: 'dh.pem' })).toThrow(NotSupportedError)
})

describeEngines('members of uWebSockets.js', (engine) => {
  test('are there on requests, responses and sockets', async () => {
    const missing = new Queue<string[]>()
    const served = await serve(engine, (app) => {
      app.ws('/*', {
        upgrade(response, request, context) {
          missing.push([...missingOf(response, RESPONSE_MEMBERS), ...missingOf(request, REQUEST_MEMBERS)])
          response.upgrade({}, '', '', '', context)
        },
        open: (socket) => missing.push(missingOf(socket, SOCKET_MEMBERS)),
      })
      app.get('/*', (response) => {
        expect(() => response.collect()).toThrow(NotSupportedError)
        response.end('ok')
      })
    })
    await RawClient.open(served)
    expect(await missing.take(2, 'the members')).toEqual([[], []])
    expect(String((await http(served, '/')).body)).toBe('ok')
  })

  test('a response that is declared is sent like any other', async () => {
    const served = await serve(engine, (app) => {
      app
        .get(
          '/hello/:name',
          new face.DeclarativeResponse()
            .writeStatus('201 Made')
            .writeHeader('content-type', 'text/html')
            .write('<p>')
            .writeParameterValue('name')
            .write(' ')
            .writeQueryValue('q')
            .write(Buffer.from('/'))
            .writeHeaderValue('x-mine')
            .writeQueryValue('none')
            .end('</p>'),
        )
        .post('/echo', new face.DeclarativeResponse().write('> ').writeBody().end())
        .get('/empty', new face.DeclarativeResponse().end())
    })
    const hello = await http(served, '/hello/ada?q=%C3%A9', { headers: { 'x-mine': '1' } })
    expect([hello.status, hello.statusText, hello.headers['content-type'], String(hello.body)]).toEqual([
      201,
      'Made',
      'text/html',
      '<p>ada é/1</p>',
    ])
    // Twice: what was declared is used again.
    for (const body of ['one', 'two']) {
      expect(String((await http(served, '/echo', { method: 'POST', body })).body)).toBe(`> ${body}`)
    }
    expect(String((await http(served, '/empty')).body)).toBe('')
  })

  test('maxRemainingBodyLength counts what can still come of a body', async () => {
    const lengths = new Queue<bigint>()
    const served = await serve(engine, (app) => {
      app.any('/*', (response) => {
        lengths.push(response.maxRemainingBodyLength())
        response.onDataV2((_chunk, remaining) => {
          lengths.push(response.maxRemainingBodyLength())
          if (remaining === 0n) response.end()
        })
      })
    })
    const client = await RawClient.connect(served)
    client.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n')
    expect(await lengths.next('the first length')).toBe(6n)
    client.write('body')
    expect(await lengths.next('the second length')).toBe(2n)
    client.write('++')
    expect(await lengths.next('the last length')).toBe(0n)
    await client.response()
    client.write('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n')
    expect(await lengths.next('no length')).toBe(2n ** 64n - 1n)
    client.write('0\r\n\r\n')
    expect(await lengths.next('the end')).toBe(0n)
    await client.response()
    client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    expect(await lengths.next('no body')).toBe(0n)
  })
})
