/** Streams that are no sockets, joined to engines. */
import { once } from 'node:events'
import { connect, Server } from 'node:net'
import { Duplex } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { expect, onTestFinished, test, vi } from 'vitest'
import { bridge } from '../../../src/faces/ws/bridge.js'
import { within } from '../../support/waiting.js'

/** What is written to it arrives some milliseconds later; what its other end says is pushed. */
function slowStream() {
  const arrived: Buffer[] = []
  const stream = new Duplex({
    read: () => {},
    write: (chunk: Buffer, _encoding, done) => {
      setTimeout(() => {
        arrived.push(chunk)
        done()
      }, 20)
    },
  })
  onTestFinished(() => void stream.destroy())
  return { stream, arrived }
}

test('a slow stream gets everything that was sent before the connection ended, and is destroyed', async () => {
  const { stream, arrived } = slowStream()
  const near = await within(bridge(stream), 'the bridge')
  const closed = once(stream, 'close')
  near.resume()
  for (let n = 0; n < 20; n++) await new Promise((resolve) => near.write(Buffer.alloc(1000), resolve))
  near.end('end')
  await within(closed, 'the end of the stream')
  expect(Buffer.concat(arrived).toString('latin1')).toBe(`${'\0'.repeat(20_000)}end`)
})

test('what a stream says last arrives, and a connection that is cut cuts the stream', async () => {
  const { stream } = slowStream()
  const near = await within(bridge(stream), 'the bridge')
  near.write('unread')
  stream.push('last')
  stream.push(null)
  stream.end()
  expect((await within(buffer(near), 'the rest')).toString()).toBe('last')
  const other = slowStream().stream
  const cut = await within(bridge(other), 'the bridge')
  const closed = once(other, 'close')
  cut.resetAndDestroy()
  await within(closed, 'the end of the stream')
})

test('another process that finds the port first gets nothing, and keeps no stream from the engine', async () => {
  const emit = Server.prototype.emit
  let foreign: ReturnType<typeof connect> | undefined
  const spy = vi.spyOn(Server.prototype, 'emit').mockImplementation(function (this: Server, ...event: Parameters<typeof emit>) {
    const address = this.address()
    if (String(event[0]) === 'listening' && typeof address === 'object') foreign = connect(address?.port ?? 0, '127.0.0.1')
    return emit.apply(this, event)
  })
  onTestFinished(() => spy.mockRestore())
  const { stream, arrived } = slowStream()
  const near = await within(bridge(stream), 'the bridge')
  if (foreign === undefined) throw new Error('no foreign connection')
  expect((await within(buffer(foreign), 'its end')).length).toBe(0)
  near.resume().end('ours')
  await within(once(stream, 'close'), 'the end of the stream')
  expect(Buffer.concat(arrived).toString()).toBe('ours')
})
