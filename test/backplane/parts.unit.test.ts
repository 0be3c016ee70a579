/** The parts of the link: envelopes, what waits, numbers, interest, complaints. */
import { Buffer } from 'node:buffer'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { Complaints } from '../../src/backplane/complaints.js'
import {
  type EnvelopeHead,
  EnvelopeWriter,
  encodedLength,
  HEAD_BYTES,
  isWhole,
  readHead,
  readMessages,
  splitEnvelope,
} from '../../src/backplane/envelope.js'
import { Interest } from '../../src/backplane/interest.js'
import { costOf, Outbox } from '../../src/backplane/outbox.js'
import { AGE_INTERVAL, Sequences } from '../../src/backplane/sequences.js'

const ID = Buffer.from('0123456789abcdef', 'hex')

type Message = [payload: string | Uint8Array, isText: boolean, compress: boolean | undefined]

function envelopeOf(...messages: Message[]): Buffer {
  const [first = ['', true, undefined]] = messages as [Message?]
  const writer = new EnvelopeWriter('t', ID, { sequence: 7, isRestart: false, numbering: 63 }, encodedLength(first[0]))
  for (const [payload, isText, compress] of messages) writer.add(payload, encodedLength(payload), isText, compress, 1000)
  return Buffer.from(writer.data)
}

function read(data: Buffer, skipped = 0): Message[] {
  const head = readHead(data)
  if (typeof head !== 'object' || !isWhole(data, head.messages)) throw new Error('no whole envelope')
  const messages: Message[] = []
  readMessages(data, head.messages, skipped, (...message) => messages.push(message))
  return messages
}

describe('an envelope', () => {
  const messages: Message[] = [
    ['text: é', true, undefined],
    ['', true, true],
    [Buffer.from([0, 255]), false, false],
    [Buffer.from('text as bytes'), true, undefined],
    ['x'.repeat(100_000), true, undefined],
  ]

  test('brings every message as it was, text as bytes of UTF-8', () => {
    const bytes = messages.map(([payload, ...rest]) => [Buffer.from(payload), ...rest])
    expect(read(envelopeOf(...messages))).toEqual(bytes)
    expect(read(envelopeOf(...messages), 3)).toEqual(bytes.slice(3))
  })

  test('says who has sent it, when, and with which number', () => {
    const before = Date.now()
    const head = readHead(envelopeOf(...messages))
    expect(head).toMatchObject({
      origin: '0123456789abcdef',
      sequence: 7,
      messages: 5,
      isControl: false,
      isRestart: false,
      numbering: 63,
    })
    expect(typeof head === 'object' && head.time).toBeGreaterThanOrEqual(before)
  })

  test('is split into envelopes of a length, with the same messages and numbers', () => {
    const texts = Array.from({ length: 50 }, (_, n) => `${n}`.padEnd(n === 20 ? 500 : n))
    const writer = new EnvelopeWriter('t', ID, { sequence: 7, isRestart: true, numbering: 63 }, 0)
    for (const text of texts) writer.add(text, text.length, true, undefined, 1000)
    const whole = { topic: 't', sequence: 7, messages: 50, data: writer.data }
    expect(splitEnvelope(whole, whole.data.length)).toEqual([whole])
    const parts = splitEnvelope(whole, 300)
    const found: string[] = []
    for (const [index, part] of parts.entries()) {
      const head = readHead(Buffer.from(part.data))
      // The numbers begin with the first alone: what is missing before another one counts.
      expect(head).toMatchObject({ sequence: 7 + found.length, messages: part.messages, isRestart: index === 0, numbering: 63 })
      expect(part).toMatchObject({ topic: 't', sequence: 7 + found.length })
      const messages = read(Buffer.from(part.data))
      // One that is longer by itself is alone.
      if (part.data.length > 300) expect(messages.length).toBe(1)
      found.push(...messages.map(([payload]) => String(payload)))
    }
    expect(found).toEqual(texts)
    expect(parts.filter(({ data }) => data.length > 300).length).toBe(1)
    const foreign = { topic: 't', sequence: 1, messages: 5, data: Buffer.alloc(500) }
    expect(splitEnvelope(foreign, 300)).toEqual([foreign])
  })

  test('of another version gives its number, and what is none gives nothing', () => {
    const other = envelopeOf(...messages)
    other[2] = 9
    expect(readHead(other)).toBe(9)
    expect(readHead(Buffer.from('{"hello":"world, this is longer than the head of an envelope"}'))).toBeUndefined()
    expect(readHead(Buffer.alloc(0))).toBeUndefined()
  })

  test('that was cut, lengthened, or lies about a length is not whole', () => {
    const whole = envelopeOf(...messages)
    for (let length = HEAD_BYTES; length < 90; length++) expect(isWhole(whole.subarray(0, length), 5)).toBe(false)
    expect(isWhole(Buffer.concat([whole, Buffer.alloc(1)]), 5)).toBe(false)
    expect(isWhole(whole, 0xffffffff)).toBe(false)
    whole.writeUInt32BE(0xffffffff, HEAD_BYTES + 1)
    expect(isWhole(whole, 5)).toBe(false)
  })
})

