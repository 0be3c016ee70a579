/** The command: flags, environment, signals, exit codes, and every way not to start. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { WebSocket } from 'ws'
import { makeCertificate } from '../support/certificates.js'
import type { RunOptions } from '../support/child.js'
import { Client } from '../support/client.js'
import { bannerOf, portIn, runCommand, startCommand, temporaryFolder } from '../support/command.js'
import { addressOf, describeEngines } from '../support/engines.js'
import { http } from '../support/http.js'
import { OPCODE, RawClient } from '../support/raw-client.js'
import { within } from '../support/waiting.js'

const VERSION: unknown = JSON.parse(readFileSync('package.json', 'utf8')).version

/** Says that it fails with one line on standard error, and nothing else. Gives the line. */
async function failure(args: readonly string[], options: RunOptions = {}): Promise<string> {
  const { code, stdout, stderr } = await runCommand(args, options).result()
  expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
  expect(stderr).toMatch(/^native-websocket-server: [^\n]+\n$/)
  return stderr.slice('native-websocket-server: '.length, -1)
}

/** A port that another server listens on. */
async function takenPort(): Promise<number> {
  const other = createServer()
  onTestFinished(() => void other.close())
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
  const address = other.address()
  return typeof address === 'object' && address !== null ? address.port : Number.NaN
}

describe('the command', () => {
  test.each(['--help', '-h', 'doctor --help', 'doctor -h'])('explains itself with %s', async (flags) => {
    const { code, stdout, stderr } = await runCommand(flags.split(' ')).result()
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const named = ['port', 'host', 'key', 'cert', 'no-tls', 'engine', 'quiet', 'log', 'help', 'version']
    for (const name of named) expect(stdout).toMatch(new RegExp(`^ {2}--${name}\\b`, 'm'))
    expect(stdout).toMatch(/PORT/)
    expect(stdout).toMatch(/HOST/)
  })

  test.each(['--version', '-v'])('tells its version with %s', async (flag) => {
    expect(await runCommand([flag]).result()).toEqual({ code: 0, signal: null, stdout: `${VERSION}\n`, stderr: '' })
  })
})

describe('bad usage of the command', () => {
  const cases: readonly [args: readonly string[], complaint: string, env?: NodeJS.ProcessEnv][] = [
    [['--prot', '80'], "Unknown option '--prot' (see --help)"],
    [['-x'], "Unknown option '-x' (see --help)"],
    [['7000'], "Unexpected argument '7000'. This command does not take positional arguments (see --help)"],
    [['--port'], "Option '--port <value>' argument missing (see --help)"],
    [['--quiet=yes'], "Option '--quiet' does not take an argument (see --help)"],
    [['--port', 'http'], '--port must be a whole number from 0 to 65535, got "http" (see --help)'],
    [['--port', ''], '--port must be a whole number from 0 to 65535, got "" (see --help)'],
    [['--port', '65536'], '--port must be a whole number from 0 to 65535, got "65536" (see --help)'],
    [['--port=-1'], '--port must be a whole number from 0 to 65535, got "-1" (see --help)'],
    [['--port', '80.5'], '--port must be a whole number from 0 to 65535, got "80.5" (see --help)'],
    [['--port', '0x50'], '--port must be a whole number from 0 to 65535, got "0x50" (see --help)'],
    [['--host', ''], '--host must not be empty (see --help)'],
    [['--engine', 'fast'], '--engine must be native or portable, got "fast" (see --help)'],
    [['--log', 'xml'], '--log must be json or pretty, got "xml" (see --help)'],
    [['--no-tls', '--key', 'key.pem'], '--no-tls cannot be combined with --key or --cert (see --help)'],
    [['--cert', 'cert.pem'], '--key and --cert go together (see --help)'],
    [[], 'PORT must be a whole number from 0 to 65535, got "eighty" (see --help)', { PORT: 'eighty' }],
  ]
  test.each(cases)('%j: %s', async (args, complaint, env = {}) => {
    expect(await failure(args, { env })).toBe(complaint)
  })

  test('a value that begins with a dash is explained on one line', async () => {
    expect(await failure(['--port', '-1'])).toContain("Option '--port' argument is ambiguous.")
  })

  test('an engine in the environment that does not exist is named', async () => {
    const line = await failure(['--no-tls'], { env: { NATIVE_WEBSOCKET_SERVER_ENGINE: 'fast' } })
    expect(line).toBe(`NATIVE_WEBSOCKET_SERVER_ENGINE must be 'native' or 'portable', got "fast" (ERR_OPTION)`)
  })
})

