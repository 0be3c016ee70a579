/** Clients that people really use, against the command as people really run it. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, expect, onTestFinished, test } from 'vitest'
import { WebSocket } from 'ws'
import { remainingDescriptors } from '../../src/app/descriptors.js'
import { localhostCertificate } from '../support/certificates.js'
import { Child, OTHER_PROGRAM, Running } from '../support/child.js'
import { Client } from '../support/client.js'
import { type RunningCommand, startCommand } from '../support/command.js'
import { describeEngines } from '../support/engines.js'
import { within } from '../support/waiting.js'

const WELCOME = '{"event":"connected","message":"Welcome!"}'
const WSCAT = fileURLToPath(new URL('../../node_modules/wscat/bin/wscat', import.meta.url))

/** The certificate that the commands here serve with, for clients that want a file. */
const folder = mkdtempSync(join(tmpdir(), 'nws-test-clients-'))
const authority = join(folder, 'ca.pem')
writeFileSync(authority, localhostCertificate().cert)
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Appended to a title when a program is not here. */
function absence(program: string, args: readonly string[], needed: RegExp): string {
  const { stdout } = spawnSync(program, args, { encoding: 'utf8', env: OTHER_PROGRAM })
  return needed.test(stdout ?? '') ? '' : ` (skipped: no ${program} that can do it on this machine)`
}
const noCurl = absence('curl', ['--version'], /https/)
const noOpenssl = absence('openssl', ['version'], /^OpenSSL (1\.1\.1|[3-9])/)
const noTerminal = absence('script', ['--version'], /util-linux/)

/** A program with a TLS server to talk to; its output so far can be waited for. */
class Conversation {
  readonly running: Running
  #output = ''
  #wake: () => void = () => {}

  constructor(command: readonly string[]) {
    this.running = new Running(command, { env: { ...OTHER_PROGRAM, TERM: 'xterm', NO_COLOR: '1' } })
    this.running.process.stdout?.on('data', (chunk) => {
      this.#output += chunk
      this.#wake()
    })
  }

  /** Waits until the output holds the text, and forgets everything up to its end. */
  async sees(text: string): Promise<void> {
    const seen = async () => {
      while (!this.#output.includes(text)) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve
        })
      }
    }
    await within(seen(), `${JSON.stringify(text)} to be printed`).catch((error: Error) => {
      throw new Error(`${error.message}; since the last one came ${JSON.stringify(this.#output)}`)
    })
    this.#output = this.#output.slice(this.#output.indexOf(text) + text.length)
  }

  types(text: string): void {
    this.running.process.stdin?.write(text)
  }
}

/** The next line that the command prints about its clients. */
const next = (command: RunningCommand): Promise<string> => command.running.line('what happens')

