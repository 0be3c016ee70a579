/** `SendStreams` on an engine that the test drives: what is sent, when, and what becomes of sources. */
import { Buffer } from 'node:buffer'
import { Readable } from 'node:stream'
import { describe, expect, test } from 'vitest'
import type { EngineConnections, Fragment } from '../../src/engine/contract.js'
import type { StreamSettings } from '../../src/options/websocket.js'
import type { Data } from '../../src/types/index.js'
import { SendStreams } from '../../src/websocket/send-streams.js'
import { Deferred, turns } from '../support/waiting.js'

type Sent = Fragment & { readonly bytes: Buffer }

/** A connection of an engine, which takes fragments while it is `ready`. */
class Connection {
  readonly sent: Sent[] = []
  /** What the engine was told beside fragments, in order. */
  readonly calls: ('begin' | 'withdraw' | 'fail')[] = []
  isOpen = true
  ready = true
  readonly streams: SendStreams

  constructor(maxFragmentLength = 4) {
    const connections: Pick<
      EngineConnections,
      'beginMessage' | 'withdrawMessage' | 'isOpen' | 'readyForFragment' | 'sendFragment'
    > = {
      beginMessage: () => void this.calls.push('begin'),
      withdrawMessage: () => void this.calls.push('withdraw'),
      isOpen: () => this.isOpen,
      readyForFragment: () => this.ready,
      sendFragment: (_id, data, fragment) => void this.sent.push({ ...fragment, bytes: Buffer.from(data) }),
    }
    this.streams = new SendStreams({
      connections: connections as EngineConnections, // SendStreams uses no other part
      connection: 1,
      maxFragmentLength,
      fail: () => {
        this.calls.push('fail')
        this.close()
      },
    })
  }

  send(source: AsyncIterable<Data>, settings: Partial<StreamSettings> = {}): Promise<void> {
    const done = this.streams.send(source, { binary: undefined, compress: undefined, signal: undefined, ...settings })
    done.catch(() => {})
    return done
  }

  /** As the socket does when it begins to close. */
  close(): void {
    this.isOpen = false
    this.streams.end()
  }

  drain(): void {
    this.ready = true
    this.streams.fragmentDrained()
  }

  get text(): string {
    return Buffer.concat(this.sent.map(({ bytes }) => bytes)).toString()
  }
}

/** A source that the test feeds, and that says when it was told to stop. */
class Fed implements AsyncIterable<Data> {
  readonly stopped = new Deferred()
  isStopped = false
  readonly #results: Deferred<IteratorResult<Data>>[] = []
  #given = 0
  #taken = 0

  give(value: unknown): void {
    // A source may give anything; the types say Data.
    this.#at(this.#given++).resolve({ done: false, value: value as Data })
  }

  throw(error: Error): void {
    const { promise, reject } = this.#at(this.#given++)
    // The stream may ask for it in a later turn.
    promise.catch(() => {})
    reject(error)
  }

  finish(): void {
    this.#at(this.#given++).resolve({ done: true, value: undefined })
  }

  [Symbol.asyncIterator](): AsyncIterator<Data> {
    return {
      next: () => this.#at(this.#taken++).promise,
      return: async () => {
        this.isStopped = true
        this.stopped.resolve()
        return { done: true, value: undefined }
      },
    }
  }

  #at(index: number): Deferred<IteratorResult<Data>> {
    this.#results[index] ??= new Deferred()
    return this.#results[index]
  }
}

async function* chunks(...all: Data[]): AsyncGenerator<Data> {
  yield* all
}

const kinds = ({ sent }: Connection) =>
  sent.map(({ isFirst, isLast, bytes }) => `${isFirst ? 'first ' : ''}${isLast ? 'last ' : ''}${bytes.length}`)