describe('the command without a native engine', () => {
  const env = { NATIVE_WEBSOCKET_SERVER_ADDON: '/nowhere/addon.node' }

  test('serves on the portable one, and says why before anything else', async () => {
    const command = runCommand(['--no-tls', '--port', '0'], { env })
    const [first] = await bannerOf(command)
    expect(first).toMatch(/^Engine: portable \(ws\): there is no file \/nowhere\/addon\.node; .+/)
  })

  test('fails with one line when the native one was asked for', async () => {
    expect(await failure(['--no-tls', '--engine', 'native'], { env })).toMatch(/^there is no file .* \(ERR_ENGINE_UNAVAILABLE\)$/)
    const asked = { ...env, NATIVE_WEBSOCKET_SERVER_ENGINE: 'native' }
    expect(await failure(['--no-tls'], { env: asked })).toMatch(/^there is no file .* \(ERR_ENGINE_UNAVAILABLE\)$/)
  })
})

describeEngines('a command that cannot start', (engine) => {
  const cannotStart = (args: readonly string[], options: RunOptions = {}) => failure(['--engine', engine, ...args], options)

  test('says that the port is taken', async () => {
    const port = await takenPort()
    expect(await cannotStart(['--no-tls', '--host', '127.0.0.1', '--port', `${port}`])).toBe(
      `cannot listen on 127.0.0.1:${port}: The port is taken by another socket, or the path of the unix socket exists. Processes and threads that are to share it must each listen with reusePort: true, for which the portable engine needs Node.js 22.12. (EADDRINUSE); stop the other program, or choose another port with --port`,
    )
  })

  const privilegedFrom =
    process.platform === 'linux' ? Number(readFileSync('/proc/sys/net/ipv4/ip_unprivileged_port_start', 'utf8')) : 0
  const whyNot =
    privilegedFrom <= 80
      ? 'no port is privileged here'
      : process.getuid?.() !== 0
        ? 'only root can become a user without privileges'
        : ''
  test.runIf(whyNot === '')(`says that the port is privileged${whyNot && ` (skipped: ${whyNot})`}`, async () => {
    const line = await cannotStart(['--no-tls', '--host', '127.0.0.1', '--port', '80'], { uid: 65_534, cwd: '/' })
    expect(line).toMatch(/^cannot listen on 127\.0\.0\.1:80: .*privileged.* \(EACCES\); choose a port from 1024 up with --port$/)
  })

  test('says that the host is not of this machine', async () => {
    // 192.0.2.0/24 is reserved for documentation (RFC 5737): no machine has it.
    expect(await cannotStart(['--no-tls', '--host', '192.0.2.1'])).toMatch(
      /^cannot listen on 192\.0\.2\.1:7000: .* \(EADDRNOTAVAIL\)/,
    )
  })

  test('says that the host has no address', async () => {
    expect(await cannotStart(['--no-tls', '--host', 'no..such..host'])).toMatch(
      /^cannot listen on no\.\.such\.\.host:7000: .* \(ENOTFOUND\)/,
    )
  })

  test('names the key that is missing, and makes none where files were named', async () => {
    const cwd = temporaryFolder()
    const line = await cannotStart(['--key', 'my/key.pem', '--cert', 'my/cert.pem'], { cwd })
    expect(line).toMatch(/^cannot read the private key in my\/key\.pem: ENOENT.* \(ERR_TLS_FILE\)$/)
    expect(existsSync(join(cwd, 'my'))).toBe(false)
    expect(existsSync(join(cwd, 'certs'))).toBe(false)
  })

  test('says that the key does not belong to the certificate', async () => {
    const cwd = temporaryFolder()
    writeFileSync(join(cwd, 'key.pem'), makeCertificate().key)
    writeFileSync(join(cwd, 'cert.pem'), makeCertificate().cert)
    const line = await cannotStart(['--key', 'key.pem', '--cert', 'cert.pem'], { cwd })
    expect(line).toBe('the private key in key.pem does not belong to the certificate in cert.pem (ERR_TLS_MISMATCH)')
  })

  test('says that half of the development certificate is missing, and touches neither half', async () => {
    const cwd = temporaryFolder()
    mkdirSync(join(cwd, 'certs'))
    writeFileSync(join(cwd, 'certs/key.pem'), 'mine')
    expect(await cannotStart(['--port', '0'], { cwd })).toMatch(
      /^certs\/cert\.pem is missing, but certs\/key\.pem exists: .* \(ERR_TLS_FILE\)$/,
    )
    expect(readFileSync(join(cwd, 'certs/key.pem'), 'utf8')).toBe('mine')
    expect(existsSync(join(cwd, 'certs/cert.pem'))).toBe(false)
  })
})