describeEngines('real clients', (engine) => {
  test('ws: is greeted and hears its echo, over TLS and without', async () => {
    for (const tls of [true, false]) {
      const client = await Client.open(await startCommand(engine, { tls }))
      expect(await client.next('the welcome')).toBe(WELCOME)
      expect(await client.ask('hello')).toBe('hello')
      expect(await client.ask(Buffer.of(0, 255))).toEqual(Buffer.of(0, 255))
    }
  })

  test.runIf(noTerminal === '')(
    `wscat on a terminal: a person sees the welcome and the echo, and leaves${noTerminal}`,
    async () => {
      const command = await startCommand(engine, { tls: true })
      const wscat = `'${process.execPath}' '${WSCAT}' --no-check --connect wss://localhost:${command.port}`
      const terminal = new Conversation(['script', '--quiet', '--return', '--command', wscat, '/dev/null'])
      await terminal.sees('Connected (press CTRL+C to quit)')
      await terminal.sees(`< ${WELCOME}`)
      const [, id] = /^\[\+\] Connection from (\S+)$/.exec(await next(command)) ?? []
      for (const line of ['hello', 'and once more, žluťoučký 🐎']) {
        terminal.types(`${line}\r`)
        await terminal.sees(`< ${line}`)
        expect(await next(command)).toBe(`[->] Message from ${id}: ${line}`)
      }
      terminal.types('\u0003') // Ctrl+C
      expect(await next(command)).toBe(`[-] ${id} disconnected`)
      expect((await terminal.running.result()).code).toBe(0)
    },
  )

  test('wscat in a pipe: prints the welcome and the echo, and how the server closes', async () => {
    const command = await startCommand(engine, { tls: true })
    const wscat = new Conversation([process.execPath, WSCAT, '--no-check', '--connect', `wss://localhost:${command.port}`])
    await wscat.sees(`${WELCOME}\n`)
    wscat.types('hello\n')
    await wscat.sees('hello\n')
    command.running.process.kill('SIGTERM')
    expect(await wscat.running.result()).toMatchObject({ code: 0, stderr: '' })
  })

  test.runIf(noCurl === '')(`curl: /health answers over TLS${noCurl}`, async () => {
    const { port } = await startCommand(engine, { tls: true })
    for (const trust of [['-k'], ['--cacert', authority]]) {
      const curl = new Running(['curl', '-sS', '-i', ...trust, `https://localhost:${port}/health`], { env: OTHER_PROGRAM })
      const { code, stdout, stderr } = await curl.result()
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
      expect(stdout).toMatch(/^HTTP\/1\.1 200 OK\r?\n/)
      expect(stdout).toMatch(/^content-type: application\/json\r?$/im)
      expect(stdout.split(/\r?\n\r?\n/)[1]?.trimEnd()).toBe('{"status":"healthy"}')
    }
  })

  test.runIf(noOpenssl === '')(`openssl s_client: agrees on TLSv1.3 with a verified certificate${noOpenssl}`, async () => {
    const { port } = await startCommand(engine, { tls: true })
    const trust = ['-CAfile', authority, '-verify_hostname', 'localhost', '-verify_return_error']
    const client = new Running(['openssl', 's_client', '-connect', `localhost:${port}`, '-servername', 'localhost', ...trust], {
      env: OTHER_PROGRAM,
    })
    client.process.stdin?.end()
    const { code, stdout } = await client.result()
    expect(code).toBe(0)
    expect(stdout).toMatch(/^New, TLSv1\.3, Cipher is TLS_/m)
    expect(stdout).toMatch(/^\s*Verif(y return code: 0 \(ok\)|ication: OK)/m)
  })

  test.runIf(noOpenssl === '')(`openssl s_client: may insist on TLSv1.2, and gets no TLSv1.1${noOpenssl}`, async () => {
    const { port } = await startCommand(engine, { tls: true })
    const connect = async (version: string) => {
      const cipher = ['-cipher', 'DEFAULT@SECLEVEL=0'] // else the client itself would refuse what is old
      const client = new Running(['openssl', 's_client', '-connect', `localhost:${port}`, version, ...cipher], {
        env: OTHER_PROGRAM,
      })
      client.process.stdin?.end()
      return client.result()
    }
    expect((await connect('-tls1_2')).stdout).toMatch(/^New, TLSv1\.2, Cipher is /m)
    expect((await connect('-tls1_1')).stdout).toMatch(/^New, \(NONE\), Cipher is \(NONE\)/m)
  })

  test('Node’s own WebSocket: is greeted, hears its echo and closes cleanly, over TLS and without', async () => {
    for (const tls of [true, false]) {
      const { wsUrl } = await startCommand(engine, { tls })
      const client = new Child('own-websocket.mjs', {
        args: [wsUrl()],
        // Node 20 has it behind a flag.
        execArgv: 'WebSocket' in globalThis ? [] : ['--experimental-websocket', '--no-warnings'],
        env: { NODE_EXTRA_CA_CERTS: authority },
      })
      expect(await client.line('the welcome')).toBe(`text ${WELCOME}`)
      for (const message of ['text hello', 'binary 00ff80']) {
        client.process.stdin?.write(`${message}\n`)
        expect(await client.line('the echo')).toBe(message)
      }
      client.process.stdin?.write('close\n')
      expect(await client.line('the end')).toBe('closed 1000 cleanly')
      expect(await client.result()).toMatchObject({ code: 0, stderr: '' })
    }
  })

  // With sanitizers a handshake takes five times as long, and shows nothing that a thousand do not.
  const CONNECTIONS = process.env.ASAN_OPTIONS === undefined ? 5000 : 1000
  // The server's process has the same limit as this one, and needs some descriptors for itself.
  const tooFew = (remainingDescriptors() ?? Number.POSITIVE_INFINITY) < CONNECTIONS + 200
  const why = tooFew ? ' (skipped: the file descriptor limit is too low)' : ''
  test.runIf(!tooFew)(`${CONNECTIONS} at once over TLS: every one hears its own echo${why}`, { timeout: 300_000 }, async () => {
    const command = await startCommand(engine, { tls: true, args: ['--quiet'] })
    const sockets: WebSocket[] = []
    onTestFinished(() => {
      for (const socket of sockets) socket.terminate()
    })
    const connect = (number: number) =>
      new Promise<void>((resolve, reject) => {
        const socket = new WebSocket(command.wsUrl(), { ca: localhostCertificate().cert, perMessageDeflate: false })
        sockets[number] = socket
        socket.once('message', (data) => (String(data) === WELCOME ? resolve() : reject(new Error(`not a welcome: ${data}`))))
        socket.on('error', reject)
        socket.once('close', (code) => reject(new Error(`connection ${number} ended with ${code}`)))
      })
    const echo = (socket: WebSocket, text: string) =>
      new Promise<void>((resolve, reject) => {
        socket.once('message', (data) =>
          String(data) === text ? resolve() : reject(new Error(`not the echo of ${text}: ${data}`)),
        )
        socket.send(text)
      })
    // A hundred handshakes at a time: more would only wait in the listening socket's queue.
    for (let first = 0; first < CONNECTIONS; first += 100) {
      await Promise.all(Array.from({ length: 100 }, (_, index) => connect(first + index)))
    }
    expect(sockets.filter(({ readyState }) => readyState === WebSocket.OPEN)).toHaveLength(CONNECTIONS)
    const echoes = sockets.map((socket, number) => echo(socket, `I am number ${number}`))
    await within(Promise.all(echoes), `${CONNECTIONS} echoes`, 60_000)
    expect(sockets.filter(({ readyState }) => readyState === WebSocket.OPEN)).toHaveLength(CONNECTIONS)

    command.running.process.kill('SIGTERM')
    const { stdout, code } = await command.running.result()
    expect(code).toBe(0)
    expect(stdout.match(/^\[\+\]/gm)).toHaveLength(CONNECTIONS)
    expect(stdout.match(/^\[-\]/gm)).toHaveLength(CONNECTIONS)
  })
})