describe('what waits', () => {
  test('has one envelope for each topic and turn, numbered without a gap', () => {
    const outbox = new Outbox(ID, 1_000_000)
    for (const topic of ['a', 'b', 'a']) outbox.add(topic, 'x', true, undefined, 1000)
    const shape = () => outbox.take(1_000_000).map(({ topic, sequence, messages }) => [topic, sequence, messages])
    expect(shape()).toEqual([
      ['a', 1, 2],
      ['b', 1, 1],
    ])
    outbox.add('a', 'x', true, undefined, 1000)
    expect(shape()).toEqual([['a', 3, 1]])
    expect(outbox.isEmpty).toBe(true)
    expect(outbox.bytes).toBe(0)
  })

  test('refuses a message that is larger than an envelope may be, and numbers go on', () => {
    const outbox = new Outbox(ID, 1_000_000)
    expect(outbox.add('a', 'x'.repeat(1000), true, undefined, 1000)).toBe(false)
    outbox.add('a', 'x'.repeat(900), true, undefined, 1000)
    outbox.add('a', 'x'.repeat(900), true, undefined, 1000)
    const taken = outbox.take(1_000_000)
    expect(taken.map(({ sequence }) => sequence)).toEqual([1, 2])
    for (const { data } of taken) expect(data.length).toBeLessThanOrEqual(1000)
  })

  test('loses the oldest beyond the limit, and counts them', () => {
    const outbox = new Outbox(ID, 200_000)
    for (let n = 1; n <= 100; n++) outbox.add('a', Buffer.alloc(10_000, n), false, undefined, 1_000_000)
    expect(outbox.bytes).toBeLessThanOrEqual(200_000)
    const taken = outbox.take(1_000_000)
    const first = taken[0]?.sequence ?? 0
    expect(outbox.dropped).toBe(first - 1)
    expect(taken.reduce((sum, { messages }) => sum + messages, 0)).toBe(101 - first)
    expect(outbox.dropped).toBeGreaterThan(50)
  })

  test('has the memory of each envelope in its limit, and that of the topic', () => {
    const limit = 1_000_000
    const outbox = new Outbox(ID, limit)
    for (let n = 0; n < 10_000; n++) outbox.add(`t${n}`, 'x', true, undefined, 1000)
    expect(outbox.bytes).toBeLessThanOrEqual(limit)
    const kept = 10_000 - outbox.dropped
    // At least what they were measured to have of the heap.
    expect(kept * (217 + HEAD_BYTES)).toBeLessThan(limit)
    expect(kept).toBeGreaterThan(2000)
    expect(outbox.take(limit + 1).length).toBe(kept)
    expect(outbox.bytes).toBe(0)
    for (let n = 0; n < 100; n++) outbox.add(`t${n}`.padEnd(50_000), 'x', true, undefined, 1000)
    expect(outbox.dropped).toBe(10_000 - kept + 81)
  })

  test('keeps texts as they are, however much room their characters take, up to the last byte of an envelope', () => {
    const texts = ['plain', 'é'.repeat(40), '€'.repeat(40), '\u{1F600}'.repeat(40), '\ud800', '', 'x'.repeat(300)]
    for (const most of [500, 700, 1000, 100_000]) {
      const outbox = new Outbox(ID, 1_000_000)
      const expected: string[] = []
      for (let n = 0; n < 200; n++) {
        const text = texts[n % texts.length] ?? ''
        expect(outbox.add('a', text, true, undefined, most)).toBe(true)
        expected.push(Buffer.from(text).toString())
      }
      const envelopes = outbox.take(1_000_000)
      for (const { data } of envelopes) expect(data.length).toBeLessThanOrEqual(most)
      const got = envelopes.flatMap(({ data }) => read(Buffer.from(data)).map(([payload]) => payload.toString()))
      expect(got).toEqual(expected)
      expect(outbox.bytes).toBe(0)
    }
  })

  test('has room at once where a topic had several messages the last time, and memory is not short', () => {
    const limit = 400_000
    const outbox = new Outbox(ID, limit)
    const room = (topic: string) => {
      const before = outbox.bytes
      outbox.add(topic, 'x', true, undefined, 1_000_000)
      return outbox.bytes - before - costOf(topic, 0)
    }
    for (let n = 0; n < 100; n++) outbox.add('a', 'x'.repeat(100), true, undefined, 1_000_000)
    outbox.add('b', 'x'.repeat(10_000), true, undefined, 1_000_000)
    outbox.take(limit)
    expect(room('a')).toBeGreaterThan(100 * 100)
    expect(room('b')).toBeLessThan(100)
    outbox.take(limit)
    // Not more than an envelope gets.
    const full = 0.125 * limit
    for (let n = 0; n < 460; n++) outbox.add('d', 'x'.repeat(100), true, undefined, 1_000_000)
    outbox.take(limit)
    expect(room('d')).toBeGreaterThan(0.9 * full)
    expect(room('d')).toBeLessThan(full)
    outbox.take(limit)
    for (let n = 0; n < 100; n++) outbox.add('a', 'x'.repeat(100), true, undefined, 1_000_000)
    outbox.take(limit)
    outbox.add('c', 'x'.repeat(limit / 2), true, undefined, 1_000_000)
    expect(room('a')).toBeLessThan(100)
  })

  test('drops nothing for the room of topics that were busy before', () => {
    const limit = 16 * 1024 * 1024
    const outbox = new Outbox(ID, limit)
    const topics = Array.from({ length: 200 }, (_, n) => `busy ${n}`)
    for (const topic of topics) {
      for (let n = 0; n < 100; n++) outbox.add(topic, 'x'.repeat(600), true, undefined, 1_000_000)
      outbox.take(Number.POSITIVE_INFINITY)
    }
    for (const topic of topics) outbox.add(topic, 'x', true, undefined, 1_000_000)
    for (let n = 0; n < 100; n++) outbox.add('large', 'x'.repeat(limit / 200), true, undefined, 1_000_000)
    expect(outbox.dropped).toBe(0)
  })

  test('keeps no room that an envelope has not needed, once it is taken', () => {
    const outbox = new Outbox(ID, 16 * 1024 * 1024)
    for (let n = 0; n < 1000; n++) outbox.add('a', 'x'.repeat(60), true, undefined, 1_000_000)
    outbox.take(Number.POSITIVE_INFINITY)
    outbox.add('a', 'x', true, undefined, 1_000_000)
    const [envelope] = outbox.take(Number.POSITIVE_INFINITY)
    // Small Buffers share the memory of a pool.
    expect(envelope?.data.buffer.byteLength).toBeLessThanOrEqual(Buffer.poolSize)
    expect(read(Buffer.from(envelope?.data ?? [])).map(([payload]) => payload.toString())).toEqual(['x'])
  })

  test('counts none of the messages of the link itself as lost', () => {
    const outbox = new Outbox(ID, 200_000)
    outbox.add('', 'hello', true, undefined, 1_000_000)
    for (let n = 1; n <= 100; n++) outbox.add('a', Buffer.alloc(10_000, n), false, undefined, 1_000_000)
    const first = outbox.take(1_000_000)[0]?.sequence ?? 0
    expect(outbox.dropped).toBe(first - 1)
  })

  test('takes back what was not sent, before all that is newer, within the same limit', () => {
    const outbox = new Outbox(ID, 100_000)
    const add = (n: number) => outbox.add('a', Buffer.alloc(30_000, n), false, undefined, 40_000)
    add(1)
    add(2)
    const [first, second] = [outbox.take(1), outbox.take(1)]
    add(3)
    outbox.giveBack(first)
    outbox.giveBack(second)
    expect(outbox.take(1_000_000).map(({ sequence }) => sequence)).toEqual([1, 2, 3])
    add(4)
    add(5)
    const taken = outbox.take(1_000_000)
    add(6)
    add(7)
    outbox.giveBack(taken)
    expect(outbox.take(1_000_000).map(({ sequence }) => sequence)).toEqual([5, 6, 7])
    expect(outbox.dropped).toBe(1)
    add(8)
    expect(outbox.clear()).toBe(1)
    expect(outbox.bytes).toBe(0)
  })

  test('takes back what was taken again, before what was not, and loses the oldest of both', () => {
    const outbox = new Outbox(ID, 100_000)
    for (let n = 0; n < 8; n++) {
      outbox.add('a', Buffer.alloc(10_000, n), false, undefined, 11_000)
    }
    outbox.giveBack(outbox.take(1_000_000))
    const [first, second] = [outbox.take(1_000_000, 2), outbox.take(1_000_000, 3)]
    expect([first.length, second.length]).toEqual([2, 3])
    outbox.giveBack(first)
    outbox.giveBack(second)
    const sequences = (most: number) => outbox.take(1_000_000, most).map(({ sequence }) => sequence)
    expect(sequences(4)).toEqual([1, 2, 3, 4])
    const rest = outbox.take(1_000_000, 2)
    outbox.giveBack(rest)
    for (let n = 8; n < 16; n++) outbox.add('a', Buffer.alloc(10_000, n), false, undefined, 11_000)
    expect(outbox.dropped).toBe(3)
    expect(sequences(100)).toEqual([8, 9, 10, 11, 12, 13, 14, 15, 16])
    expect([outbox.isEmpty, outbox.bytes]).toEqual([true, 0])
  })

  test('takes back 200,000 envelopes, and loses the oldest beyond the limit', () => {
    const data = new Uint8Array(40)
    const limit = 100_000 * costOf('t', data.length)
    const outbox = new Outbox(ID, limit)
    outbox.giveBack(Array.from({ length: 200_000 }, (_, n) => ({ topic: 't', sequence: n + 1, messages: 1, data })))
    expect(outbox.dropped).toBe(100_000)
    expect(outbox.bytes).toBe(limit)
    expect(outbox.take(1)[0]?.sequence).toBe(100_001)
    expect(outbox.take(limit).length).toBe(99_999)
    expect(outbox.isEmpty).toBe(true)
  })

  test('takes the numbers of what is dropped outside of it, where others can miss it', () => {
    const outbox = new Outbox(ID, 2 ** 30)
    const add = () => outbox.add('t', 'x', true, undefined, 1000)
    outbox.skip('t')
    add()
    outbox.skip('t')
    outbox.skip('t')
    add()
    const [one, two] = outbox.take(1000)
    // Nothing of the topic was known when its first message was dropped.
    expect([one?.sequence, two?.sequence]).toEqual([1, 4])
  })

  test('begins anew above all numbers before, where a topic was forgotten', () => {
    const outbox = new Outbox(ID, 2 ** 30)
    const sequences = new Sequences()
    const send = (topic: string) => {
      outbox.add(topic, 'x', true, undefined, 1000)
      return outbox.take(1)
    }
    const arrive = ([envelope]: ReturnType<Outbox['take']>) => {
      const data = Buffer.from(envelope?.data ?? [])
      const head = readHead(data)
      if (typeof head !== 'object') throw new Error('no envelope')
      return sequences.arrived('quiet', head)
    }
    for (let n = 0; n < 3; n++) arrive(send('quiet'))
    for (let n = 0; n < 140_000; n++) send(`t${n}`)
    const again = send('quiet')
    expect(again[0]?.sequence).toBeGreaterThanOrEqual(4)
    expect(arrive(again)).toEqual({ repeated: 0, missing: 0 })
    expect(arrive(again)).toEqual({ repeated: 1, missing: 0 })
  })

  test('says that it is not known how many are missing, where the first one of a forgotten topic is', () => {
    const outbox = new Outbox(ID, 2 ** 30)
    const sequences = new Sequences()
    const send = (topic: string) => {
      outbox.add(topic, 'x', true, undefined, 1000)
      const [envelope] = outbox.take(1)
      const head = readHead(Buffer.from(envelope?.data ?? []))
      if (typeof head !== 'object') throw new Error('no envelope')
      return head
    }
    const forget = () => {
      for (let n = 0; n < 140_000; n++) send(`t${n}`)
    }
    const arrive = (head: EnvelopeHead) => sequences.arrived('quiet', head)
    expect(arrive(send('quiet'))).toEqual({ repeated: 0, missing: 0 })
    for (let n = 0; n < 2; n++) {
      forget()
      // It is lost.
      expect(send('quiet').isRestart).toBe(true)
      expect(arrive(send('quiet'))).toEqual({ repeated: 0, missing: undefined })
      // From there on it is known.
      send('quiet')
      expect(arrive(send('quiet'))).toEqual({ repeated: 0, missing: 1 })
    }
    forget()
    // The same where it was dropped before it had a number.
    outbox.skip('quiet')
    expect(arrive(send('quiet'))).toEqual({ repeated: 0, missing: undefined })
  })
})

