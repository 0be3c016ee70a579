/** Failures on the face of `node:http`: of `listen`, and of responses that are not as long as announced. */
import { once } from 'node:events'
import { createServer as createNodeServer } from 'node:http'
import { join } from 'node:path'
import process from 'node:process'
import { setImmediate } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { createServer, type RequestListener, type ServerOptions } from '../../src/faces/http.js'
import { ListenError } from '../../src/index.js'
import { addressOf, describeEngines, type EngineName } from '../support/engines.js'
import { http } from '../support/http.js'
import { Deferred, Queue, within } from '../support/waiting.js'

async function listening(engine: EngineName, listener: RequestListener, options: ServerOptions = {}) {
  const server = createServer({ engine, ...options }, listener)
  await within(once(server.listen(0, '127.0.0.1'), 'listening'), 'the face to listen')
  onTestFinished(() => void server.close())
  const address = server.address()
  return addressOf(typeof address === 'object' ? (address?.port ?? 0) : 0, '127.0.0.1')
}

/** All process warnings: each comes once. */
const told: string[] = []
process.on('warning', ({ message }) => void told.push(message))

/** What a server's `listen` fails with. */
async function failureOf(server: { listen(...given: unknown[]): unknown }, ...place: unknown[]): Promise<Error> {
  const emitter = server as unknown as NodeJS.EventEmitter
  const failed = once(emitter, 'error')
  server.listen(...place)
  const [error] = (await within(failed, 'the error')) as [Error]
  return error
}

describeEngines('the face of node:http', (engine) => {
  test('listen fails with the errors of Node, and the ListenError as their cause', async () => {
    const { port } = await listening(engine, () => {})
    const places: unknown[][] = [
      [port, '127.0.0.1'],
      [{ port, host: '127.0.0.1' }],
      // An address of documentation (RFC 5737), which no machine has.
      [0, '192.0.2.1'],
    ]
    for (const place of places) {
      const error = await failureOf(createServer({ engine }), ...place)
      const { message, ...members } = await failureOf(createNodeServer(), ...place)
      expect({ ...error, message: error.message }).toEqual({ ...members, message })
      expect(error.cause).toBeInstanceOf(ListenError)
    }
  })

  test('listen on a port that is taken says so in the words of Node', async () => {
    const { port } = await listening(engine, () => {})
    const error = await failureOf(createServer({ engine }), port, '127.0.0.1')
    expect(error.message).toBe(`listen EADDRINUSE: address already in use 127.0.0.1:${port}`)
    expect(error).toMatchObject({ code: 'EADDRINUSE', syscall: 'listen', address: '127.0.0.1', port })
    expect(Reflect.get(error, 'errno')).toBeLessThan(0)
  })

  test('listen on a path, a descriptor and a name that are none names each of them', async () => {
    const path = join(process.cwd(), 'build', 'no-such-folder', 'socket')
    expect(await failureOf(createServer({ engine }), path)).toMatchObject({
      code: 'ENOENT',
      syscall: 'listen',
      address: path,
      port: -1,
    })
    expect(await failureOf(createServer({ engine }), { fd: 9999 })).toMatchObject({ syscall: 'listen', address: null })
    const unknown = await failureOf(createServer({ engine }), 0, 'name.invalid')
    expect(unknown).toMatchObject({ syscall: 'getaddrinfo', hostname: 'name.invalid' })
    expect(unknown.message).toBe(`getaddrinfo ${Reflect.get(unknown, 'code')} name.invalid`)
  })

  test('a whole body goes out with its own length, whatever the handler has announced', async () => {
    for (const [announced, body] of [
      [3, 'abcdef'],
      [300, 'abcdef'],
      ['many', 'abcdef'],
      [3, ''],
    ] as const) {
      const address = await listening(engine, (_request, response) => {
        response.setHeader('content-length', announced)
        response.end(body)
      })
      const response = await http(address, '/')
      expect([String(response.body), response.headers['content-length']]).toEqual([body, String(body.length)])
    }
    expect(told).toContainEqual(expect.stringMatching(/Content-Length .* is not that of the body: another one/))
  })

  test('HEAD gets the length that the handler has announced', async () => {
    const address = await listening(engine, (_request, response) => {
      response.setHeader('content-length', 300)
      response.end()
    })
    const response = await http(address, '/', { method: 'HEAD' })
    expect(response.headers['content-length']).toBe('300')
  })

  test('with strictContentLength, a wrong length is thrown where the body is given', async () => {
    const thrown = new Queue<unknown>()
    const address = await listening(engine, (_request, response) => {
      response.strictContentLength = true
      response.setHeader('content-length', 3)
      try {
        response.end('abcdef')
      } catch (error) {
        thrown.push(error)
        response.end('abc')
      }
    })
    const response = await http(address, '/')
    expect(String(response.body)).toBe('abc')
    expect(await thrown.next('the error')).toMatchObject({ code: 'ERR_HTTP_CONTENT_LENGTH_MISMATCH' })
  })

  test.each([
    ['longer', 3],
    ['shorter', 300],
  ])(
    'a streamed body that is %s than announced has the connection cut, and the response tells of it',
    async (_which, announced) => {
      const errors = new Queue<unknown>()
      const closed = new Deferred()
      const address = await listening(engine, (_request, response) => {
        response.setHeader('content-length', announced)
        response.on('error', (error) => errors.push(error))
        response.on('close', () => closed.resolve())
        response.write('abc')
        void setImmediate().then(() => response.end('def'))
      })
      await expect(within(http(address, '/'), 'the failure')).rejects.toThrow()
      expect(await errors.next('the error')).toMatchObject({ code: 'ERR_HTTP_CONTENT_LENGTH_MISMATCH' })
      await within(closed.promise, 'close')
    },
  )

  test('a streamed body of a wrong length ends no process, although nobody listens for the error', async () => {
    const address = await listening(engine, (request, response) => {
      response.setHeader('content-length', request.url === '/right' ? 6 : 5)
      response.write('abc')
      void setImmediate().then(() => response.end('def'))
    })
    await expect(within(http(address, '/wrong'), 'the failure')).rejects.toThrow()
    expect(told).toContainEqual(expect.stringMatching(/is not that of the body .* was cut/))
    expect(String((await http(address, '/right')).body)).toBe('abcdef')
  })
})
