/** Several certificates on one port: which client gets which, and what each entry has of its own. */
import { connect as connectTcp, createServer, type Socket } from 'node:net'
import { beforeAll, expect, onTestFinished, test } from 'vitest'
import type { TlsOptions } from '../../src/index.js'
import { Authority, type Certificate } from '../support/certificates.js'
import { Client } from '../support/client.js'
import { type Address, describeEngines, type EngineName, serve } from '../support/engines.js'
import { request } from '../support/tls-client.js'

let authority: Authority
const certificates: Record<string, Certificate> = {}

beforeAll(() => {
  authority = Authority.make('the authority')
  for (const name of ['default', 'exact', 'wildcard', 'other'])
    certificates[name] = authority.issue({ name, hosts: ['example.com'] })
})

const entry = (name: string, more: Partial<TlsOptions> = {}): TlsOptions => {
  const certificate = certificates[name]
  if (certificate === undefined) throw new Error(`no certificate is named ${name}`)
  return { ...certificate, ...more }
}

const serveNames = (engine: EngineName, tls: readonly TlsOptions[]) =>
  serve(engine, { message: (socket, message) => void socket.send(message) }, { server: { tls } })

describeEngines('server names (SNI)', (engine) => {
  const entries = (): TlsOptions[] => [
    entry('default'),
    entry('exact', { serverName: 'chat.example.com' }),
    entry('wildcard', { serverName: '*.Example.com' }),
    entry('other', { serverName: 'other.example.org' }),
  ]
  const cases: [what: string, asked: string | undefined, got: string][] = [
    ['a name', 'chat.example.com', 'exact'],
    ['a name in other letters', 'CHAT.Example.COM', 'exact'],
    ['a name that a wildcard stands for', 'news.example.com', 'wildcard'],
    ['a name that a wildcard stands for, in other letters', 'NEWS.EXAMPLE.COM', 'wildcard'],
    ['a name with two labels in place of the wildcard', 'a.b.example.com', 'default'],
    ['a name with no label in place of the wildcard', 'example.com', 'default'],
    ['a name that only ends like a wildcard', 'badexample.com', 'default'],
    ['another name', 'other.example.org', 'other'],
    ['a name with the dot of an absolute one', 'chat.example.com.', 'exact'],
    ['a name with the dot of an absolute one, in other letters', 'Chat.EXAMPLE.com.', 'exact'],
    ['a name with that dot that a wildcard stands for', 'news.example.com.', 'wildcard'],
    ['a name with that dot and no label in place of the wildcard', 'example.com.', 'default'],
    ['a name with an empty label in place of the wildcard', '.example.com', 'default'],
    ['a name with two dots at its end', 'chat.example.com..', 'default'],
    ['a dot', '.', 'default'],
    ['an address', '127.0.0.1', 'default'],
    ['an unknown name', 'nobody.example.net', 'default'],
    ['a name of one label', 'localhost', 'default'],
    ['no name', undefined, 'default'],
  ]
  for (const [what, servername, got] of cases) {
    test(`${what} gets ${got === 'default' ? 'the first certificate' : `the one of its entry (${got})`}`, async () => {
      const served = await serveNames(engine, entries())
      const version = { minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' } as const
      for (const options of [{}, version]) {
        expect((await request(served, { ...options, ...(servername !== undefined && { servername }) })).certificate).toBe(got)
      }
    })
  }

  test('the first entry may have a name too, and stays the default', async () => {
    const served = await serveNames(engine, [
      entry('default', { serverName: 'a.example' }),
      entry('other', { serverName: 'b.example' }),
    ])
    for (const [servername, got] of [
      ['a.example', 'default'],
      ['b.example', 'other'],
      ['c.example', 'default'],
    ]) {
      expect((await request(served, { servername: String(servername) })).certificate).toBe(got)
    }
  })

  test('an only entry serves every client, whatever server name it sends', async () => {
    const served = await serveNames(engine, [entry('other', { serverName: 'b.example' })])
    expect((await request(served, { servername: 'somebody.example' })).certificate).toBe('other')
  })

  test('a WebSocket client that verifies the name is served', async () => {
    const served = await serveNames(engine, [
      entry('default'),
      { ...authority.issue({ name: 'verified', hosts: ['*.verified.example'] }), serverName: '*.verified.example' },
    ])
    const client = await Client.open(served, '/', { ca: authority.cert, servername: 'chat.verified.example' })
    expect(await client.ask('hello')).toBe('hello')
    const wrong = Client.open(served, '/', { ca: authority.cert, servername: 'a.b.verified.example' })
    await expect(wrong).rejects.toMatchObject({ code: 'ERR_TLS_CERT_ALTNAME_INVALID' })
  })

  test('each entry has its own oldest version', async () => {
    const served = await serveNames(engine, [
      entry('default', { minVersion: 'TLSv1.3' }),
      entry('other', { serverName: 'old.example' }),
      entry('exact', { serverName: 'new.example', minVersion: 'TLSv1.3' }),
    ])
    const old = { maxVersion: 'TLSv1.2' } as const
    expect((await request(served, { servername: 'old.example', ...old })).socket.getProtocol()).toBe('TLSv1.2')
    expect((await request(served, { servername: 'old.example' })).socket.getProtocol()).toBe('TLSv1.3')
    await expect(request(served, { servername: 'new.example', ...old })).rejects.toBeInstanceOf(Error)
    await expect(request(served, old)).rejects.toBeInstanceOf(Error)
    expect((await request(served, { servername: 'new.example' })).certificate).toBe('exact')
  })

  test('each entry has its own ciphers', async () => {
    const served = await serveNames(engine, [
      entry('default', { ciphers: 'ECDHE-ECDSA-AES128-GCM-SHA256' }),
      entry('other', { serverName: 'strong.example', ciphers: 'ECDHE-ECDSA-AES256-GCM-SHA384' }),
    ])
    const cipher = async (servername: string) =>
      (await request(served, { servername, maxVersion: 'TLSv1.2' })).socket.getCipher().name
    expect(await cipher('anything.example')).toBe('ECDHE-ECDSA-AES128-GCM-SHA256')
    expect(await cipher('strong.example')).toBe('ECDHE-ECDSA-AES256-GCM-SHA384')
  })

  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    test(`a session is resumed with its own entry, and not with another (${version})`, async () => {
      const served = await serveNames(engine, entries())
      const versions = { minVersion: version, maxVersion: version }
      const first = await request(served, { servername: 'chat.example.com', ...versions })
      const session = first.session()
      expect(session).toBeDefined()
      const again = await request(served, { servername: 'chat.example.com', session, ...versions })
      expect(again.resumed).toBe(true) // which shows no certificate again
      for (const [servername, certificate] of [
        ['news.example.com', 'wildcard'],
        ['nobody.example', 'default'],
      ]) {
        const elsewhere = await request(served, { servername: String(servername), session, ...versions })
        expect({ resumed: elsewhere.resumed, certificate: elsewhere.certificate }).toEqual({ resumed: false, certificate })
      }
    })
  }

  /**
   * Between client and server: passes on what the client sends as `cut` gives it out, one piece after the
   * other.
   */
  async function through(served: Address, cut: (bytes: Buffer) => Buffer[]): Promise<{ host: string; port: number }> {
    const sockets: Socket[] = []
    const middle = createServer((client) => {
      const server = connectTcp({ host: served.host, port: served.port, noDelay: true })
      sockets.push(client, server)
      server.on('error', () => client.destroy()).pipe(client)
      client.on('error', () => server.destroy())
      let sent = Promise.resolve()
      client.on('data', (bytes: Buffer) => {
        for (const piece of cut(bytes)) {
          // Each has left, and the loop has turned, before the next one.
          sent = sent.then(() => new Promise((resolve) => server.write(piece, () => setImmediate(resolve))))
        }
      })
    })
    onTestFinished(() => {
      middle.close()
      for (const socket of sockets) socket.destroy()
    })
    await new Promise<void>((resolve) => middle.listen(0, '127.0.0.1', resolve))
    const { port } = middle.address() as { port: number } // it listens on TCP
    return { host: '127.0.0.1', port }
  }

  test('a ClientHello that comes byte by byte is understood', async () => {
    const middle = await through(await serveNames(engine, entries()), (bytes) => [...bytes].map((byte) => Buffer.from([byte])))
    expect((await request(middle, { servername: 'chat.example.com' })).certificate).toBe('exact')
  })

  /** The ClientHello, which comes in one record, in records of so many bytes, with something before each. */
  const split = (bytes: Buffer, length: number, before = Buffer.alloc(0)): Buffer[] => {
    const body = bytes.subarray(5) // behind type, version and length
    const records: Buffer[] = []
    for (let at = 0; at < body.length; at += length) {
      const part = body.subarray(at, at + length)
      records.push(Buffer.concat([before, bytes.subarray(0, 3), Buffer.from([part.length >> 8, part.length & 0xff]), part]))
    }
    return records
  }

  /** Lets `change` have the first bytes that the client sends. */
  const first = (change: (bytes: Buffer) => Buffer[]) => {
    let isFirst = true
    return (bytes: Buffer) => {
      if (!isFirst) return [bytes]
      isFirst = false
      return change(bytes)
    }
  }

  for (const length of [1, 7, 50]) {
    test(`a ClientHello in records of ${length} bytes is understood`, async () => {
      const served = await serveNames(engine, entries())
      const middle = await through(
        served,
        first((bytes) => [Buffer.concat(split(bytes, length))]),
      )
      expect((await request(middle, { servername: 'chat.example.com' })).certificate).toBe('exact')
    })
  }

  const between: [what: string, bytes: number[]][] = [
    ['empty records', [22, 3, 1, 0, 0]],
    ['alerts', [21, 3, 1, 0, 2, 1, 0]],
    ['ChangeCipherSpec', [20, 3, 1, 0, 1, 1]],
  ]
  for (const [what, bytes] of between) {
    test(`a ClientHello with ${what} before its records does not get another certificate`, async () => {
      const served = await serveNames(engine, entries())
      for (const length of [16_000, 100]) {
        const middle = await through(
          served,
          first((hello) => [Buffer.concat(split(hello, length, Buffer.from(bytes)))]),
        )
        const got = await request(middle, { servername: 'chat.example.com' }).then(
          ({ certificate }) => certificate,
          () => 'refused',
        )
        expect(['exact', 'refused']).toContain(got)
      }
    })
  }

  test('a connection that begins with no ClientHello is cut, and harms no other', async () => {
    const served = await serveNames(engine, entries())
    const witness = await Client.open(served, '/', { rejectUnauthorized: false, servername: 'chat.example.com' })
    const nonsense = [
      'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n',
      Buffer.alloc(2000, 0xff),
      Buffer.from([22, 3, 1, 0, 0]), // an empty record
      // Lengths that lead nowhere.
      Buffer.concat([Buffer.from([22, 3, 1, 0, 60, 1, 0, 0, 56]), Buffer.alloc(56, 0xff)]),
      // A message of another type.
      Buffer.concat([Buffer.from([22, 3, 1, 0, 8, 2, 0, 0, 4]), Buffer.alloc(4)]),
      // One of 16 MiB.
      Buffer.concat([Buffer.from([22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff]), Buffer.alloc(0x4000)]),
    ]
    for (const bytes of nonsense) {
      const socket = connectTcp({ host: served.host, port: served.port })
      const closed = new Promise((resolve) => socket.once('close', resolve))
      socket.on('error', () => {})
      socket.resume()
      socket.end(bytes)
      await closed
    }
    expect(await witness.ask('undisturbed')).toBe('undisturbed')
  })
})
