/** `drained()`: waiting until the client has read enough. */
import { expect, test } from 'vitest'
import { ClosedError, OptionError, type Socket } from '../../src/index.js'
import { describeEngines, type EngineName, type ServeOptions, serve } from '../support/engines.js'
import { RawClient } from '../support/raw-client.js'
import { Queue, turns, within } from '../support/waiting.js'

const KiB = 1024
const MiB = 1024 * KiB

/** A connection whose client does not read yet. */
async function unreadConnection(engine: EngineName, options: ServeOptions = {}): Promise<{ client: RawClient; socket: Socket }> {
  const sockets = new Queue<Socket>()
  const served = await serve(engine, { open: (socket) => sockets.push(socket) }, options)
  const client = await RawClient.open(served)
  client.pause()
  return { client, socket: await sockets.next('open') }
}

/** Sends until at least `bytes` wait in the server. */
async function fill(socket: Socket, bytes: number): Promise<void> {
  while (socket.bufferedAmount < bytes) {
    socket.send(Buffer.alloc(256 * KiB))
    await turns(1)
  }
}

for (const tls of [false, true]) {
  const options: ServeOptions = tls ? { server: { tls: true } } : {}
  describeEngines(`backpressure: drained over ${tls ? 'TLS' : 'plain TCP'}`, (engine) => {
    test('resolves at once where nothing waits, and soon after a message that the client can read', async () => {
      const { socket, client } = await unreadConnection(engine, options)
      await within(socket.drained(), 'an empty queue')
      client.resume()
      socket.send('hello')
      await within(socket.drained(), 'a queue that has emptied')
      expect(socket.bufferedAmount).toBe(0)
    })

    test('resolves for each threshold when the queue is that short, the highest first', async () => {
      const { socket, client } = await unreadConnection(engine, options)
      await fill(socket, 4 * MiB)
      const thresholds = [0, 3 * MiB, MiB, 2 * MiB, MiB]
      const order: number[] = []
      const waits = thresholds.map(async (threshold) => {
        await socket.drained({ threshold })
        expect(socket.bufferedAmount).toBeLessThanOrEqual(threshold)
        order.push(threshold)
      })
      await turns(5)
      expect(order).toEqual([])
      client.resume()
      await within(Promise.all(waits), 'all thresholds')
      expect(order).toEqual([3 * MiB, 2 * MiB, MiB, MiB, 0])
    })

    test('can be waited for again and again, with the queue never above a chunk for long', async () => {
      const { socket, client } = await unreadConnection(engine, options)
      client.resume()
      for (let chunk = 0; chunk < 64; chunk++) {
        socket.send(Buffer.alloc(256 * KiB))
        await within(socket.drained({ threshold: 64 * KiB }), `chunk ${chunk} to leave`)
        expect(socket.bufferedAmount).toBeLessThanOrEqual(64 * KiB)
      }
    })
  })
}

describeEngines('backpressure: drained', (engine) => {
  test.each<[how: string, end: (socket: Socket, client: RawClient) => void]>([
    ['closed', (socket) => socket.close()],
    ['terminated', (socket) => socket.terminate()],
    ['reset by the client', (_socket, client) => client.reset()],
  ])('rejects with ERR_CLOSED when the socket is %s first', async (_how, end) => {
    const { socket, client } = await unreadConnection(engine)
    await fill(socket, MiB)
    const waits = [0, 1, 1000].map((threshold) => socket.drained({ threshold }).catch((error: unknown) => error))
    end(socket, client)
    for (const error of await within(Promise.all(waits), 'the rejections')) {
      expect(error).toBeInstanceOf(ClosedError)
      expect(error).toMatchObject({ code: 'ERR_CLOSED' })
    }
    await expect(socket.drained()).rejects.toMatchObject({ code: 'ERR_CLOSED' })
  })

  test('rejects with the reason of its signal, and leaves the other waits alone', async () => {
    const { socket, client } = await unreadConnection(engine)
    await fill(socket, MiB)
    const controller = new AbortController()
    const given = socket.drained({ signal: controller.signal }).catch((error: unknown) => error)
    const other = socket.drained()
    controller.abort('enough')
    expect(await within(given, 'the rejection')).toBe('enough')
    await expect(socket.drained({ signal: controller.signal })).rejects.toBe('enough')
    client.resume()
    await within(other, 'the other wait')
  })

  test('rejects with OptionError for options that it cannot use', async () => {
    const { socket } = await unreadConnection(engine)
    const wrong: [option: string, value: object][] = [
      ['threshold', { threshold: -1 }],
      ['threshold', { threshold: 0.5 }],
      ['threshold', { threshold: 2 ** 31 }],
      ['threshold', { threshold: '1' }],
      ['signal', { signal: {} }],
      ['treshold', { treshold: 1 }],
    ]
    for (const [option, value] of wrong) {
      const error = await socket.drained(value).catch((reason: unknown) => reason)
      expect(error).toBeInstanceOf(OptionError)
      expect(error).toMatchObject({ option })
    }
  })
})

describeEngines('cork', (engine) => {
  test('calls back at once, gives what the callback gives, and sends everything in order', async () => {
    const { socket, client } = await unreadConnection(engine)
    client.resume()
    let isInside = true
    const result = socket.cork((same) => {
      expect(same).toBe(socket)
      expect(isInside).toBe(true)
      const answers = Array.from({ length: 20 }, (_, index) => same.send(`${index}`.padEnd(1 + index * 1000)))
      socket.cork(() => answers.push(socket.send('nested')))
      return answers
    })
    isInside = false
    expect(result).toEqual([1, ...Array.from({ length: 19 }, (_, index) => 1 + (index + 1) * 1000), 6])
    for (let index = 0; index < 20; index++) expect(String((await client.frame('a message')).payload).trim()).toBe(`${index}`)
    expect(String((await client.frame('the nested one')).payload)).toBe('nested')
    await within(socket.drained(), 'an empty queue')
  })

  test('lets what the callback throws through, and goes on sending', async () => {
    const { socket, client } = await unreadConnection(engine)
    client.resume()
    const fault = new Error('from the callback')
    const call = () =>
      socket.cork(() => {
        socket.send('before')
        throw fault
      })
    expect(call).toThrow(fault)
    socket.send('after')
    expect(String((await client.frame('a message')).payload)).toBe('before')
    expect(String((await client.frame('a message')).payload)).toBe('after')
  })

  test('of a closed socket only calls back; without a function it throws OptionError', async () => {
    const { socket } = await unreadConnection(engine)
    socket.terminate()
    expect(socket.cork((same) => same.send('x'))).toBe(0)
    // What a caller without types may pass.
    expect(() => socket.cork('x' as unknown as () => void)).toThrow(OptionError)
  })
})
