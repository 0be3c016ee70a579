/** examples/deploy: the server with each of the programs that start it or stand in front of it. */
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { validate } from 'dockerfile-utils'
import { describe, expect, onTestFinished, test } from 'vitest'
import { localhostCertificate } from '../support/certificates.js'
import { OTHER_PROGRAM, Running, type RunOptions } from '../support/child.js'
import { Client } from '../support/client.js'
import { type Address, AVAILABLE_ENGINES, addressOf, describeEngines, type EngineName } from '../support/engines.js'
import { http } from '../support/http.js'
import { PATIENCE } from '../support/waiting.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
const folder = join(root, 'examples/deploy')
const example = (name: string) => readFileSync(join(folder, name), 'utf8')
const [anyEngine = 'portable'] = AVAILABLE_ENGINES

/**
 * Appended to a title where a program is missing. Debian has each in a package of its name, or in systemd's.
 */
function absence(program: string, flag: string): string {
  const { status } = spawnSync(program, [flag], { env: OTHER_PROGRAM })
  return status === 0 ? '' : ` (skipped: no ${program} on this machine)`
}
const noHaproxy = absence('haproxy', '-v')
const noNginx = absence('nginx', '-v')
const noCaddy = absence('caddy', 'version')
const noAnalyze = absence('systemd-analyze', '--version')
const noActivation = absence('systemd-socket-activate', '--version')

function temporaryFolder(): string {
  const made = mkdtempSync(join(tmpdir(), 'nws-test-deploy-'))
  onTestFinished(() => rmSync(made, { recursive: true, force: true }))
  return made
}

/** A port that was free a moment ago. */
async function freePort(): Promise<number> {
  const holder = createServer()
  await new Promise<void>((resolve) => holder.listen(0, '127.0.0.1', resolve))
  const { port } = holder.address() as { port: number } // it listens on TCP
  await new Promise((resolve) => holder.close(resolve))
  return port
}

/** The example, on 127.0.0.1 and a port of the system's choice, unless `env` says otherwise. */
async function start(engine: EngineName, env: NodeJS.ProcessEnv = {}): Promise<{ running: Running; port: number }> {
  const running = new Running([process.execPath, join(folder, 'server.mjs')], {
    env: { PORT: '0', HOST: '127.0.0.1', NATIVE_WEBSOCKET_SERVER_ENGINE: engine, ...env },
  })
  const line = await running.line('where it listens')
  return { running, port: Number(/:(\d+)$/.exec(line)?.[1]) }
}

/** Runs a program until the test ends; resolves when the port accepts connections. */
async function startProgram(command: readonly string[], port: number, options: RunOptions = {}): Promise<Running> {
  const running = new Running(command, { env: OTHER_PROGRAM, ...options })
  let failure: string | undefined
  running.result().then(
    ({ code, stderr }) => {
      failure = `${command[0]} ended with ${code}: ${stderr}`
    },
    () => {},
  )
  const deadline = Date.now() + PATIENCE
  while (failure === undefined && Date.now() < deadline) {
    const isUp = await new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1')
      socket.once('connect', () => resolve(true)).once('error', () => setTimeout(resolve, 20, false))
      socket.once('connect', () => socket.destroy())
    })
    if (isUp) return running
  }
  throw new Error(failure ?? `${command[0]} did not start`)
}

/** Replaces each text, of which the file must have exactly one. */
function changed(text: string, changes: Record<string, string>): string {
  for (const [from, to] of Object.entries(changes)) {
    expect(text.split(from)).toHaveLength(2)
    text = text.replace(from, to)
  }
  return text
}

async function who(address: Address): Promise<{ client: string; process: number }> {
  const { status, body } = await http(address, '/who')
  expect(status).toBe(200)
  return JSON.parse(body.toString())
}

