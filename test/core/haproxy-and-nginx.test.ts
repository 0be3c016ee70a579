/**
 * Real proxies in front of the server: HAProxy, which speaks PROXY v2, and nginx as a reverse proxy for
 * WebSockets.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { localhostCertificate } from '../support/certificates.js'
import { OTHER_PROGRAM, Running } from '../support/child.js'
import { Client } from '../support/client.js'
import { type Address, addressOf, describeEngines, type EngineName, makeServer, type ServeOptions } from '../support/engines.js'
import { http } from '../support/http.js'
import { Deferred, PATIENCE, within } from '../support/waiting.js'

/** Appended to a title when a program is not here. Debian has both in packages of their names. */
function absence(program: string, flag: string): string {
  const { status } = spawnSync(program, [flag], { env: OTHER_PROGRAM })
  return status === 0 ? '' : ` (skipped: no ${program} on this machine)`
}
const noHaproxy = absence('haproxy', '-v')
const noNginx = absence('nginx', '-v')

/** A port that was free a moment ago. */
async function freePort(): Promise<number> {
  const holder = createServer()
  await new Promise<void>((resolve) => holder.listen(0, '127.0.0.1', resolve))
  const { port } = holder.address() as { port: number } // it listens on TCP
  await new Promise((resolve) => holder.close(resolve))
  return port
}

function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'nws-test-proxies-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** Runs a proxy in the foreground, and waits until it accepts connections on the port. */
async function startProxy(command: readonly string[], port: number): Promise<void> {
  const running = new Running(command, { env: OTHER_PROGRAM })
  const deadline = Date.now() + PATIENCE
  let isUp = false
  const ended = running.result().then(({ code, stderr }) => {
    if (!isUp) throw new Error(`${command[0]} ended with ${code}: ${stderr}`)
  })
  ended.catch(() => {}) // reported below, or the test is over
  while (!isUp && Date.now() < deadline) {
    const attempt = new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1')
      socket.once('connect', () => resolve(true)).once('error', () => setTimeout(resolve, 20, false))
      socket.once('connect', () => socket.destroy())
    })
    isUp = await Promise.race([attempt, ended.then(() => false)])
  }
  if (!isUp) throw new Error(`${command[0]} did not start: ${(await running.result()).stderr}`)
}

/** Serves echo, and an answer with what it knows of the client. */
async function serveEcho(
  engine: EngineName,
  options: ServeOptions['server'],
  where: { unix: string } | { port: number; host: string },
) {
  const server = makeServer(engine, { server: { ...options } })
  server.ws<string>('/echo', {
    upgrade: ({ proxiedAddress = 'nobody', headers }) => ({ data: headers.get('x-forwarded-for') ?? proxiedAddress }),
    message: (socket, message) => void socket.send(typeof message === 'string' ? `${socket.data}: ${message}` : message),
  })
  server.get('/who', ({ proxiedAddress = null, remoteAddress, url }) => Response.json({ proxiedAddress, remoteAddress, url }))
  const listening = await server.listen(where)
  return { server, port: listening.port ?? 0 }
}

/**
 * HAProxy on a free port, in front of `target`; `mode` and `options` are HAProxy's. Gives its address, and
 * when it has found the target healthy.
 */
async function startHaproxy(target: string, { mode = 'tcp', bind = '', server = '', backend = '' } = {}): Promise<number> {
  const folder = temporaryFolder()
  const port = await freePort()
  const config = [
    'defaults',
    `  mode ${mode}`,
    '  timeout connect 10s',
    '  timeout client 60s',
    '  timeout server 60s',
    '  timeout tunnel 60s',
    'frontend front',
    `  bind 127.0.0.1:${port} ${bind}`,
    '  default_backend back',
    'backend back',
    backend,
    `  server app ${target} send-proxy-v2 ${server}`,
  ]
  writeFileSync(join(folder, 'haproxy.cfg'), `${config.filter(Boolean).join('\n')}\n`)
  await startProxy(['haproxy', '-db', '-f', join(folder, 'haproxy.cfg')], port)
  return port
}

async function startNginx(upstream: string): Promise<number> {
  const folder = temporaryFolder()
  const port = await freePort()
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  for (const name of temporary) mkdirSync(join(folder, name))
  const isRoot = process.getuid?.() === 0
  writeFileSync(
    join(folder, 'nginx.conf'),
    `daemon off;
     master_process off;
     ${isRoot ? 'user root;' : ''}
     pid ${folder}/nginx.pid;
     error_log stderr;
     events { }
     http {
       access_log off;
       ${temporary.map((name) => `${name}_temp_path ${folder}/${name};`).join('\n')}
       map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
       upstream app { server ${upstream}; keepalive 8; }
       server {
         listen 127.0.0.1:${port};
         location / {
           proxy_pass http://app;
           proxy_http_version 1.1;
           proxy_set_header Host $http_host;
           proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
           proxy_set_header Upgrade $http_upgrade;
           proxy_set_header Connection $connection_upgrade;
         }
       }
     }`,
  )
  await startProxy(['nginx', '-e', 'stderr', '-p', folder, '-c', join(folder, 'nginx.conf')], port)
  return port
}