test('numbers tell repetitions and gaps, of each topic and publisher', () => {
  const sequences = new Sequences()
  const arrived = (topic: string, origin: string, sequence: number, messages = 1, isRestart = false) =>
    Object.values(sequences.arrived(topic, { origin, sequence, messages, isRestart, numbering: 0 }))
  // What came before the first is not missing: it was not wanted.
  expect(arrived('t', 'a', 10, 5)).toEqual([0, 0])
  expect(arrived('t', 'a', 15)).toEqual([0, 0])
  expect(arrived('t', 'b', 3)).toEqual([0, 0])
  expect(arrived('u', 'a', 1)).toEqual([0, 0])
  expect(arrived('t', 'a', 15)).toEqual([1, 0])
  expect(arrived('t', 'a', 14, 4)).toEqual([2, 0])
  expect(arrived('t', 'a', 20)).toEqual([0, 2])
  expect(arrived('t', 'a', 50, 2, true)).toEqual([0, 0])
  expect(arrived('t', 'a', 52)).toEqual([0, 0])
  expect(arrived('t', 'a', 1, 3)).toEqual([3, 0])
  sequences.forget('t')
  expect(arrived('t', 'a', 90)).toEqual([0, 0])
})

test('a message that comes once more is left out, also where its topic was given up and is wanted again', () => {
  const sequences = new Sequences()
  const arrived = (topic: string, origin: string, sequence: number, messages = 1) =>
    Object.values(sequences.arrived(topic, { origin, sequence, messages, isRestart: false, numbering: 0 }))
  for (const origin of ['a', 'b']) arrived('t', origin, 10)
  sequences.forget('t')
  expect(arrived('t', 'a', 9, 3)).toEqual([2, 0])
  expect(arrived('t', 'a', 12)).toEqual([0, 0])
  sequences.forget('t')
  for (let n = 0; n < 30_000; n++) {
    arrived(`${n}`, 'a', 1)
    sequences.forget(`${n}`)
  }
  expect(arrived('t', 'b', 10)).toEqual([1, 0])
  expect(arrived('t', 'a', 12)).toEqual([1, 0])
  sequences.forget('t')
  // What came while nobody wanted it is not missing.
  expect(arrived('t', 'b', 20)).toEqual([0, 0])
})

