/** When members ask for the numbers of each other's topics, and tell them; and which. */
import { Buffer } from 'node:buffer'
import { beforeEach, expect, onTestFinished, test, vi } from 'vitest'
import { readHead } from '../../src/backplane/envelope.js'
import { LatestNumbers } from '../../src/backplane/latest-numbers.js'
import { costOf, Outbox } from '../../src/backplane/outbox.js'

const ID = Buffer.alloc(8, 1)

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date', 'performance'] })
  onTestFinished(() => void vi.useRealTimers())
})

function latestNumbers(isAble = () => true) {
  const said: [string, number, number?][] = []
  const begun = Date.now()
  const numbers = new LatestNumbers({
    ask: (within) => said.push(['ask', within]),
    tell: (since, until) => {
      if (isAble()) said.push(['tell', since - begun, until - begun])
      return isAble()
    },
  })
  onTestFinished(() => numbers.close())
  return { numbers, said }
}

test('a member that was down for a while asks at once, and tells its own a moment later', () => {
  const { numbers, said } = latestNumbers()
  numbers.lost(5000)
  expect(said).toEqual([['ask', 65_000]])
  vi.advanceTimersByTime(10_000)
  expect(said.slice(1)).toEqual([['tell', -65_000, 0]])
})

test('all that is asked within a moment has one answer, since the first outage and until the last question', () => {
  const { numbers, said } = latestNumbers()
  for (let n = 0; n < 10; n++) {
    numbers.asked(1000 + n)
    vi.advanceTimersByTime(10)
  }
  vi.advanceTimersByTime(10_000)
  expect(said).toEqual([['tell', -1000, 90]])
})

test('a member that loses something all the time asks and tells twice a second', () => {
  const { numbers, said } = latestNumbers()
  for (let n = 0; n < 1000; n++) {
    numbers.lost(0)
    vi.advanceTimersByTime(10)
  }
  vi.advanceTimersByTime(2000)
  const times = (what: string) => said.filter(([first]) => first === what).length
  expect(times('ask')).toBe(21)
  expect(times('tell')).toBe(21)
  // Nothing that was lost after a question is left out of the next one.
  expect(said.findLast(([what]) => what === 'ask')?.[1]).toBeGreaterThanOrEqual(60_000)
})

test('a member that cannot tell when it is asked tells as soon as it can, as much as was asked for', () => {
  let isUp = true
  const { numbers, said } = latestNumbers(() => isUp)
  numbers.asked(600_000)
  isUp = false
  vi.advanceTimersByTime(10_000)
  expect(said).toEqual([])
  isUp = true
  numbers.asked(1000)
  vi.advanceTimersByTime(10_000)
  expect(said).toEqual([['tell', -600_000, 10_000]])
})

test('a member that is closed tells at once what it was asked, and neither asks nor tells any more', () => {
  const { numbers, said } = latestNumbers()
  numbers.lost(0)
  numbers.lost(0)
  expect(said.map(([what]) => what)).toEqual(['ask'])
  numbers.close()
  expect(said.map(([what]) => what)).toEqual(['ask', 'tell'])
  vi.advanceTimersByTime(10_000)
  expect(said.length).toBe(2)
})

test('the numbers that are told are those of topics that were used in that time, and not since', () => {
  const outbox = new Outbox(ID, 1_000_000)
  const publish = (topic: string) => outbox.add(topic, 'x', true, undefined, 1000)
  publish('old')
  outbox.take(1_000_000)
  vi.advanceTimersByTime(100)
  const since = Date.now()
  publish('used')
  publish('used')
  publish('used again')
  outbox.take(1_000_000)
  outbox.skip('used')
  // It is new, and has no number that others could know.
  outbox.skip('new')
  const until = Date.now()
  vi.advanceTimersByTime(100)
  publish('used again')
  // The link's own messages are not asked for.
  publish('')
  outbox.take(1_000_000)
  outbox.tellNumbers(since, until)
  const told = outbox.take(1_000_000)
  expect(told.map(({ topic, sequence, messages }) => [topic, sequence, messages])).toEqual([['used', 4, 0]])
  expect(told.map(({ data }) => readHead(Buffer.from(data)))).toMatchObject([
    { sequence: 4, messages: 0, isRestart: false, isControl: false },
  ])
  expect(outbox.bytes).toBe(0)
  // The next message goes on with it.
  publish('used')
  expect(outbox.take(1_000_000)).toMatchObject([{ topic: 'used', sequence: 4, messages: 1 }])
})

