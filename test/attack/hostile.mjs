// A hostile client's end of the wire. Nothing is read unless it is asked for; errors of the network are ends
// like any other.
import { Buffer } from 'node:buffer'
import { connect as connectTcp } from 'node:net'
import process from 'node:process'
import { setImmediate as turn } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { handshake } from '../fuzz/wire.mjs'

/** Linux answers on all of 127.0.0.0/8: so many more ports, for storms of connections. */
const SOURCES = process.platform === 'linux' ? 200 : 0

/** What an attack works with: where to go, chance, time, and connections that end with it. */
export class Attempt {
  random
  target
  /** The server's. */
  engine
  /** What the server must not have done. */
  problems = []
  /** Connections that came about. */
  connected = 0
  #signal
  #connections = []
  #count
  /** Wake up who waits, when the time is up. */
  #onStop = []
  #stop = () => {
    for (const resolve of this.#onStop) resolve()
    this.end()
  }

  /** `count` is told of bytes that were written. `signal` aborts when the time is up. */
  constructor(random, { target, engine }, signal, count) {
    this.random = random
    this.target = target
    this.engine = engine
    this.#signal = signal
    this.#count = count
    signal.addEventListener('abort', this.#stop)
  }

  get isOver() {
    return this.#signal.aborted
  }

  /** Sleeps, and wakes up when the time is up. */
  wait(milliseconds) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds)
      void this.#stopped().then(() => {
        clearTimeout(timer)
        resolve()
      })
    })
  }

  /** What an attacker may demand of the server: the attack fails with `problem` where it is not so. */
  expect(isSo, problem) {
    if (!isSo) this.problems.push(problem)
  }

  /** The promise's value; undefined when the time is up. */
  within(promise) {
    return Promise.race([promise, this.#stopped()])
  }

  /** Calls `step` over and over, for so long, while the connection lasts. */
  async repeat(connection, milliseconds, step) {
    let isLate = false
    const late = this.wait(milliseconds).then(() => {
      isLate = true
    })
    // A step that never ends, because the server reads no more, ends with the time.
    while (!isLate && connection.isWritable) await Promise.race([step(), late])
  }

  /**
   * A connection, with the handshake of TLS done where it is secure. Undefined when there is none to be had.
   */
  async connect({ secure = false, ...options } = {}) {
    const { host, port, securePort } = this.target
    const from = SOURCES > 0 ? { localAddress: `127.0.1.${1 + this.random.int(SOURCES)}` } : {}
    const where = { host, port: secure ? securePort : port, ...from, ...options }
    const socket = secure ? connectTls({ ...where, rejectUnauthorized: false }) : connectTcp(where)
    const connection = new Connection(socket, this.#count)
    this.#connections.push(connection)
    const connected = await Promise.race([
      new Promise((resolve) => socket.once(secure ? 'secureConnect' : 'connect', () => resolve(true))),
      connection.closed(),
      this.#stopped(),
    ])
    if (!connected || this.isOver) return undefined
    this.connected += 1
    return connection
  }

  /** A connection that is a WebSocket. Undefined when that was refused. */
  async upgrade(path, { fields = [], ...options } = {}) {
    const connection = await this.connect(options)
    if (connection === undefined) return undefined
    await connection.write(handshake(path, fields))
    const head = await Promise.race([connection.head(), this.#stopped()])
    return head?.startsWith('HTTP/1.1 101') ? connection : undefined
  }

  #stopped() {
    return new Promise((resolve) => {
      if (this.#signal.aborted) resolve()
      else this.#onStop.push(resolve)
    })
  }

  /** Ends whatever is left. */
  end() {
    this.#signal.removeEventListener('abort', this.#stop)
    for (const connection of this.#connections) connection.destroy()
  }
}

export class Connection {
  socket
  isOpen = true
  /** Whether the server has ended its side. */
  hasEnded = false
  #count
  #closed

  constructor(socket, count) {
    this.socket = socket
    this.#count = count
    socket.on('error', () => {})
    socket.on('end', () => {
      this.hasEnded = true
    })
    this.#closed = new Promise((resolve) => {
      socket.on('close', () => {
        this.isOpen = false
        resolve()
      })
    })
  }

  get isWritable() {
    return this.isOpen && !this.socket.writableEnded
  }

  /**
   * Resolves when more may be written, which may never be: it ends with the connection. Others get their turn
   * in any case.
   */
  async write(bytes) {
    if (!this.isWritable) return
    this.#count(bytes.length)
    if (this.socket.write(bytes)) await turn()
    else await Promise.race([new Promise((resolve) => this.socket.once('drain', resolve)), this.closed()])
  }

  /** From now on all that comes is read, and thrown away. */
  discard() {
    this.socket.on('data', () => {})
    this.socket.resume()
  }

  /** The head of a response; undefined when the connection ends before. What comes behind it stays unread. */
  head() {
    return new Promise((resolve) => {
      let received = Buffer.alloc(0)
      const onData = (data) => {
        received = Buffer.concat([received, data])
        const end = received.indexOf('\r\n\r\n')
        if (end < 0) return
        this.socket.pause()
        this.socket.off('data', onData)
        resolve(received.toString('latin1', 0, end))
      }
      this.socket.on('data', onData)
      void this.#closed.then(() => resolve(undefined))
    })
  }

  /** The status and body of a response that ends with the connection; undefined where that has no head. */
  response() {
    return new Promise((resolve) => {
      const received = []
      this.socket.on('data', (data) => received.push(data))
      void this.#closed.then(() => {
        const [head, body = ''] = Buffer.concat(received).toString('latin1').split('\r\n\r\n')
        const status = /^HTTP\/1\.1 (\d{3}) /.exec(head)?.[1]
        resolve(status === undefined ? undefined : { status: Number(status), body })
      })
    })
  }

  closed() {
    return this.#closed
  }

  /** FIN, and reading goes on. */
  end() {
    this.socket.end()
  }

  /** RST. */
  reset() {
    if (this.socket.encrypted) this.socket.destroy()
    else this.socket.resetAndDestroy()
  }

  destroy() {
    this.socket.destroy()
  }
}