describe('what is kept of publishers', () => {
  /** Messages of a publisher on topics of its own, and on one that all have. */
  const publish = (sequences: Sequences, origin: string, topics: number) => {
    for (let n = 0; n < topics; n++) come(sequences, n === 0 ? 'all' : `${origin} ${n}`, origin, 1)
  }
  const come = (sequences: Sequences, topic: string, origin: string, sequence: number) =>
    sequences.arrived(topic, { origin, sequence, messages: 1, isRestart: false, numbering: 0 })
  /** As for so many minutes, in which one publisher says hello. */
  const pass = (sequences: Sequences, minutes: number, alive: string) => {
    for (let n = 0; n < (minutes * 60_000) / AGE_INTERVAL; n++) {
      sequences.heard(alive)
      sequences.age()
    }
  }

  test('is given back when thousands have come and gone, and not of one that is alive', () => {
    const sequences = new Sequences()
    publish(sequences, 'alive', 100)
    for (let n = 0; n < 5000; n++) publish(sequences, `${n}`, 10)
    expect([sequences.publishers, sequences.size]).toEqual([5001, 50_100])
    pass(sequences, 4, 'alive')
    expect(come(sequences, 'all', '7', 5)).toEqual({ repeated: 0, missing: 3 })
    pass(sequences, 2, 'alive')
    expect([sequences.publishers, sequences.size]).toEqual([2, 110])
    pass(sequences, 4, 'alive')
    expect([sequences.publishers, sequences.size]).toEqual([1, 100])
    expect(come(sequences, 'all', 'alive', 4)).toEqual({ repeated: 0, missing: 2 })
    // One that was taken for gone is counted from here on.
    expect(come(sequences, 'all', '7', 9)).toEqual({ repeated: 0, missing: 0 })
    expect(come(sequences, 'all', '7', 11)).toEqual({ repeated: 0, missing: 1 })
  })

  test('has a limit, beyond which those that are silent are forgotten first', () => {
    const sequences = new Sequences(5000)
    publish(sequences, 'alive', 100)
    for (let n = 0; n < 4; n++) publish(sequences, `silent ${n}`, 1000)
    pass(sequences, 1, 'alive')
    for (let n = 0; n < 2; n++) publish(sequences, `new ${n}`, 1000)
    expect(sequences.size).toBeLessThanOrEqual(5000)
    expect(come(sequences, 'all', 'alive', 3)).toEqual({ repeated: 0, missing: 1 })
    for (let n = 0; n < 20; n++) publish(sequences, `also new ${n}`, 1000)
    expect(sequences.size).toBeGreaterThanOrEqual(2500)
    expect(sequences.size).toBeLessThanOrEqual(5000)
  })

  test('goes with the topic', () => {
    const sequences = new Sequences()
    for (let n = 0; n < 100; n++) publish(sequences, `${n}`, 2)
    sequences.forget('all')
    expect(sequences.size).toBe(100)
    pass(sequences, 6, '5')
    expect(sequences.size).toBe(1)
  })
})

