/** `wasClean` of the `close` handler: whether its code is the client's, or of an error found here. */
import { expect, test } from 'vitest'
import type { Socket } from '../../src/index.js'
import { Client } from '../support/client.js'
import { describeEngines, serve } from '../support/engines.js'
import { closeFrame, frame, OPCODE, RawClient, text } from '../support/raw-client.js'
import { Queue } from '../support/waiting.js'

describeEngines('the end of a connection', (engine) => {
  async function ending() {
    const ends = new Queue<readonly [code: number, reason: string, wasClean: boolean]>()
    const opened = new Queue<Socket>()
    const served = await serve(engine, {
      maxPayloadLength: 1000,
      open: (socket) => opened.push(socket),
      close: (_socket, code, reason, wasClean) => ends.push([code, reason, wasClean]),
    })
    return { served, opened, next: () => ends.next('the close event') }
  }

  test.each([1000, 1002, 1007, 1009, 4000])('is clean where the client closes with %i', async (code) => {
    const { served, next } = await ending()
    const client = await RawClient.open(served)
    client.write(closeFrame(code, 'mine'))
    expect(await next()).toEqual([code, 'mine', true])
  })

  test('is clean where the client closes without a code', async () => {
    const { served, next } = await ending()
    const client = await RawClient.open(served)
    client.write(closeFrame())
    expect(await next()).toEqual([1005, '', true])
  })

  test.each<[code: number, what: string, bytes: Buffer]>([
    [1002, 'a frame without a mask', text('longer than a head', { masked: false })],
    [1002, 'a Close frame with a code that none may have', closeFrame(1006)],
    [1007, 'text that is no UTF-8', text(Buffer.from([0xff]))],
    [1009, 'a message that is too long', text('x'.repeat(1001))],
  ])('is not clean where the server finds an error (%i): %s', async (code, _what, bytes) => {
    const { served, next } = await ending()
    const client = await RawClient.open(served)
    client.write(bytes)
    expect(await next()).toEqual([code, '', false])
  })

  test('is clean where the client answers the server, with the code of its answer', async () => {
    const { served, opened, next } = await ending()
    await Client.open(served)
    ;(await opened.next('the socket')).close(1009, 'too much')
    expect(await next()).toEqual([1009, 'too much', true])
  })

  test('is not clean where the client answers the server with something else, or not at all', async () => {
    const { served, opened, next } = await ending()
    const client = await RawClient.open(served)
    ;(await opened.next('the socket')).close(1000)
    await client.frame('the Close frame')
    client.write(frame({ opcode: OPCODE.TEXT, masked: false, payload: 'longer than a head' }))
    expect((await next())[2]).toBe(false)
    const gone = await RawClient.open(served)
    await opened.next('another socket')
    gone.vanish()
    expect(await next()).toEqual([1006, '', false])
    await RawClient.open(served)
    ;(await opened.next('a third socket')).terminate()
    expect(await next()).toEqual([1006, '', false])
  })
})