test('a number that was told is told again to those who ask for that time, and to no others', () => {
  const outbox = new Outbox(ID, 1_000_000)
  outbox.add('t', 'x', true, undefined, 1000)
  outbox.take(1_000_000)
  const toldSince = (since: number) => {
    outbox.tellNumbers(since, Date.now())
    return outbox.take(1_000_000).map(({ topic, sequence }) => [topic, sequence])
  }
  vi.advanceTimersByTime(60_000)
  expect(toldSince(Date.now() - 60_000)).toEqual([['t', 2]])
  vi.advanceTimersByTime(1000)
  expect(toldSince(Date.now() - 60_000)).toEqual([])
  expect(toldSince(Date.now() - 61_000)).toEqual([['t', 2]])
})

test('a message that is published before the numbers have left goes with them', () => {
  const outbox = new Outbox(ID, 1_000_000)
  outbox.add('a', 'x', true, undefined, 1000)
  outbox.take(1_000_000)
  outbox.tellNumbers(0, Date.now())
  outbox.add('a', 'y', true, undefined, 1000)
  expect(outbox.take(1_000_000)).toMatchObject([{ topic: 'a', sequence: 2, messages: 1 }])
})

test('of more topics than can be told the latest are', () => {
  const outbox = new Outbox(ID, 100_000_000)
  const use = (from: number, to: number) => {
    for (let n = from; n < to; n++) outbox.add(`t${n}`, 'x', true, undefined, 1000)
    outbox.take(100_000_000)
    vi.advanceTimersByTime(100)
  }
  use(0, 12_000)
  use(12_000, 20_000)
  use(0, 1000)
  outbox.tellNumbers(0, Date.now())
  const told = new Set(outbox.take(100_000_000).map(({ topic }) => topic))
  expect(told.size).toBe(10_000)
  for (let n = 0; n < 1000; n++) expect(told.has(`t${n}`)).toBe(true)
  for (let n = 12_000; n < 20_000; n++) expect(told.has(`t${n}`)).toBe(true)
})

test('where there is little room, the numbers of the topics that were used last are told', () => {
  const outbox = new Outbox(ID, 65_536)
  for (let n = 0; n < 1000; n++) {
    outbox.add(`t${n}`, 'x', true, undefined, 1000)
    outbox.take(65_536)
    vi.advanceTimersByTime(1)
  }
  outbox.skip('t0')
  outbox.tellNumbers(0, Date.now())
  const told = outbox.take(65_536).map(({ topic }) => topic)
  expect(told.slice(0, 3)).toEqual(['t0', 't999', 't998'])
})

test('no message is dropped for numbers, however many topics there are', () => {
  const limit = 100_000
  const outbox = new Outbox(ID, limit)
  for (let n = 0; n < 1000; n++) {
    outbox.add(`t${n}`, 'x', true, undefined, 1000)
    outbox.take(limit)
  }
  outbox.add('waits', 'x'.repeat(40_000), true, undefined, 50_000)
  outbox.tellNumbers(0, Date.now())
  expect(outbox.bytes).toBeLessThanOrEqual(limit / 2 + costOf('t999', 49))
  expect(outbox.dropped).toBe(0)
  const told = outbox.take(limit).slice(1)
  expect(told.length).toBeGreaterThan(10)
  expect(new Set(told.map(({ topic }) => topic)).size).toBe(told.length)
})

test('numbers for which there is no room follow when there is, each once', () => {
  const limit = 65_536
  const outbox = new Outbox(ID, limit)
  for (let n = 0; n < 1000; n++) {
    outbox.add(`t${n}`, 'x', true, undefined, 1000)
    outbox.take(limit)
  }
  outbox.tellNumbers(0, Date.now())
  const told: string[] = []
  while (!outbox.isEmpty) {
    expect(outbox.bytes).toBeLessThanOrEqual(limit / 2 + costOf('t999', 49))
    told.push(...outbox.take(10_000).map(({ topic }) => topic))
  }
  expect(told).toEqual(Array.from({ length: 1000 }, (_, n) => `t${n}`))
})