describe('interest', () => {
  test('is told by its changes, and not where nothing has changed', () => {
    let changes = 0
    const interest = new Interest(0, ['always'], () => changes++)
    interest.add('a')
    interest.add('b')
    interest.remove('b')
    expect(interest.take()).toEqual({ added: ['a'], removed: [] })
    interest.remove('a')
    interest.add('a')
    expect(interest.take()).toEqual({ added: [], removed: [] })
    interest.remove('a')
    expect(interest.take()).toEqual({ added: [], removed: ['a'] })
    expect([...interest.topics]).toEqual(['always'])
    expect(changes).toBeGreaterThan(0)
  })

  test('keeps 100,000 topics', () => {
    const interest = new Interest(60_000, [], () => {})
    for (let n = 0; n < 100_000; n++) interest.add(`topic ${n}`)
    expect(interest.take().added.length).toBe(100_000)
    for (let n = 0; n < 100_000; n++) interest.remove(`topic ${n}`)
    for (let n = 0; n < 100_000; n++) interest.add(`topic ${n}`)
    expect(interest.take()).toEqual({ added: [], removed: [] })
    expect(interest.topics.size).toBe(100_000)
    interest.close()
  })

  test('lasts a while after the last subscriber', () => {
    vi.useFakeTimers()
    try {
      const interest = new Interest(1000, [], () => {})
      interest.add('a')
      interest.add('b')
      interest.take()
      interest.remove('a')
      vi.advanceTimersByTime(500)
      interest.remove('b')
      interest.remove('a')
      interest.add('b')
      interest.remove('b')
      vi.advanceTimersByTime(999)
      expect(interest.take()).toEqual({ added: [], removed: [] })
      expect(interest.has('a')).toBe(true)
      vi.advanceTimersByTime(1)
      expect(interest.take()).toEqual({ added: [], removed: ['a', 'b'] })
      expect(interest.has('a')).toBe(false)
      interest.close()
    } finally {
      vi.useRealTimers()
    }
  })
})

