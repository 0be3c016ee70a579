/** Real brokers, on ports of their own: started by tests, and gone with them. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'

type Program = 'redis-server' | 'nats-server'

/** Debian puts nats-server where only root looks for programs. */
const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` }

/** Why a broker cannot be started here; undefined when it can. */
export function whyMissing(program: Program): string | undefined {
  try {
    execFileSync(program, ['--version'], { stdio: 'ignore', env })
    return undefined
  } catch {
    return `${program} is not installed`
  }
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}

/** Arguments, which may depend on the port. */
export type BrokerArgs = readonly string[] | ((port: number) => readonly string[])

export type AtEnd = (end: () => void | Promise<void>) => void

export class Broker {
  readonly port: number
  readonly #program: Program
  readonly #args: readonly string[]
  readonly #folder = mkdtempSync(join(tmpdir(), 'broker-'))
  #process: ChildProcess | undefined

  private constructor(program: Program, port: number, args: readonly string[]) {
    this.#program = program
    this.port = port
    this.#args = args
  }

  /** Is killed when the test has finished, or when `atEnd` calls what it is given. */
  static async start(program: Program, args: BrokerArgs = [], atEnd: AtEnd = onTestFinished): Promise<Broker> {
    const port = await freePort()
    const broker = new Broker(program, port, typeof args === 'function' ? args(port) : args)
    atEnd(async () => {
      await broker.kill()
      rmSync(broker.#folder, { recursive: true, force: true })
    })
    await broker.start()
    return broker
  }

  get url(): string {
    return `${this.#program === 'redis-server' ? 'redis' : 'nats'}://127.0.0.1:${this.port}`
  }

  /** Starts it again, on the same port. */
  async start(): Promise<void> {
    const own =
      this.#program === 'redis-server'
        ? ['--port', `${this.port}`, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', this.#folder]
        : ['--port', `${this.port}`, '--addr', '127.0.0.1', '--store_dir', this.#folder]
    this.#process = spawn(this.#program, [...own, ...this.#args], { stdio: 'ignore', env })
    for (;;) {
      const socket = connect(this.port, '127.0.0.1')
      const isOpen = await new Promise<boolean>((resolve) => {
        socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
      })
      socket.destroy()
      if (isOpen) return
      if (this.#process.exitCode !== null) throw new Error(`${this.#program} has ended with ${this.#process.exitCode}`)
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  }

  async kill(): Promise<void> {
    const child = this.#process
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  }

  /** It keeps its connections, and does nothing until `resume`. */
  stop(): void {
    this.#process?.kill('SIGSTOP')
  }

  resume(): void {
    this.#process?.kill('SIGCONT')
  }
}