describeEngines('the server of examples/deploy', (engine) => {
  test('drains at SIGTERM, and a second signal ends the wait', async () => {
    const { running, port } = await start(engine, { DRAIN: '60000' })
    const address = addressOf(port)
    const client = await Client.open(address, '/echo')
    running.process.kill('SIGTERM')
    while ((await http(address, '/health')).status !== 503);
    expect(await client.ask('still here?')).toBe('still here?')
    expect((await http(address, '/health/live')).status).toBe(200)
    running.process.kill('SIGTERM')
    expect(await client.closed()).toEqual({ code: 1012, reason: 'the service restarts' })
    expect(await running.result()).toMatchObject({ code: 0, stderr: '' })
  })

  test.runIf(noActivation === '')(`gets its port from systemd${noActivation}`, async () => {
    const port = await freePort()
    const command = [
      'systemd-socket-activate',
      '--listen',
      `127.0.0.1:${port}`,
      '--setenv',
      `NATIVE_WEBSOCKET_SERVER_ENGINE=${engine}`,
    ]
    const running = new Running([...command, process.execPath, join(folder, 'server.mjs')], { env: OTHER_PROGRAM })
    let client: Client | undefined
    while (client === undefined) client = await Client.open(addressOf(port), '/echo').catch(() => undefined)
    expect(await client.ask('hello')).toBe('hello')
    expect(await running.line('where it listens')).toBe(`Listening on http://localhost:${port}`)
  })

  test.runIf(noHaproxy === '')(`is taken out of HAProxy's rotation before it closes: no request fails${noHaproxy}`, async () => {
    const env = { PROXY_PROTOCOL: '1', DRAIN: '1500' }
    const [one, two] = [await start(engine, env), await start(engine, env)]
    const [made, port] = [temporaryFolder(), await freePort()]
    const { key, cert } = localhostCertificate()
    writeFileSync(join(made, 'site.pem'), cert + key, { mode: 0o600 })
    const config = changed(example('haproxy.cfg'), {
      ':443 ssl': `127.0.0.1:${port} ssl`,
      '/etc/haproxy/site.pem': join(made, 'site.pem'),
      'inter 2s fall 3': 'inter 100ms fall 3',
      'timeout check 5s': 'timeout check 10s',
      '127.0.0.1:7001': `127.0.0.1:${one.port}`,
      '127.0.0.1:7002': `127.0.0.1:${two.port}`,
      'maxconn 100000': 'maxconn 100',
    })
    writeFileSync(join(made, 'haproxy.cfg'), config)
    await startProgram(['haproxy', '-db', '-f', join(made, 'haproxy.cfg')], port)
    const front = addressOf(port, '127.0.0.1', true)
    const seen = new Set<number>()
    while (seen.size < 2) {
      const { client, process: id } = await who(front)
      expect(client).toBe('127.0.0.1')
      seen.add(id)
    }
    // Until one of them is at the server that stops.
    const clients = [await Client.open(front, '/echo'), await Client.open(front, '/echo')]
    let hasEnded = false
    const ended = one.running.result().then((result) => {
      hasEnded = true
      return result
    })
    one.running.process.kill('SIGTERM')
    while (!hasEnded) await who(front)
    expect(await ended).toMatchObject({ code: 0, stderr: '' })
    for (let round = 0; round < 10; round++) expect((await who(front)).process).toBe(two.running.process.pid)
    const echoes = await Promise.race([
      Promise.all(clients.map((client) => client.closed())),
      Promise.any(clients.map((client) => client.ask('still here?'))),
    ])
    expect(echoes).toBe('still here?')
  })

  test.runIf(noNginx === '')(`serves behind nginx, which tells the client in a header${noNginx}`, async () => {
    const [one, two] = [await start(engine), await start(engine)]
    const [made, port] = [temporaryFolder(), await freePort()]
    const { key, cert } = localhostCertificate()
    writeFileSync(join(made, 'site.pem'), cert)
    writeFileSync(join(made, 'site.key'), key, { mode: 0o600 })
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    for (const name of temporary) mkdirSync(join(made, name))
    const config = changed(example('nginx.conf'), {
      'worker_rlimit_nofile 200000;': `daemon off; master_process off; pid ${made}/nginx.pid; error_log stderr;`,
      'worker_connections 100000;': 'worker_connections 100;',
      'http {': `http { access_log off; ${temporary.map((name) => `${name}_temp_path ${made}/${name};`).join(' ')}`,
      'listen 443 ssl': `listen 127.0.0.1:${port} ssl`,
      '/etc/nginx/site.pem': join(made, 'site.pem'),
      '/etc/nginx/site.key': join(made, 'site.key'),
      '127.0.0.1:7001': `127.0.0.1:${one.port}`,
      '127.0.0.1:7002': `127.0.0.1:${two.port}`,
    })
    writeFileSync(join(made, 'nginx.conf'), config)
    await startProgram(['nginx', '-e', 'stderr', '-p', made, '-c', join(made, 'nginx.conf')], port)
    const front = addressOf(port, '127.0.0.1', true)
    const seen = new Set<number>()
    while (seen.size < 2) {
      const { client, process: id } = await who(front)
      expect(client).toBe('127.0.0.1')
      seen.add(id)
    }
    const client = await Client.open(front, '/echo')
    expect(await client.ask('through nginx')).toBe('through nginx')
  })

  test.runIf(noCaddy === '')(`serves behind Caddy, which tells the client in a header${noCaddy}`, async () => {
    const [one, two] = [await start(engine), await start(engine)]
    const [made, port] = [temporaryFolder(), await freePort()]
    const config = changed(example('Caddyfile'), {
      // Without a name there is no certificate to get: an authority would have to be reached.
      'example.com {': `{\nadmin off\n}\nhttp://127.0.0.1:${port} {`,
      'reverse_proxy 127.0.0.1:7001 127.0.0.1:7002': `reverse_proxy 127.0.0.1:${one.port} 127.0.0.1:${two.port}`,
      'lb_policy least_conn': 'lb_policy round_robin',
    })
    writeFileSync(join(made, 'Caddyfile'), config)
    const command = ['caddy', 'run', '--adapter', 'caddyfile', '--config', join(made, 'Caddyfile')]
    await startProgram(command, port, { env: { ...OTHER_PROGRAM, HOME: made, XDG_DATA_HOME: made, XDG_CONFIG_HOME: made } })
    const front = addressOf(port)
    const seen = new Set<number>()
    while (seen.size < 2) {
      const { client, process: id } = await who(front)
      expect(client).toBe('127.0.0.1')
      seen.add(id)
    }
    const client = await Client.open(front, '/echo')
    expect(await client.ask('through Caddy')).toBe('through Caddy')
  })
})