describe('complaints', () => {
  function complaints() {
    vi.useFakeTimers()
    onTestFinished(() => void vi.useRealTimers())
    const told: string[] = []
    const make = (count: number, isMore: boolean) => new Error(`${count}${isMore ? ' more' : ''}`)
    return { all: new Complaints(({ message }) => told.push(message)), told, make }
  }

  test('of a state are told when it begins and when it has ended, with their number', () => {
    const { all, told, make } = complaints()
    for (let n = 0; n < 100; n++) {
      all.addByState('slow', 2, make)
      vi.advanceTimersByTime(100)
    }
    expect(told).toEqual(['2'])
    vi.advanceTimersByTime(1000)
    expect(told).toEqual(['2', '198 more'])
    all.addByState('slow', 1, make)
    vi.advanceTimersByTime(10_000)
    // There was one event.
    expect(told).toEqual(['2', '198 more', '1'])
    all.addByState('slow', 1, make)
    all.addByState('slow', 4, make)
    all.close()
    expect(told.slice(3)).toEqual(['1', '4 more'])
  })

  test('of other kinds are told once a second at most, with their number', () => {
    const { all, told, make } = complaints()
    for (let n = 0; n < 25; n++) {
      all.add('foreign', 1, make)
      vi.advanceTimersByTime(100)
    }
    vi.advanceTimersByTime(2000)
    expect(told).toEqual(['1', '9 more', '10 more', '5 more'])
  })
})