describe('the fragments of a stream', () => {
  test.each([1, 2, 3, 4, 5, 7, 100])('of at most %i bytes make up the chunks, whatever characters they cut', async (length) => {
    const connection = new Connection(length)
    await connection.send(chunks('aä€😀', '', 'x', '\ud83d', '\ude00 end'))
    expect(connection.text).toBe('aä€😀x😀 end')
    expect(connection.sent.every(({ bytes }) => bytes.length <= length)).toBe(true)
    expect(connection.sent.filter(({ isFirst }) => isFirst)).toEqual([connection.sent[0]])
    expect(connection.sent.filter(({ isLast }) => isLast)).toEqual([connection.sent.at(-1)])
    expect(connection.sent.every(({ isBinary }) => !isBinary)).toBe(true)
  })

  test('of bytes that are split at each place are the same message', async () => {
    const bytes = Buffer.from('aä€😀')
    for (let split = 0; split <= bytes.length; split++) {
      const connection = new Connection(3)
      await connection.send(chunks(bytes.subarray(0, split), bytes.subarray(split)), { binary: false })
      expect(connection.text).toBe('aä€😀')
    }
  })

  test('of an empty source are one: an empty message of text', async () => {
    const connection = new Connection()
    await connection.send(chunks())
    expect(connection.sent).toEqual([
      { isBinary: false, isFirst: true, isLast: true, compress: undefined, bytes: Buffer.alloc(0) },
    ])
    expect(connection.calls).toEqual(['begin'])
  })

  test('of nothing but empty chunks are one, of the kind of the first chunk', async () => {
    const connection = new Connection()
    await connection.send(chunks(new Uint8Array(0), '', ''))
    expect(kinds(connection)).toEqual(['first last 0'])
    expect(connection.sent[0]?.isBinary).toBe(true)
  })

  test('wait until the engine is ready for the next one', async () => {
    const connection = new Connection(2)
    connection.ready = false
    const done = connection.send(chunks('abc'))
    await turns(2)
    expect(kinds(connection)).toEqual([])
    connection.streams.fragmentDrained() // of something else: the engine is not ready
    await turns(2)
    expect(kinds(connection)).toEqual([])
    connection.drain()
    await done
    expect(kinds(connection)).toEqual(['first 2', '1', 'last 0'])
  })

  test('of endless empty chunks leave turns of the event loop to others', async () => {
    const connection = new Connection()
    const abort = new AbortController()
    setImmediate(() => setImmediate(() => abort.abort(new Error('another turn'))))
    async function* endless() {
      for (;;) yield ''
    }
    await expect(connection.send(endless(), { signal: abort.signal })).rejects.toThrow('another turn')
  })
})

describe('a source', () => {
  test.each([
    ['that throws before its first chunk withdraws the message, and the connection goes on', [], ['begin', 'withdraw']],
    ['that throws after empty chunks withdraws the message, and the connection goes on', ['', ''], ['begin', 'withdraw']],
    ['that throws later fails the connection', ['abc'], ['begin', 'fail']],
  ])('%s', async (_what, given, calls) => {
    const connection = new Connection()
    const source = new Fed()
    const done = connection.send(source)
    for (const chunk of given) source.give(chunk)
    source.throw(new Error('broken'))
    await expect(done).rejects.toThrow('broken')
    expect(connection.calls).toEqual(calls)
    // It has ended by itself.
    expect(source.isStopped).toBe(false)
  })

  test('that throws where it makes its iterator begins no message', async () => {
    const connection = new Connection()
    const source: AsyncIterable<Data> = {
      [Symbol.asyncIterator]() {
        throw new Error('no iterator')
      },
    }
    await expect(connection.send(source)).rejects.toThrow('no iterator')
    expect(connection.calls).toEqual([])
  })

  test('that closes the socket where it makes its iterator is refused, and stopped', async () => {
    const connection = new Connection()
    const source = new Fed()
    const iterator = source[Symbol.asyncIterator]()
    const closing = {
      [Symbol.asyncIterator]() {
        connection.close()
        return iterator
      },
    }
    await expect(connection.send(closing)).rejects.toMatchObject({ code: 'ERR_CLOSED' })
    expect(connection.calls).toEqual(['begin', 'withdraw'])
    await source.stopped.promise
  })

  test.each([[5], [null], [{}], [[1, 2]]])('that gives %j is stopped with an OptionError', async (chunk) => {
    const connection = new Connection()
    const source = new Fed()
    const done = connection.send(source)
    source.give('ab')
    source.give(chunk)
    await expect(done).rejects.toMatchObject({ code: 'ERR_OPTION' })
    expect(connection.calls).toEqual(['begin', 'fail'])
    await source.stopped.promise
  })

  test('that gives bytes which are not UTF-8 in a message of text is stopped with an OptionError', async () => {
    const connection = new Connection()
    const source = new Fed()
    const done = connection.send(source, { binary: false })
    source.give(Buffer.from([0x61, 0xff]))
    await expect(done).rejects.toMatchObject({ code: 'ERR_OPTION' })
    expect(connection.calls).toEqual(['begin', 'withdraw'])
    await source.stopped.promise
  })

  test('that gives results instead of promises of them is read all the same', async () => {
    const connection = new Connection()
    const left = ['a', 'b']
    const source = {
      [Symbol.asyncIterator]: () => ({
        next() {
          const value = left.shift()
          return value === undefined ? { done: true, value: undefined } : { done: false, value }
        },
      }),
    }
    // The types ask for promises; programs without types give what they like.
    await connection.send(source as unknown as AsyncIterable<Data>)
    expect(connection.text).toBe('ab')
  })
})

