/**
 * Every public member of the objects of `node:http` that programs get: it is one of the face, or a test or
 * a thought has found that Node's own does what it says. A release of Node with a new one fails this test,
 * so that somebody decides what the face does with it.
 */
import { EventEmitter, once } from 'node:events'
import { createServer as createNodeServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { Duplex, Readable, Writable } from 'node:stream'
import { expect, onTestFinished, test } from 'vitest'
import { WebSocketServer as WsServer } from 'ws'
import { createServer } from '../../src/faces/http.js'
import { WebSocketServer } from '../../src/faces/ws.js'
import { Client } from '../support/client.js'
import { addressOf, type EngineName } from '../support/engines.js'
import { http } from '../support/http.js'
import { within } from '../support/waiting.js'

/** Members of Node's own that hold here as they are: they are about the object alone, or end in others. */
const HOLDS: Readonly<Record<string, string>> = {
  Server: '',
  // `setTimeout` and `destroy` are those of the socket; `signal` follows the events of the message.
  IncomingMessage:
    'connection destroy eventNames headers headersDistinct rawTrailers setTimeout signal trailers trailersDistinct',
  // `destroy` and `setTimeout` are those of the socket. `cork` gathers what goes out at once in any case.
  ServerResponse:
    'appendHeader closed connection cork destroy detachSocket errored eventNames getHeader getHeaderNames getHeaders getRawHeaderNames ' +
    'hasHeader headersSent pipe removeHeader setHeader setHeaders setTimeout socket statusCode statusMessage uncork writableCorked ' +
    'writableEnded writableObjectMode writeHeader',
  // `end` and `destroySoon` end in `_final`, `write` in `_write`, `setTimeout` in the event.
  Socket: 'connecting destroySoon end read readyState setTimeout timeout',
}

/** Members that nobody can miss here, and why. */
const LEFT_OUT: Readonly<Record<string, string>> = {
  'Server.allowHalfOpen': 'programs cannot choose it with Node either',
  'Server.httpAllowHalfOpen': 'documented nowhere',
  'Server.joinDuplicateHeaders': 'always so here, as docs/compatibility.md says',
  'Socket.parser': 'documented nowhere',
  'Server.pauseOnConnect': 'programs cannot choose it with Node either',
}

/** Public members with a name, of the object and its classes, up to those of all streams and emitters. */
function membersOf(object: object): Map<string, PropertyDescriptor> {
  const found = new Map<string, PropertyDescriptor>()
  const ends: unknown[] = [EventEmitter, Duplex, Readable, Writable, Object].map(({ prototype }) => prototype)
  for (let at: object | null = object; at !== null && !ends.includes(at); at = Object.getPrototypeOf(at)) {
    for (const [name, descriptor] of Object.entries(Object.getOwnPropertyDescriptors(at))) {
      if (!name.startsWith('_') && name !== 'constructor' && !found.has(name)) found.set(name, descriptor)
    }
  }
  return found
}

/** The objects of one request, while it has no response. */
async function objectsOf(server: ReturnType<typeof createNodeServer> | ReturnType<typeof createServer>) {
  const emitter: EventEmitter = server
  server.listen(0, '127.0.0.1')
  await within(once(emitter, 'listening'), 'the server to listen')
  onTestFinished(() => void server.close())
  const address = server.address()
  const asked = once(emitter, 'request')
  const response = http(addressOf(typeof address === 'object' ? (address?.port ?? 0) : 0, '127.0.0.1'), '/')
  const [message, answer] = (await within(asked, 'the request')) as [IncomingMessage, ServerResponse]
  onTestFinished(async () => {
    answer.end()
    await response
  })
  return { Server: server, IncomingMessage: message, ServerResponse: answer, Socket: message.socket }
}

test('no public member of node:http is missing, or does nothing without a word', async () => {
  const node = await objectsOf(createNodeServer())
  const face = await objectsOf(createServer({ engine: 'portable' as EngineName }))
  const undecided: string[] = []
  for (const [kind, object] of Object.entries(node) as [keyof typeof node, object][]) {
    const [theirs, ours] = [membersOf(object), membersOf(face[kind])]
    const holding = new Set(HOLDS[kind]?.split(' '))
    for (const [name, descriptor] of theirs) {
      const own = ours.get(name)
      const isNodes =
        own !== undefined &&
        [own.value, own.get].some((part) => typeof part === 'function' && [descriptor.value, descriptor.get].includes(part))
      if (own === undefined ? LEFT_OUT[`${kind}.${name}`] === undefined : isNodes && !holding.has(name)) {
        undecided.push(`${kind}.${name}`)
      }
    }
  }
  expect(undecided).toEqual([])
})

test('no public member of the server and the sockets of ws is missing', async () => {
  const objects = await Promise.all(
    [new WsServer({ port: 0, host: '127.0.0.1' }), new WebSocketServer({ port: 0, host: '127.0.0.1', engine: 'portable' })].map(
      async (server) => {
        const emitter: EventEmitter = server
        await within(once(emitter, 'listening'), 'the server to listen')
        onTestFinished(() => void server.close())
        const address = server.address()
        const connected = once(emitter, 'connection')
        await Client.open(addressOf(address !== null && typeof address === 'object' ? address.port : 0, '127.0.0.1'))
        const [socket] = await within(connected, 'the socket')
        onTestFinished(() => socket.terminate())
        return { server: membersOf(server), socket: membersOf(socket), options: membersOf(server.options) }
      },
    ),
  )
  const [theirs, ours] = objects
  for (const kind of ['server', 'socket', 'options'] as const) {
    const names = [...(theirs?.[kind].keys() ?? [])]
    expect(names.length).toBeGreaterThan(5)
    expect(names.filter((name) => ours?.[kind].has(name) !== true)).toEqual([])
  }
})
