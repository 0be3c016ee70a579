/** NestJS with its WsAdapter: gateways beside its pages, and on a port of their own. */
import 'reflect-metadata'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { after, test } from 'node:test'
import { Controller, Get, Module } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import { WsAdapter } from '@nestjs/platform-ws'
import { SubscribeMessage, WebSocketGateway, WebSocketServer } from '@nestjs/websockets'
import { from, map } from 'rxjs'
import { eventually, onEngines, open, withFace } from './support.mjs'

// The first adapter of a process asks for `ws`, for all of them.
withFace('@nestjs/platform-ws', () => new WsAdapter())

/** What the compiler of TypeScript makes of `@decorator` before a member. */
const decorate = ({ prototype }, name, decorator) => decorator(prototype, name, Object.getOwnPropertyDescriptor(prototype, name))

onEngines('NestJS, WsAdapter', (engine) => {
  test('serves gateways with a path beside pages, and one with a port', async () => {
    const left = eventually('a client to leave')
    class Chat {
      handleConnection(client, request) {
        client.name = new URL(request.url, 'http://localhost').searchParams.get('name')
      }

      handleDisconnect(client) {
        left.resolve(client.name)
      }

      say(client, text) {
        for (const each of this.server.clients) each.send(JSON.stringify({ event: 'said', data: `${client.name}: ${text}` }))
      }

      count(_client, numbers) {
        return from(numbers).pipe(map((number) => ({ event: 'counted', data: number * 2 })))
      }
    }
    decorate(Chat, 'say', SubscribeMessage('say'))
    decorate(Chat, 'count', SubscribeMessage('count'))
    WebSocketServer()(Chat.prototype, 'server')
    WebSocketGateway({ path: '/chat', engine })(Chat)
    class Echo {
      echo(_client, data) {
        return { event: 'echo', data }
      }
    }
    decorate(Echo, 'echo', SubscribeMessage('echo'))
    const port = 20_000 + Math.floor(Math.random() * 12_000)
    WebSocketGateway(port, { engine, host: '127.0.0.1' })(Echo)
    class Pages {
      page() {
        return 'page'
      }
    }
    decorate(Pages, 'page', Get())
    Controller()(Pages)
    class App {}
    Module({ controllers: [Pages], providers: [Chat, Echo] })(App)
    const app = await NestFactory.create(App, { logger: ['error'] })
    app.useWebSocketAdapter(new WsAdapter(app))
    await app.listen(0, '127.0.0.1')
    after(() => app.close())
    const url = await app.getUrl()
    assert.equal(await (await fetch(url)).text(), 'page')
    const chat = `${url.replace('http', 'ws')}/chat`
    const [ada, bob] = [await open(`${chat}?name=ada`), await open(`${chat}?name=bob`)]
    ada.socket.send('no JSON')
    ada.socket.send(JSON.stringify({ event: 'say', data: 'grüezi' }))
    for (const { next } of [ada, bob]) assert.deepEqual(JSON.parse(await next()), { event: 'said', data: 'ada: grüezi' })
    bob.socket.send(JSON.stringify({ event: 'count', data: [1, 2] }))
    for (const data of [2, 4]) assert.deepEqual(JSON.parse(await bob.next()), { event: 'counted', data })
    ada.socket.close()
    assert.equal(await left.promise, 'ada')
    const alone = await open(`ws://127.0.0.1:${port}`)
    alone.socket.send(JSON.stringify({ event: 'echo', data: [1] }))
    assert.deepEqual(JSON.parse(await alone.next()), { event: 'echo', data: [1] })
    const ended = Promise.all([bob, alone].map(({ socket }) => once(socket, 'close')))
    await app.close()
    await ended
  })
})
