/** How many inflations of the portable engine are under way at once. */
import { createInflateRaw, deflateRawSync } from 'node:zlib'
import { afterEach, expect, test, vi } from 'vitest'
import { Inflater } from '../../../src/engine/portable/inflate.js'
import { within } from '../../support/waiting.js'

/** What Node's streams of zlib call: `write` has the thread pool inflate, `cb` follows when that is done. */
interface Handle {
  cb: () => void
  write(...given: unknown[]): unknown
}

/** As in src/engine/portable/inflate.ts. */
const MAX_AT_ONCE = 10

afterEach(() => {
  vi.restoreAllMocks()
})

/** The handles that the thread pool works for, from now on, and how many of them there were at once. */
function watchThreadPool() {
  const sample = createInflateRaw()
  // Private to Node, and the only place that tells when the thread pool has ended its work.
  const prototype: Handle = Object.getPrototypeOf((sample as unknown as { _handle: Handle })._handle)
  sample.close()
  const seen = { working: new Set<Handle>(), most: 0 }
  const { write } = prototype
  vi.spyOn(prototype, 'write').mockImplementation(function (this: Handle, ...given) {
    if (!seen.working.has(this)) {
      const done = this.cb
      this.cb = () => {
        seen.working.delete(this)
        done()
      }
    }
    seen.working.add(this)
    seen.most = Math.max(seen.most, seen.working.size)
    return write.apply(this, given)
  })
  return seen
}

const LENGTH = 1024 * 1024
const message = deflateRawSync(Buffer.alloc(LENGTH))

/** Resolves with the number of bytes that the message has inflated to. */
function inflate(): Promise<number> {
  return new Promise((resolve, reject) => {
    let length = 0
    const inflater = new Inflater({ windowBits: 15, takeover: false }, (bytes) => {
      length += bytes.length
    })
    inflater.inflate(message, true, (error) => (error === undefined ? resolve(length) : reject(error)))
  })
}

test('inflations of clients that have left count until the thread pool has done with them', async () => {
  const pool = watchThreadPool()
  const calledBack = vi.fn()
  for (let n = 0; n < 5 * MAX_AT_ONCE; n++) {
    const inflater = new Inflater({ windowBits: 15, takeover: false }, calledBack)
    inflater.inflate(message, true, calledBack)
    inflater.close()
  }
  expect(pool.most).toBe(MAX_AT_ONCE)
  // Their places are free again: as many as may inflate at once, and one more, all end.
  const lengths = await within(Promise.all(Array.from({ length: MAX_AT_ONCE + 1 }, inflate)), 'inflations')
  expect(new Set(lengths)).toEqual(new Set([LENGTH]))
  expect(calledBack).not.toHaveBeenCalled()
})
