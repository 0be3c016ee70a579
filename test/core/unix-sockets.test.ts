/** Listening on a unix socket. */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { request as requestTls } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest'
import { ListenError, type ListenOptions, OptionError } from '../../src/index.js'
import { localhostCertificate } from '../support/certificates.js'
import { OTHER_PROGRAM, Running, runFixture } from '../support/child.js'
import { Client } from '../support/client.js'
import { type Address, describeEngines, type EngineName, makeServer, type ServeOptions } from '../support/engines.js'
import { withoutPrivileges } from '../support/privileges.js'
import { Queue, within } from '../support/waiting.js'

let folder: string
let path: string
let count = 0

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'nws-test-unix-'))
})
beforeEach(() => {
  count += 1
  path = join(folder, `${count}.sock`)
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/**
 * The address as the clients of `support` take it: they look at nothing but the URL. That of ws knows no such
 * URL with TLS.
 */
const at = (unix: string, secure = false): Address => ({
  host: '',
  port: 0,
  secure,
  wsUrl: (route = '/') => (secure ? `wss://localhost${route}` : `ws+unix:${unix}:${route}`),
  httpUrl: () => '',
})

async function get(unix: string, target: string, secure = false): Promise<{ status: number; body: string }> {
  const answer = new Promise<{ status: number; body: string }>((resolve, reject) => {
    const options = { socketPath: unix, path: target, agent: false as const }
    const call = secure ? requestTls({ ...options, ca: localhostCertificate().cert, servername: 'localhost' }) : request(options)
    call.on('error', reject).on('response', (response) => {
      let body = ''
      response.on('data', (chunk) => {
        body += chunk
      })
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }))
    })
    call.end()
  })
  return within(answer, `the answer to GET ${target}`)
}

async function refusal(engine: EngineName, options: ListenOptions): Promise<unknown> {
  const server = makeServer(engine)
  return server.listen(options).then(
    () => {
      throw new Error('nothing was refused')
    },
    (error: unknown) => error,
  )
}

/** A server on `path` that echoes. */
async function serveOn(engine: EngineName, unix: string, options: ServeOptions = {}) {
  const addresses = new Queue<string>()
  const server = makeServer(engine, options)
  server.ws('/*', {
    open: (socket) => addresses.push(socket.remoteAddress),
    message: (socket, message) => void socket.send(message),
  })
  server.get('/where', (asked) => Response.json({ url: asked.url, remoteAddress: asked.remoteAddress }))
  expect(await server.listen({ unix })).toEqual({ unix })
  return { server, addresses }
}

/** A connection for the client of ws. */
const overTls = () => connectTls({ path, ca: localhostCertificate().cert, servername: 'localhost' })