describe('a stream that is interrupted', () => {
  test('by the close of the socket while its source is silent rejects, and stops the source', async () => {
    const connection = new Connection()
    const source = new Fed()
    const done = connection.send(source)
    connection.close()
    await expect(done).rejects.toMatchObject({ code: 'ERR_CLOSED' })
    await source.stopped.promise
    expect(connection.sent).toEqual([])
  })

  test('by the close of the socket destroys a stream of Node.js, and later chunks are not sent', async () => {
    const connection = new Connection()
    const source = new Readable({ objectMode: true, read() {} })
    const done = connection.send(source)
    connection.close()
    await expect(done).rejects.toMatchObject({ code: 'ERR_CLOSED' })
    expect(source.destroyed).toBe(true)
    expect(connection.sent).toEqual([])
  })

  test('by the end of the connection, of which the socket is not told yet, sends nothing more', async () => {
    const connection = new Connection(1)
    const source = new Fed()
    const done = connection.send(source)
    connection.isOpen = false
    source.give('abc')
    await expect(done).rejects.toMatchObject({ code: 'ERR_CLOSED' })
    expect(connection.sent).toEqual([])
    await source.stopped.promise
  })

  test('by its signal while the engine takes no fragment withdraws the message', async () => {
    const connection = new Connection()
    connection.ready = false
    const abort = new AbortController()
    const done = connection.send(chunks('abc'), { signal: abort.signal })
    await turns(2)
    abort.abort(new Error('enough'))
    await expect(done).rejects.toThrow('enough')
    expect(connection.calls).toEqual(['begin', 'withdraw'])
  })

  test('by its signal after a fragment fails the connection', async () => {
    const connection = new Connection()
    const abort = new AbortController()
    const source = new Fed()
    const done = connection.send(source, { signal: abort.signal })
    source.give('a')
    await turns(2)
    expect(kinds(connection)).toEqual(['first 1'])
    abort.abort(new Error('enough'))
    await expect(done).rejects.toThrow('enough')
    expect(connection.calls).toEqual(['begin', 'fail'])
    await source.stopped.promise
  })

  test('does not notice a signal that aborts after its end', async () => {
    const connection = new Connection()
    const abort = new AbortController()
    await connection.send(chunks('abc'), { signal: abort.signal })
    abort.abort(new Error('too late'))
    await turns(2)
    expect(connection.calls).toEqual(['begin'])
  })
})

describe('streams of one socket', () => {
  test('take turns in the order of the calls, though a later source is ready first', async () => {
    const connection = new Connection()
    const first = new Fed()
    const all = [connection.send(first), connection.send(chunks('2')), connection.send(chunks())]
    await turns(2)
    expect(connection.sent).toEqual([])
    first.give('1')
    first.finish()
    await Promise.all(all)
    expect(kinds(connection)).toEqual(['first 1', 'last 0', 'first 1', 'last 0', 'first last 0'])
    expect(connection.text).toBe('12')
    expect(connection.calls).toEqual(['begin', 'begin', 'begin'])
  })

  test('that are withdrawn while they wait reject at once, and those behind them still have their turn', async () => {
    const connection = new Connection()
    const first = new Fed()
    const abort = new AbortController()
    const waiting = new Fed()
    const done = connection.send(first)
    const withdrawn = [waiting, chunks('never')].map((source) => connection.send(source, { signal: abort.signal }))
    const last = connection.send(chunks('last'))
    abort.abort(new Error('not this one'))
    for (const each of withdrawn) await expect(each).rejects.toThrow('not this one')
    await waiting.stopped.promise
    // The engine holds messages behind all three until their turns.
    expect(connection.calls).toEqual(['begin', 'begin', 'begin', 'begin'])
    first.finish()
    await Promise.all([done, last])
    expect(connection.calls).toEqual(['begin', 'begin', 'begin', 'begin', 'withdraw', 'withdraw'])
    expect(connection.text).toBe('last')
  })

  test('go on behind one whose source fails before its message has begun', async () => {
    const connection = new Connection()
    const first = new Fed()
    const failing = connection.send(first)
    const next = connection.send(chunks('next'))
    first.throw(new Error('broken'))
    await expect(failing).rejects.toThrow('broken')
    await next
    expect(connection.text).toBe('next')
    expect(connection.calls).toEqual(['begin', 'begin', 'withdraw'])
  })

  test('all reject, and all their sources are stopped, when one fails the connection', async () => {
    const connection = new Connection()
    const sources = [new Fed(), new Fed(), new Fed()] as const
    const all = sources.map((source) => connection.send(source))
    sources[0].give('begun')
    sources[0].give(5)
    await expect(all[0]).rejects.toMatchObject({ code: 'ERR_OPTION' })
    for (const each of all.slice(1)) await expect(each).rejects.toMatchObject({ code: 'ERR_CLOSED' })
    for (const source of sources) await source.stopped.promise
    expect(connection.calls.filter((call) => call === 'fail')).toEqual(['fail'])
  })

  test('that come after the close are refused without a fragment', async () => {
    const connection = new Connection()
    connection.close()
    const source = new Fed()
    await expect(connection.send(source)).rejects.toMatchObject({ code: 'ERR_CLOSED' })
    await source.stopped.promise
    expect(connection.sent).toEqual([])
  })
})
