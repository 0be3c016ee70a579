// Random values that a seed repeats, and arguments that no sane caller would give.
import { Buffer } from 'node:buffer'

/** mulberry32: small, and good enough to choose what to do next. */
export class Random {
  #state

  constructor(seed) {
    this.#state = seed >>> 0
  }

  /** From 0 up to 1. */
  next() {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let t = this.#state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }

  /** An integer from 0 to `end` - 1. */
  int(end) {
    return Math.floor(this.next() * end)
  }

  chance(probability) {
    return this.next() < probability
  }

  pick(list) {
    return list[this.int(list.length)]
  }

  /** Mostly short, sometimes around the sizes at which the code takes another way, seldom long. */
  length() {
    if (this.chance(0.85)) return this.int(200)
    if (this.chance(0.9)) return Math.max(0, this.pick(EDGES) + this.int(3) - 1)
    return this.int(300_000)
  }

  bytes(length = this.length()) {
    const bytes = Buffer.allocUnsafe(length)
    for (let i = 0; i < length; i += 64) bytes.fill(this.int(256), i, Math.min(length, i + 64))
    return bytes
  }

  text(length = this.length()) {
    return this.pick(['x', 'é', '\u{1F600}', 'a\0b', '\uD800', '"']).repeat(length).slice(0, length)
  }

  /** Something that can be sent. */
  data() {
    switch (this.int(8)) {
      case 0:
        return this.bytes()
      case 1:
        return new Uint8Array(this.bytes()).buffer
      case 2:
        return new DataView(new ArrayBuffer(this.int(100)))
      case 3:
        return new Float64Array(this.int(100))
      case 4:
        return new Uint8Array(new SharedArrayBuffer(this.int(5000)))
      default:
        return this.text()
    }
  }

  /** What is no argument of anything, or only of something else. */
  junk() {
    return this.pick(JUNK)()
  }
}

/** Lengths in frames' heads, in control frames, in the channel, and of buffers of µWebSockets. */
const EDGES = [0, 1, 24, 32, 123, 125, 126, 2048, 4096, 16_384, 65_535, 65_536, 262_144]

const JUNK = [
  () => undefined,
  () => null,
  () => true,
  () => 0,
  () => -1,
  () => 1.5,
  () => Number.NaN,
  () => Number.POSITIVE_INFINITY,
  () => 2 ** 31,
  () => 2 ** 53,
  () => 5n,
  () => Symbol('junk'),
  () => '',
  () => 'junk',
  () => 'x'.repeat(70_000),
  () => '\r\nInjected: yes',
  () => [],
  () => [1, 2, 3],
  () => ({}),
  () => Object.create(null),
  () => ({ length: 5, byteLength: -1 }),
  () => () => {},
  () => async () => {},
  () => new Date(0),
  () => /junk/,
  () => new Error('junk'),
  () => new Proxy({}, {}),
  () => Promise.resolve('junk'),
  () => new Map([[1, 2]]),
  detached,
  () => detached().buffer,
  shrunk,
  lying,
]

/** Its memory was transferred away. */
function detached() {
  const bytes = new Uint8Array(10)
  structuredClone(bytes.buffer, { transfer: [bytes.buffer] })
  return bytes
}

/** A view that reached further than its memory does now. */
function shrunk() {
  const memory = new ArrayBuffer(1000, { maxByteLength: 2000 })
  const bytes = new Uint8Array(memory, 500, 400)
  memory.resize(10)
  return bytes
}

/** Bytes whose properties claim more than there is. */
function lying() {
  const bytes = new Uint8Array(4)
  Object.defineProperties(bytes, { length: { value: 1e9 }, byteLength: { value: 1e9 }, byteOffset: { value: -5 } })
  return bytes
}