describeEngines('a unix socket', (engine) => {
  for (const secure of [false, true]) {
    const tls = secure ? ', with TLS' : ''
    test(`serves WebSocket and HTTP, and peers have no address${tls}`, async () => {
      const { addresses } = await serveOn(engine, path, secure ? { server: { tls: true } } : {})
      const client = await Client.open(at(path, secure), '/chat', secure ? { createConnection: overTls } : {})
      expect(await client.ask('hello')).toBe('hello')
      expect(await addresses.next('the client')).toBe('')
      expect((await get(path, '/health', secure)).body).toBe('{"status":"healthy"}')
      const where = JSON.parse((await get(path, '/where?a=b', secure)).body)
      expect(where).toEqual({ url: `http${secure ? 's' : ''}://localhost/where?a=b`, remoteAddress: '' })
    })
  }

  test('serves curl --unix-socket', async () => {
    await serveOn(engine, path)
    const curl = new Running(['curl', '--silent', '--unix-socket', path, 'http://app.example/where'], { env: OTHER_PROGRAM })
    const { stdout, code } = await curl.result()
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toEqual({ url: 'http://app.example/where', remoteAddress: '' })
  })

  test('is a socket while the server listens, and is gone when it has closed', async () => {
    const { server } = await serveOn(engine, path)
    expect(statSync(path).isSocket()).toBe(true)
    const client = await Client.open(at(path))
    await server.close()
    expect((await client.closed()).code).toBe(1001)
    expect(existsSync(path)).toBe(false)
  })

  test('can be listened on again after the close, and by two servers at different paths', async () => {
    const first = await serveOn(engine, path)
    await first.server.close()
    await serveOn(engine, path)
    await serveOn(engine, `${path}2`)
    expect((await get(path, '/health')).status).toBe(200)
    expect((await get(`${path}2`, '/health')).status).toBe(200)
  })

  test('has the permissions that the umask leaves', async () => {
    const before = process.umask(0o077)
    onTestFinished(() => {
      process.umask(before)
    })
    await serveOn(engine, path)
    expect((statSync(path).mode & 0o777).toString(8)).toBe('700')
  })

  test('may have a relative path', async () => {
    // The shortest way to a folder of one's own that is also right when tests run somewhere else.
    const before = process.cwd()
    const relative = join(join(...before.split('/').map(() => '..')), path)
    await serveOn(engine, relative)
    expect((await get(path, '/health')).status).toBe(200)
  })

  test('whose path is taken by a server is refused with EADDRINUSE, and that one serves on', async () => {
    await serveOn(engine, path)
    const error = await refusal(engine, { unix: path })
    expect(error).toBeInstanceOf(ListenError)
    expect(error).toMatchObject({ code: 'EADDRINUSE', unix: path, host: undefined, port: undefined })
    expect(String(error)).toContain(path)
    expect((await get(path, '/health')).status).toBe(200)
  })

  test('whose path is taken by a file is refused with EADDRINUSE, and the file stays', async () => {
    writeFileSync(path, 'precious')
    expect(await refusal(engine, { unix: path })).toMatchObject({ code: 'EADDRINUSE' })
    expect(statSync(path).isFile()).toBe(true)
  })

  test('in a folder that does not exist is refused with ENOENT', async () => {
    expect(await refusal(engine, { unix: join(folder, 'none', 'app.sock') })).toMatchObject({
      name: 'ListenError',
      code: 'ENOENT',
    })
  })

  test('in a folder that is a file is refused, with the reason', async () => {
    writeFileSync(path, '')
    const error = await refusal(engine, { unix: join(path, 'app.sock') })
    expect(error).toMatchObject({ name: 'ListenError', code: 'ERR_LISTEN', cause: { code: 'ENOTDIR' } })
  })

  test('in a folder that may not be written to is refused with EACCES', async () => {
    const locked = join(folder, `locked-${count}`)
    mkdirSync(locked)
    chmodSync(locked, 0o555)
    chmodSync(folder, 0o755)
    const error = await withoutPrivileges(() => refusal(engine, { unix: join(locked, 'app.sock') }))
    expect(error).toMatchObject({ name: 'ListenError', code: 'EACCES' })
  })

  const longest = process.platform === 'darwin' ? 103 : 107
  test('may have a path as long as the system allows, and no longer', async () => {
    const long = path.padEnd(longest, 'x')
    await serveOn(engine, long)
    expect((await get(long, '/health')).status).toBe(200)
    const error = await refusal(engine, { unix: `${long}x` })
    expect(error).toMatchObject({ name: 'ListenError', code: 'ENAMETOOLONG', unix: `${long}x` })
    // Bytes count, not characters.
    expect(await refusal(engine, { unix: path.padEnd(longest, 'ü') })).toMatchObject({ code: 'ENAMETOOLONG' })
  })

  test('is not both at once with a port', async () => {
    for (const more of [{ port: 0 }, { host: 'localhost' }, { reusePort: false }]) {
      // The cast lets through what TypeScript would refuse and JavaScript would not.
      const error = await refusal(engine, { unix: path, ...more } as unknown as ListenOptions)
      expect(error).toBeInstanceOf(OptionError)
    }
    expect(existsSync(path)).toBe(false)
  })

  test('after a failure it can be listened on elsewhere', async () => {
    const server = makeServer(engine)
    await expect(server.listen({ unix: join(folder, 'none', 'app.sock') })).rejects.toBeInstanceOf(ListenError)
    await server.listen({ unix: path })
    expect((await get(path, '/health')).status).toBe(200)
  })

  test('keeps the process alive, until unref, and is gone when the process has ended by itself', async () => {
    const { stdout, stderr, code } = await runFixture('unix-socket.mjs', { args: [engine, path] })
    expect({ stdout, stderr, code }).toEqual({ stdout: 'listening\n', stderr: '', code: 0 })
  })
})
