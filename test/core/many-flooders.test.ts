/**
 * A turn of the event loop is bounded, however many clients flood at once, and over TLS: another client's
 * request is answered before more than a few shares of each flooder are.
 */

import { execFileSync } from 'node:child_process'
import process from 'node:process'
import { expect, test } from 'vitest'
import { describeEngines } from '../support/engines.js'
import { chunked, counting, EVENTS, empty, GET, openFlooder, REQUESTS, repeated, TURNS, WITNESS } from '../support/floods.js'
import { OPCODE, RawClient } from '../support/raw-client.js'

/** Bytes that are read from one connection in a pass; a turn of the native engine has two passes. */
const READ = 2 ** 16
const PASSES = 2
const MANY = 1000

/** Why there cannot be so many clients here: both ends of each are in this process. */
const descriptors =
  process.platform === 'win32' ? 'unlimited' : execFileSync('sh', ['-c', 'ulimit -n'], { encoding: 'utf8' }).trim()
const obstacle = Number(descriptors) < 2 * MANY + 200 ? ` (skipped: no more than ${descriptors} descriptors)` : ''

describeEngines('another client is answered in the middle of', (engine) => {
  interface Flood {
    readonly name: string
    readonly clients: number
    readonly opens?: boolean
    readonly secure?: boolean
    readonly bytes: Buffer
    /** So many of what is counted come of each client. */
    readonly each: number
    /** So many of all may have come when the witness is answered. */
    readonly atMost: number
  }

  const chunk = '1\r\nx\r\n'
  // The portable engine takes longer for each, and lets less come before the witness.
  const [chunks, reads] = engine === 'native' ? [100_000, TURNS * PASSES] : [5000, 1 / 4]
  const fragment = empty(OPCODE.CONTINUATION, false)
  const [fragments, message] = [50_000, empty(OPCODE.BINARY)]
  const floods: readonly Flood[] = [
    {
      name: 'messages in empty fragments, from 60 clients',
      clients: 60,
      opens: true,
      bytes: Buffer.concat([empty(OPCODE.TEXT, false), repeated(fragment, fragments), empty(OPCODE.CONTINUATION)]),
      each: 1,
      // A message takes more turns than may pass.
      atMost: 0,
    },
    {
      name: 'chunks of one byte, from 60 clients',
      clients: 60,
      bytes: Buffer.from(chunked(`${chunk.repeat(chunks)}0\r\n\r\n`)),
      each: chunks,
      atMost: 60 * reads * (READ / chunk.length),
    },
    {
      name: 'pipelined GETs over TLS',
      clients: 1,
      secure: true,
      bytes: repeated(GET, 1000),
      each: 1000,
      atMost: TURNS * REQUESTS,
    },
    {
      name: 'pipelined GETs over TLS, from 60 clients',
      clients: 60,
      secure: true,
      bytes: repeated(GET, 70),
      each: 70,
      atMost: 60 * TURNS * REQUESTS,
    },
    {
      name: 'empty messages over TLS',
      clients: 1,
      opens: true,
      secure: true,
      bytes: repeated(message, 40_000),
      each: 40_000,
      atMost: TURNS * EVENTS,
    },
    {
      name: 'empty messages over TLS, from 60 clients',
      clients: 60,
      opens: true,
      secure: true,
      bytes: repeated(message, 5000),
      each: 5000,
      atMost: 60 * TURNS * EVENTS,
    },
  ]

  const flood = async ({ clients, opens, secure, bytes, each, atMost }: Flood) => {
    const served = await counting(engine, secure ? { tls: true } : {})
    const witness = await RawClient.connect(served)
    const flooders: RawClient[] = []
    while (flooders.length < clients) {
      const more = Math.min(50, clients - flooders.length)
      flooders.push(...(await Promise.all(Array.from({ length: more }, () => openFlooder(served, opens)))))
    }
    for (const flooder of flooders) flooder.write(bytes)
    witness.write(WITNESS)
    const answer = await witness.response()
    expect(answer.status).toBe(200)
    expect(Number(answer.body)).toBeLessThanOrEqual(atMost)
    expect(atMost).toBeLessThan(clients * each)
    await served.until(clients * each)
    expect(served.seen.count).toBe(clients * each)
  }

  test.each(floods)('$name', flood)

  test.runIf(obstacle === '')(`empty messages, from ${MANY} clients${obstacle}`, async () => {
    // Each has one share before the first has another.
    const atMost = MANY * EVENTS + TURNS * PASSES * 16_384
    await flood({ name: 'many', clients: MANY, opens: true, bytes: repeated(message, 600), each: 600, atMost })
  })
})