describe('the units of systemd', () => {
  test.runIf(noAnalyze === '')(`are valid, and leave the service little to reach${noAnalyze}`, () => {
    const made = temporaryFolder()
    // It checks that the program is there.
    const service = changed(example('websocket.service'), { '/usr/bin/node /opt/websocket/server.mjs': process.execPath })
    writeFileSync(join(made, 'websocket.service'), service)
    writeFileSync(join(made, 'websocket.socket'), example('websocket.socket'))
    const units = ['websocket.service', 'websocket.socket'].map((name) => join(made, name))
    const verified = spawnSync('systemd-analyze', ['verify', '--man=no', ...units], { env: OTHER_PROGRAM, encoding: 'utf8' })
    // It also reads the units of the machine, whose faults are not ours.
    expect(verified.stderr.split('\n').filter((line) => line.includes('websocket'))).toEqual([])
    const security = spawnSync(
      'systemd-analyze',
      // A tenth of what counts as exposure: systemd's own word for below 2.0 is "OK" at most.
      ['security', '--offline=yes', '--no-pager', '--threshold=20', join(made, 'websocket.service')],
      { env: OTHER_PROGRAM, encoding: 'utf8' },
    )
    expect({ status: security.status, last: security.stdout.trim().split('\n').at(-1) }).toMatchObject({ status: 0 })
  })
})

describe('the Containerfile', () => {
  test('has nothing that a linter objects to, which would object to a fault', () => {
    const content = example('Containerfile')
    expect(validate(content)).toEqual([])
    const faulty = changed(content, { 'USER node': 'USRE node', 'EXPOSE 7000': 'EXPOSE all' })
    expect(validate(faulty).map(({ message }) => message)).toEqual(['Unknown instruction: USRE', 'Invalid containerPort: all'])
  })

  const lines = example('Containerfile')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
  const only = (instruction: string) =>
    lines.filter((line) => line.startsWith(`${instruction} `)).map((line) => line.slice(instruction.length + 1))

  test('has a stage that installs, and one that runs without a shell, as another user than root', () => {
    expect(only('FROM').map((line) => line.split(' AS ')[1])).toEqual(['packages', undefined])
    expect(only('USER')).toEqual(['node'])
    expect(only('CMD').map((line) => JSON.parse(line))).toEqual([['node', 'server.mjs']])
    const known = ['FROM', 'WORKDIR', 'COPY', 'RUN', 'ENV', 'USER', 'EXPOSE', 'HEALTHCHECK', 'STOPSIGNAL', 'CMD']
    for (const line of lines) expect(known).toContain(line.split(' ')[0])
  })

  test('makes a folder that serves, is found healthy, and stops at its signal', async () => {
    const app = temporaryFolder()
    // What `npm ci` leaves of the two packages, and of ws.
    const installed = join(app, 'node_modules/native-websocket-server')
    for (const name of ['package.json', 'dist']) cpSync(join(root, name), join(installed, name), { recursive: true })
    const addon = 'build/Release/native_websocket_server.node'
    if (existsSync(join(root, addon))) cpSync(join(root, addon), join(installed, addon))
    cpSync(join(root, 'node_modules/ws'), join(app, 'node_modules/ws'), { recursive: true })
    const copied = only('COPY').filter((line) => !line.startsWith('--from') && !line.includes('package.json'))
    expect(copied).toEqual(['server.mjs ./'])
    cpSync(join(folder, 'server.mjs'), join(app, 'server.mjs'))

    const port = await freePort()
    const env = { PORT: String(port), HOST: '127.0.0.1', DRAIN: '0', NATIVE_WEBSOCKET_SERVER_ENGINE: anyEngine }
    const [, ...arguments_] = JSON.parse(only('CMD')[0] ?? '[]') as string[]
    const running = new Running([process.execPath, ...arguments_], { cwd: app, env })
    expect(await running.line('where it listens')).toBe(`Listening on http://localhost:${port}`)
    const [, check = '[]'] = /CMD (\[.*\])$/.exec(only('HEALTHCHECK')[0] ?? '') ?? []
    const healthCheck = () =>
      spawnSync(process.execPath, (JSON.parse(check) as string[]).slice(1), { env: { ...process.env, PORT: String(port) } })
        .status
    expect(healthCheck()).toBe(0)
    running.process.kill(only('STOPSIGNAL')[0] as NodeJS.Signals)
    expect(await running.result()).toMatchObject({ code: 0, stderr: '' })
    expect(healthCheck()).toBe(1)
  })
})
