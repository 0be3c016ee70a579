import { describe, expect, test } from 'vitest'
import { type Arrival, InboundQueue, type InboundSocket } from '../../src/websocket/inbound-queue.js'

/** What a queue has done with its socket, in order. */
class Recorder implements InboundSocket {
  isOpen = true
  readonly done: string[] = []
  /** Called with each message, before it is noted. */
  onMessage = (_message: string): void => {}

  handleMessage(message: string | Buffer): void {
    this.done.push(String(message))
    this.onMessage(String(message))
  }
  handlePing(data: Buffer): void {
    this.done.push(`ping ${data}`)
  }
  handlePong(data: Buffer): void {
    this.done.push(`pong ${data}`)
  }
  stopReading(): void {
    this.done.push('stop')
  }
  startReading(): void {
    this.done.push('start')
  }
  rateLimited(): void {
    this.done.push('limited')
  }
  closeForRate(): void {
    this.isOpen = false
    this.done.push('closed for its rate')
  }
}

const message = (data: string): Arrival => ({ kind: 'message', data, isBinary: false })
/** `resume` goes on after its caller has returned. */
const later = () => new Promise<void>((resolve) => queueMicrotask(resolve))

function make(limit?: { messages: number; closes: boolean }) {
  const socket = new Recorder()
  const rateLimit = limit && {
    messages: limit.messages,
    bytes: Number.POSITIVE_INFINITY,
    window: 3_600_000,
    closes: limit.closes,
  }
  return { socket, queue: new InboundQueue(socket, rateLimit) }
}

describe('the queue of what comes in', () => {
  test('holds nothing while nothing keeps it', () => {
    const { socket, queue } = make()
    queue.arrived(message('a'))
    queue.arrived({ kind: 'ping', data: Buffer.from('b') })
    queue.arrived({ kind: 'pong', data: Buffer.from('c'), isUnsolicited: true })
    expect(socket.done).toEqual(['a', 'ping b', 'pong c'])
    expect(queue.isIdle).toBe(true)
  })

  test('delivers in order after a pause, and reads again when all is delivered', async () => {
    const { socket, queue } = make()
    queue.pause()
    queue.pause()
    for (const name of ['a', 'b']) queue.arrived(message(name))
    queue.arrived({ kind: 'ping', data: Buffer.from('c') })
    expect(socket.done).toEqual(['stop'])
    queue.resume()
    queue.arrived(message('d'))
    expect(socket.done).toEqual(['stop'])
    await later()
    expect(socket.done).toEqual(['stop', 'a', 'b', 'ping c', 'd', 'start'])
    expect(queue.isIdle).toBe(true)
  })

  test('stops again where a handler pauses in the middle', async () => {
    const { socket, queue } = make()
    socket.onMessage = (name) => {
      if (name === 'a') queue.pause()
    }
    queue.pause()
    for (const name of ['a', 'b']) queue.arrived(message(name))
    queue.resume()
    await later()
    expect(socket.done).toEqual(['stop', 'a', 'stop'])
    queue.resume()
    await later()
    expect(socket.done).toEqual(['stop', 'a', 'stop', 'b', 'start'])
  })

  test('delivers no more once the socket is closed', async () => {
    const { socket, queue } = make()
    socket.onMessage = () => {
      socket.isOpen = false
    }
    queue.pause()
    for (const name of ['a', 'b']) queue.arrived(message(name))
    queue.resume()
    await later()
    expect(socket.done).toEqual(['stop', 'a'])
  })

  test('gives everything away when the connection has ended, paused or not', () => {
    const { socket, queue } = make()
    queue.pause()
    for (const name of ['a', 'b']) queue.arrived(message(name))
    queue.flush()
    expect(socket.done).toEqual(['stop', 'a', 'b'])
  })

  test('gives messages to one consumer, which gives back what it has no use for', async () => {
    const { socket, queue } = make()
    const taken: Arrival[] = []
    const ends: [number, string][] = []
    const consumer = {
      onMessage: (data: string | Buffer, isBinary: boolean) => void taken.push({ kind: 'message', data, isBinary }),
      onClose: (code: number, reason: string) => void ends.push([code, reason]),
    }
    queue.attach(consumer)
    expect(() => queue.attach({ ...consumer })).toThrow(expect.objectContaining({ code: 'ERR_ATTACHED' }))
    queue.arrived(message('a'))
    expect(taken).toHaveLength(1)
    queue.pause()
    queue.arrived(message('b'))
    queue.detach(consumer, taken)
    await later()
    expect(socket.done).toEqual(['stop', 'a', 'b', 'start'])
    queue.ended(1000, 'over')
    expect(ends).toEqual([])
  })

  test('makes a client wait that is beyond its rate limit, and delivers in the end what had come', () => {
    const { socket, queue } = make({ messages: 1, closes: false })
    for (const name of ['a', 'b']) queue.arrived(message(name))
    expect(socket.done).toEqual(['a', 'limited', 'stop'])
    queue.flush()
    expect(socket.done).toEqual(['a', 'limited', 'stop', 'b'])
  })

  test('closes a client that is beyond its rate limit, and keeps out what was too much', () => {
    const { socket, queue } = make({ messages: 1, closes: true })
    for (const name of ['a', 'b']) queue.arrived(message(name))
    queue.flush()
    expect(socket.done).toEqual(['a', 'closed for its rate'])
  })
})
