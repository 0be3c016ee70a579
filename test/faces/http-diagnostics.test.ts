/** What the face of `node:http` publishes for those who measure and trace. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { createServer as createNodeServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http'
import { expect, onTestFinished, test } from 'vitest'
import { createServer } from '../../src/faces/http.js'
import { addressOf, describeEngines } from '../support/engines.js'
import { http } from '../support/http.js'
import { Deferred, within } from '../support/waiting.js'

/** What is published of a server's one request, and what its program does meanwhile. */
async function publishedOf(make: (listener: RequestListener) => ReturnType<typeof createNodeServer>) {
  const seen: unknown[] = []
  const known: { request?: IncomingMessage; response?: ServerResponse } = {}
  const hasFinished = new Deferred()
  const server = make((request, response) => {
    Object.assign(known, { request, response })
    seen.push('request')
    response.on('finish', () => {
      seen.push('finish')
      hasFinished.resolve()
    })
    response.end('hello')
  })
  const messages: Record<string, unknown>[] = []
  for (const name of ['http.server.request.start', 'http.server.response.finish']) {
    const listener = (message: unknown) => {
      const fields = message as Record<string, unknown>
      // Other servers of this process publish, too.
      if (fields.server !== server) return
      seen.push(name)
      messages.push(fields)
    }
    subscribe(name, listener)
    onTestFinished(() => void unsubscribe(name, listener))
  }
  await within(once(server.listen(0, '127.0.0.1'), 'listening'), 'the server to listen')
  onTestFinished(() => void server.close())
  const address = server.address()
  await http(addressOf(typeof address === 'object' ? (address?.port ?? 0) : 0, '127.0.0.1'), '/')
  await within(hasFinished.promise, 'finish')
  const { request, response } = known
  const isRight = messages.map((fields) => [
    Object.keys(fields).sort(),
    fields.request === request,
    fields.response === response,
    fields.socket === request?.socket,
  ])
  return { seen, isRight }
}

describeEngines('the face of node:http', (engine) => {
  test('publishes the start of a request and the end of its response as Node does', async () => {
    const ours = await publishedOf((listener) => createServer({ engine }, listener))
    expect(ours.isRight).toEqual([
      [['request', 'response', 'server', 'socket'], true, true, true],
      [['request', 'response', 'server', 'socket'], true, true, true],
    ])
    expect(ours).toEqual(await publishedOf((listener) => createNodeServer(listener)))
  })
})