/** What any client sees through any proxy. */
async function expectEcho(address: Address, name: string): Promise<void> {
  const client = await Client.open(address, '/echo')
  expect(await client.ask('hello')).toBe(`${name}: hello`)
  const large = Buffer.alloc(300_000, 'large')
  expect(large.equals(Buffer.from((await client.ask(large)) as Buffer))).toBe(true) // binary was sent
  client.socket.ping('are you there?')
  expect((await client.pongs.next('the Pong')).toString()).toBe('are you there?')
  client.socket.close(3000, 'enough')
  expect(await client.closed()).toEqual({ code: 3000, reason: 'enough' })
}

const LOCAL = { port: 0, host: '127.0.0.1' }

describeEngines('behind HAProxy', (engine) => {
  const check = test.runIf(noHaproxy === '')

  check(`plain connections tell their client by PROXY v2${noHaproxy}`, async () => {
    const { port } = await serveEcho(engine, { proxyProtocol: true }, LOCAL)
    const front = addressOf(await startHaproxy(`127.0.0.1:${port}`))
    await expectEcho(front, '127.0.0.1')
    const who = JSON.parse((await http(front, '/who')).body.toString())
    expect(who).toEqual({ proxiedAddress: '127.0.0.1', remoteAddress: '127.0.0.1', url: front.httpUrl('/who') })
  })

  check(`TLS passes through it, the header in front${noHaproxy}`, async () => {
    const { port } = await serveEcho(engine, { proxyProtocol: true, tls: localhostCertificate() }, LOCAL)
    const front = addressOf(await startHaproxy(`127.0.0.1:${port}`), '127.0.0.1', true)
    await expectEcho(front, '127.0.0.1')
    expect(JSON.parse((await http(front, '/who')).body.toString())).toMatchObject({ proxiedAddress: '127.0.0.1' })
  })

  check(`it ends TLS and speaks HTTP to the server${noHaproxy}`, async () => {
    const { port } = await serveEcho(engine, { proxyProtocol: true }, LOCAL)
    const folder = temporaryFolder()
    const { key, cert } = localhostCertificate()
    writeFileSync(join(folder, 'both.pem'), cert + key, { mode: 0o600 })
    const bind = `ssl crt ${join(folder, 'both.pem')}`
    const front = addressOf(await startHaproxy(`127.0.0.1:${port}`, { mode: 'http', bind }), '127.0.0.1', true)
    await expectEcho(front, '127.0.0.1')
  })

  check(`on a unix socket${noHaproxy}`, async () => {
    const unix = join(temporaryFolder(), 'app.sock')
    await serveEcho(engine, { proxyProtocol: true }, { unix })
    const front = addressOf(await startHaproxy(`unix@${unix}`))
    await expectEcho(front, '127.0.0.1')
    expect(JSON.parse((await http(front, '/who')).body.toString())).toMatchObject({
      proxiedAddress: '127.0.0.1',
      remoteAddress: '',
    })
  })

  check(`its own health checks (LOCAL) are answered${noHaproxy}`, async () => {
    const asked = new Deferred<string | undefined>()
    const server = makeServer(engine, { server: { proxyProtocol: true, health: false } })
    server.get('/health', ({ proxiedAddress }) => {
      asked.resolve(proxiedAddress)
      return new Response('well')
    })
    const { port = 0 } = await server.listen(LOCAL)
    const options = {
      mode: 'http',
      // Without a timeout of its own, a check that took longer than `inter` would find the server down.
      backend: [
        '  timeout check 20s',
        '  option httpchk',
        '  http-check send meth GET uri /health ver HTTP/1.1 hdr Host localhost',
      ].join('\n'),
      server: 'check inter 100ms rise 1 fall 3 check-send-proxy',
    }
    const front = addressOf(await startHaproxy(`127.0.0.1:${port}`, options))
    expect(await within(asked.promise, 'the health check')).toBeUndefined()
    expect((await http(front, '/health')).body.toString()).toBe('well')
  })
})

describeEngines('behind nginx', (engine) => {
  const check = test.runIf(noNginx === '')

  check(`WebSockets and requests pass, the client named by a header${noNginx}`, async () => {
    const { port } = await serveEcho(engine, {}, LOCAL)
    const front = addressOf(await startNginx(`127.0.0.1:${port}`))
    await expectEcho(front, '127.0.0.1')
    // One after the other on connections that nginx keeps.
    for (let round = 0; round < 20; round++) {
      const who = JSON.parse((await http(front, '/who')).body.toString())
      expect(who).toEqual({ proxiedAddress: null, remoteAddress: '127.0.0.1', url: front.httpUrl('/who') })
    }
  })

  check(`on a unix socket${noNginx}`, async () => {
    const unix = join(temporaryFolder(), 'app.sock')
    await serveEcho(engine, {}, { unix })
    await expectEcho(addressOf(await startNginx(`unix:${unix}`)), '127.0.0.1')
  })

  check(`its clients are told that the server closes${noNginx}`, async () => {
    const { server, port } = await serveEcho(engine, {}, LOCAL)
    const client = await Client.open(addressOf(await startNginx(`127.0.0.1:${port}`)), '/echo')
    await server.close({ code: 1012, reason: 'new version' })
    expect(await client.closed()).toEqual({ code: 1012, reason: 'new version' })
  })
})
