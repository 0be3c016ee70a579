/** `listen({ fd })`: sockets that were opened elsewhere, as systemd and parent processes pass them. */
import { spawnSync } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { closeSync, existsSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { ListenError } from '../../src/index.js'
import { localhostCertificate } from '../support/certificates.js'
import { Child, OTHER_PROGRAM, Running } from '../support/child.js'
import { Client } from '../support/client.js'
import { addressOf, describeEngines, type EngineName, makeServer } from '../support/engines.js'
import { http } from '../support/http.js'
import { RawClient } from '../support/raw-client.js'

/** What this file knows of Node's servers and sockets, and Node documents nowhere. */
interface WithHandle {
  readonly _handle: { readonly fd: number }
}

function descriptorOf(owner: object): number {
  return (owner as WithHandle)._handle.fd
}

/** A server of this process that listens, and that never accepts for a child: the child gets its socket. */
async function listening(where: { port: number; host: string } | { path: string }): Promise<Server> {
  const holder = createServer()
  await new Promise<void>((resolve) => holder.listen(where, resolve))
  return holder
}

function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'nws-test-fd-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

function portOf(server: Server): number {
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('a TCP server has a port')
  return address.port
}

/** A child that has the server's socket as its descriptor 3; this process keeps none. */
function pass(holder: Server, args: readonly string[]): Child {
  const child = new Child('inherited-socket.mjs', { args, inherits: [descriptorOf(holder)] })
  holder.close()
  return child
}

describeEngines('listening on a descriptor', (engine) => {
  for (const tls of [false, true]) {
    test(`serves a port that another process has opened, and closes the descriptor at the end (${tls ? 'TLS' : 'plain'})`, async () => {
      const holder = await listening({ port: 0, host: '127.0.0.1' })
      const port = portOf(holder)
      const files: string[] = []
      if (tls) {
        const folder = temporaryFolder()
        const { key, cert } = localhostCertificate()
        files.push(join(folder, 'key.pem'), join(folder, 'cert.pem'))
        writeFileSync(files[0] ?? '', key)
        writeFileSync(files[1] ?? '', cert)
      }
      const child = pass(holder, [engine, '[]', ...files])
      expect(JSON.parse(await child.line('where it listens'))).toEqual({ fd: 3, port, host: '127.0.0.1' })
      const address = addressOf(port, '127.0.0.1', tls)
      const client = await Client.open(address)
      expect(await client.ask('inherited')).toBe('inherited')
      child.process.stdin?.end()
      expect(JSON.parse(await child.line('the state of the descriptor'))).toEqual({ isOpen: false })
      expect(await child.result()).toMatchObject({ code: 0, stderr: '' })
      expect(await client.closed()).toMatchObject({ code: 1001 })
    })
  }

  test('serves a unix socket, whose file stays', async () => {
    const path = join(temporaryFolder(), 'app.sock')
    // Node removes the file with its own server: the child must have the socket, and the file another name.
    const holder = await listening({ path })
    const child = new Child('inherited-socket.mjs', { args: [engine], inherits: [descriptorOf(holder)] })
    onTestFinished(() => void holder.close())
    expect(JSON.parse(await child.line('where it listens'))).toEqual({ fd: 3 })
    child.process.stdin?.end()
    expect(JSON.parse(await child.line('the state of the descriptor'))).toEqual({ isOpen: false })
    expect(existsSync(path)).toBe(true)
    expect(await child.result()).toMatchObject({ code: 0, stderr: '' })
  })

  test('stands beside other addresses', async () => {
    const holder = await listening({ port: 0, host: '127.0.0.1' })
    const child = pass(holder, [engine, JSON.stringify([{ port: 0, host: '127.0.0.1' }])])
    const places = JSON.parse(await child.line('where it listens')) as { port: number }[]
    expect(places).toEqual([
      { fd: 3, port: expect.any(Number), host: '127.0.0.1' },
      { port: expect.any(Number), host: '127.0.0.1' },
    ])
    for (const { port } of places) expect((await http(addressOf(port), '/health')).status).toBe(200)
  })

  test('is closed with the rest when another address cannot be had', async () => {
    const taken = await listening({ port: 0, host: '127.0.0.1' })
    onTestFinished(() => void taken.close())
    const holder = await listening({ port: 0, host: '127.0.0.1' })
    const port = portOf(holder)
    const child = pass(holder, [engine, JSON.stringify([{ port: portOf(taken), host: '127.0.0.1' }])])
    expect(JSON.parse(await child.line('the error'))).toEqual({
      name: 'ListenError',
      code: 'EADDRINUSE',
      port: portOf(taken),
    })
    expect(await child.result()).toMatchObject({ code: 0, stderr: '' })
    await expect(RawClient.connect(addressOf(port))).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  })

  test('is refused with EINVAL for a connected socket', async () => {
    const child = new Child('inherited-socket.mjs', { args: [engine], inherits: ['pipe'] })
    expect(JSON.parse(await child.line('the error'))).toEqual({ name: 'ListenError', code: 'EINVAL', fd: 3 })
    expect(await child.result()).toMatchObject({ code: 0, stderr: '' })
  })

  test('is refused with EINVAL for UDP', async () => {
    const datagrams = createSocket('udp4')
    await new Promise<void>((resolve) => datagrams.bind(0, '127.0.0.1', resolve))
    onTestFinished(() => void datagrams.close())
    const { fd } = (datagrams as unknown as Record<symbol, { handle: { fd: number } }>)[
      Object.getOwnPropertySymbols(datagrams).find((symbol) => symbol.description === 'state symbol') as symbol
    ]?.handle ?? { fd: -1 }
    const child = new Child('inherited-socket.mjs', { args: [engine], inherits: [fd] })
    expect(JSON.parse(await child.line('the error'))).toEqual({ name: 'ListenError', code: 'EINVAL', fd: 3 })
  })

  test('is refused with ENOTSOCK for a file, which stays open', async () => {
    const path = join(temporaryFolder(), 'file')
    const fd = openSync(path, 'w')
    const error = await makeServer(engine)
      .listen({ fd })
      .catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(ListenError)
    expect(error).toMatchObject({ code: 'ENOTSOCK', fd, port: undefined, host: undefined, unix: undefined })
    expect(String(error)).toContain(`cannot listen on the file descriptor ${fd}: `)
    closeSync(fd)
  })

  test('is refused with EBADF for a descriptor that is not open, and the server may listen elsewhere', async () => {
    const server = makeServer(engine)
    await expect(server.listen({ fd: 2 ** 31 - 1 })).rejects.toMatchObject({ code: 'EBADF', fd: 2 ** 31 - 1 })
    const { port } = await server.listen({ host: '127.0.0.1' })
    expect((await http(addressOf(port), '/health')).status).toBe(200)
  })

  test('is refused with EEXIST for a socket that Node serves, which goes on', async () => {
    const holder = await listening({ port: 0, host: '127.0.0.1' })
    onTestFinished(() => void holder.close())
    const fd = descriptorOf(holder)
    await expect(makeServer(engine).listen({ fd })).rejects.toMatchObject({ code: 'EEXIST', fd })
    const greeted = new Promise<string>((resolve, reject) => {
      connect(portOf(holder), '127.0.0.1')
        .once('data', (chunk) => resolve(String(chunk)))
        .once('error', reject)
    })
    holder.once('connection', (socket) => socket.end('still mine'))
    expect(await greeted).toBe('still mine')
  })
})

const noActivation =
  spawnSync('systemd-socket-activate', ['--version'], { env: OTHER_PROGRAM }).status === 0
    ? ''
    : ' (skipped: no systemd-socket-activate on this machine)'

describeEngines('socket activation', (engine: EngineName) => {
  test.runIf(noActivation === '')(`a program starts with its first client${noActivation}`, async () => {
    const holder = await listening({ port: 0, host: '127.0.0.1' })
    const port = portOf(holder)
    await new Promise((resolve) => holder.close(resolve))
    const fixture = join(import.meta.dirname, '../fixtures/inherited-socket.mjs')
    const activated = new Running(
      ['systemd-socket-activate', '--listen', `127.0.0.1:${port}`, process.execPath, fixture, engine],
      { env: OTHER_PROGRAM },
    )
    const ended = activated.result().then(({ stderr }) => {
      throw new Error(`the program has ended: ${stderr}`)
    })
    ended.catch(() => {}) // it is killed in the end
    let client: Client | undefined
    while (client === undefined) {
      client = await Promise.race([Client.open(addressOf(port)).catch(() => undefined), ended])
      // Nothing tells that it listens.
      if (client === undefined) await wait(20)
    }
    expect(await client.ask('who woke you?')).toBe('who woke you?')
    expect(JSON.parse(await activated.line('where it listens'))).toEqual({ fd: 3, port, host: '127.0.0.1' })
  })
})