describeEngines('the command as a server', (engine) => {
  test('prints the engine, and then where to connect', async () => {
    const { banner, port } = await startCommand(engine, { tls: true })
    const reason = "asked for by the option engine: 'portable'"
    expect(banner).toEqual([
      engine === 'native' ? 'Engine: native (µWebSockets)' : `Engine: portable (ws): ${reason}`,
      `WebSocket server listening on port ${port}`,
      `WSS endpoint: wss://127.0.0.1:${port}`,
      `Health check: https://127.0.0.1:${port}/health`,
    ])
  })

  test('names localhost where it listens on all addresses, and plain endpoints without TLS', async () => {
    const banner = await bannerOf(runCommand(['--engine', engine, '--no-tls', '--port', '0']))
    expect(banner.slice(2)).toEqual([
      `WS endpoint: ws://localhost:${portIn(banner)}`,
      `Health check: http://localhost:${portIn(banner)}/health`,
    ])
    for (const host of ['127.0.0.1', 'localhost']) {
      expect((await http(addressOf(portIn(banner), host), '/health')).body.toString()).toBe('{"status":"healthy"}')
    }
  })

  test('makes a development certificate, says so, serves with it, and keeps it the next time', async () => {
    const cwd = temporaryFolder()
    const files = () => ['key.pem', 'cert.pem'].map((name) => readFileSync(join(cwd, 'certs', name), 'utf8'))
    const args = ['--engine', engine, '--port', '0']

    const first = runCommand(args, { cwd })
    const banner = await bannerOf(first)
    expect(await first.line('what it made')).toBe(
      'Made a development certificate, valid for 365 days: certs/cert.pem, with its key certs/key.pem',
    )
    expect(statSync(join(cwd, 'certs/key.pem')).mode & 0o777).toBe(0o600)
    const made = files()
    const client = new WebSocket(`wss://localhost:${portIn(banner)}`, { ca: made[1] ?? '' })
    onTestFinished(() => client.terminate())
    expect(String(await within(new Promise((resolve) => client.once('message', resolve)), 'the welcome'))).toContain('Welcome!')

    const second = runCommand(args, { cwd })
    await bannerOf(second)
    second.process.kill('SIGTERM')
    expect((await second.result()).stdout).not.toContain('certificate')
    expect(files()).toEqual(made)
  })

  test('takes port and host from the environment, and flags before them', async () => {
    const env = { PORT: '0', HOST: '127.0.0.1' }
    const fromEnvironment = await bannerOf(runCommand(['--engine', engine, '--no-tls'], { env }))
    expect(fromEnvironment[2]).toBe(`WS endpoint: ws://127.0.0.1:${portIn(fromEnvironment)}`)

    const overruled = { PORT: `${await takenPort()}`, HOST: '192.0.2.1' }
    const args = ['--engine', engine, '--no-tls', '--port', '0', '--host', 'localhost']
    const fromFlags = await bannerOf(runCommand(args, { env: overruled }))
    expect(fromFlags[2]).toBe(`WS endpoint: ws://localhost:${portIn(fromFlags)}`)
  })

  test('prints a line per connection and per message, and with --quiet none per message', async () => {
    for (const quiet of [false, true]) {
      const command = await startCommand(engine, { args: quiet ? ['--quiet'] : [] })
      const client = await Client.open(command)
      await client.next('the welcome')
      await client.ask('hello')
      client.socket.close()
      await client.closed()
      command.running.process.kill('SIGTERM')
      const { stdout } = await command.running.result()
      const [, id] = /^\[\+\] Connection from (\S+)$/m.exec(stdout) ?? []
      const said = stdout.split('\n').slice(command.banner.length, -1)
      const expected = [`[+] Connection from ${id}`, `[->] Message from ${id}: hello`, `[-] ${id} disconnected`]
      expect(said).toEqual(quiet ? expected.toSpliced(1, 1) : expected)
    }
  })

  test('prints with --log json one object per line, and with --log pretty time and level before each', async () => {
    for (const format of ['json', 'pretty'] as const) {
      const running = runCommand(['--log', format, '--engine', engine, '--no-tls', '--port', '0', '--host', '127.0.0.1'])
      const lines = await running.lines.take(4, 'the banner')
      const port = Number(/listening on port (\d+)/.exec(lines.join('\n'))?.[1])
      const client = await Client.open(addressOf(port))
      await client.next('the welcome')
      await client.ask('hello\x1b')
      client.socket.close(4001, 'enough')
      await client.closed()
      running.process.kill('SIGTERM')
      const { stdout } = await running.result()
      const said = stdout.trimEnd().split('\n')
      if (format === 'pretty') {
        for (const line of said) expect(line).toMatch(/^\d\d:\d\d:\d\d\.\d{3} INFO {2}(?:notice|open|message|close) +\S/)
        expect(stdout).not.toContain('\x1b')
        continue
      }
      const events: unknown[] = said.map((line) => JSON.parse(line))
      const common = { time: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/), level: 'info' }
      for (const event of events.slice(0, 4)) expect(event).toEqual({ ...common, event: 'notice', text: expect.any(String) })
      const id = expect.stringMatching(/^\S{16}$/)
      expect(events.slice(4)).toEqual([
        { ...common, event: 'open', id, address: '127.0.0.1' },
        { ...common, event: 'message', id, kind: 'text', text: 'hello\\x1b' },
        { ...common, event: 'close', id, code: 4001, reason: 'enough' },
      ])
    }
  })

  test.each(['SIGINT', 'SIGTERM'] as const)('closes every connection with 1001 on %s, and exits with 0', async (signal) => {
    const command = await startCommand(engine, { tls: true })
    const clients = await Client.openMany(command, 5)
    for (const client of clients) await client.next('the welcome')
    command.running.process.kill(signal)
    for (const client of clients) {
      expect(await client.closed()).toEqual({ code: 1001, reason: 'server is shutting down' })
    }
    expect(await command.running.result()).toMatchObject({ code: 0, signal: null, stderr: '' })
  })

  test.each([['SIGINT', 130] as const, ['SIGTERM', 143] as const])(
    'exits at once on a second %s, with %i',
    async (signal, code) => {
      const command = await startCommand(engine)
      // This client answers no Close frame, so that the first signal alone would take its time.
      const client = await RawClient.open(command)
      expect((await client.frame('the welcome')).opcode).toBe(OPCODE.TEXT)
      command.running.process.kill(signal)
      expect((await client.frame('the Close frame')).opcode).toBe(OPCODE.CLOSE)
      // Again and again: two signals within milliseconds are one keypress, which npm passes on.
      const again = setInterval(() => command.running.process.kill(signal), 100)
      onTestFinished(() => clearInterval(again))
      expect(await command.running.result()).toMatchObject({ code, signal: null })
      await client.closed()
    },
  )

  test('takes two signals within a millisecond as one, as a terminal and npm send them', async () => {
    const command = await startCommand(engine)
    const client = await Client.open(command)
    const { pid } = command.running.process
    execFileSync('sh', ['-c', `kill -INT ${pid}; kill -INT ${pid}`])
    expect((await client.closed()).code).toBe(1001)
    expect((await command.running.result()).code).toBe(0)
  })

  test('goes on serving when the reader of its output has gone', async () => {
    const command = await startCommand(engine)
    command.running.process.stdout?.destroy()
    const client = await Client.open(command)
    await client.next('the welcome')
    for (let number = 0; number < 10; number++) expect(await client.ask(`${number}`)).toBe(`${number}`)
    command.running.process.kill('SIGTERM')
    expect((await client.closed()).code).toBe(1001)
    expect(await command.running.result()).toMatchObject({ code: 0, stderr: '' })
  })

  test('leaves lines out rather than fill the memory when its output waits unread, and says how many', async () => {
    const command = await startCommand(engine)
    const { process: child, lines } = command.running
    const client = await Client.open(command)
    await client.next('the welcome')
    await lines.next('the line of the connection')
    child.stdout?.pause()
    const message = 'x'.repeat(200)
    const count = 60_000 // of about 240 bytes each, so that they exceed 8 MiB and what the system takes
    for (let number = 0; number < count; number++) client.send(message)
    await client.messages.take(count, 'the echoes')
    child.stdout?.resume()
    let printed = 0
    while ((await lines.next('a line of what was printed')).startsWith('[->]')) {
      printed++
      // The next line after the gap comes with the next event.
      if (lines.size === 0) client.send('one more')
    }
    expect(printed).toBeGreaterThan(1000)
    expect(printed).toBeLessThan(count)
    child.kill('SIGTERM')
    const { code, stdout } = await command.running.result()
    expect(code).toBe(0)
    expect(stdout).toMatch(/^\[!\] [\d,]+ lines left out here: the reader was too slow$/m)
  })
})
