/** docs/tutorial.md and the how-to pages: their code is run or compiled. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { connect } from 'node:tls'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { localhostCertificate, makeCertificate } from '../support/certificates.js'
import { Running } from '../support/child.js'
import { Client, refusal } from '../support/client.js'
import { addressOf, describeEngines } from '../support/engines.js'
import { http } from '../support/http.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
const TUTORIAL = readFileSync(join(root, 'docs/tutorial.md'), 'utf8')

/** The files of the tutorial, by name, and the one block that is a step on the way. */
const files = [...TUTORIAL.matchAll(/^```js file=(\S+)\n([\s\S]*?)^```$/gm)].map(
  ([, name = '', code = '']) => [name, code] as const,
)
const [, echo = ''] = /^```js step\n([\s\S]*?)^```$/m.exec(TUTORIAL) ?? []

/** Within the package, so that its own name and `ws` resolve as in a project that depends on them. */
function project(contents: readonly (readonly [string, string])[]): string {
  mkdirSync(join(root, 'build'), { recursive: true })
  const folder = mkdtempSync(join(root, 'build', 'tutorial-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  for (const [name, content] of contents) writeFileSync(join(folder, name), content)
  return folder
}

test('every block of JavaScript of the tutorial is one that is run here', () => {
  expect(files.map(([name]) => name)).toEqual(['chat.mjs', 'login.mjs', 'chat.test.mjs', 'server.mjs'])
  expect([...TUTORIAL.matchAll(/^```js/gm)]).toHaveLength(files.length + 1)
})

describeEngines('the tutorial', (engine) => {
  const env = { PORT: '0', NATIVE_WEBSOCKET_SERVER_ENGINE: engine }

  test('its first program is an echo', async () => {
    const running = new Running([process.execPath, 'server.mjs'], { cwd: project([['server.mjs', echo]]), env })
    const port = Number(/:(\d+)$/.exec(await running.line('where it listens'))?.[1])
    expect(await (await Client.open(addressOf(port))).ask('hello')).toBe('hello')
  })

  test('its tests pass', async () => {
    const running = new Running([process.execPath, '--test', '--test-reporter=tap', 'chat.test.mjs'], {
      cwd: project(files),
      env,
    })
    const { code, stdout } = await running.result()
    expect({ code, passed: /^# pass (\d+)$/m.exec(stdout)?.[1] ?? stdout }).toEqual({ code: 0, passed: '3' })
  })

  test('its server speaks TLS, keeps other sites out, and stops at SIGTERM when it has drained', async () => {
    const { key, cert } = localhostCertificate()
    const cwd = project([...files, ['key.pem', key], ['cert.pem', cert]])
    const settings = { KEY: 'key.pem', CERT: 'cert.pem', ORIGIN: 'https://chat.example', DRAIN: '300' }
    const running = new Running([process.execPath, 'server.mjs'], { cwd, env: { ...env, ...settings } })
    const port = Number(/^Listening on https:\/\/localhost:(\d+)$/.exec(await running.line('where it listens'))?.[1])
    const address = addressOf(port, 'localhost', true)
    expect(await refusal(address, '/chat/lobby', { origin: 'https://other.example' })).toBe(403)
    const answer = await http(address, '/login', { method: 'POST', body: JSON.stringify({ name: 'Ann' }) })
    expect(answer.status).toBe(204)
    const cookie = String(answer.headers['set-cookie']).split(';')[0] ?? ''
    const client = await Client.open(address, '/chat/lobby', { headers: { cookie }, origin: 'https://chat.example' })
    expect(JSON.parse(String(await client.next()))).toEqual({ from: 'Ann', event: 'joined' })
    running.process.kill('SIGHUP')
    expect((await http(address, '/health')).status).toBe(200)
    running.process.kill('SIGTERM')
    while ((await http(address, '/health')).status !== 503);
    expect(await client.closed()).toEqual({ code: 1012, reason: 'the chat restarts' })
    expect(await running.result()).toMatchObject({ code: 0, stderr: '' })
  })
})

const ACME = readFileSync(join(root, 'docs/how-to/acme.md'), 'utf8')
const [, renewing = ''] = /^```ts\n([\s\S]*?)^```$/m.exec(ACME) ?? []

describeEngines('the program of docs/how-to/acme.md', (engine) => {
  test('shows a renewed certificate after SIGHUP, keeps its clients, and keeps the old one where files do not fit', async () => {
    const [first, renewed, other] = [makeCertificate(), makeCertificate(), makeCertificate()]
    const folder = project([
      ['privkey.pem', first.key],
      ['fullchain.pem', first.cert],
    ])
    // In place of port 443 and certbot's folder; it prints where it listens.
    const program = renewing
      .replace("'/etc/letsencrypt/live/example.com'", JSON.stringify(folder))
      .replace('await server.listen({ port: 443 })', "console.log((await server.listen({ port: 0, host: '127.0.0.1' })).port)")
    writeFileSync(join(folder, 'server.mjs'), program)
    const env = { NATIVE_WEBSOCKET_SERVER_ENGINE: engine }
    const running = new Running([process.execPath, 'server.mjs'], { cwd: folder, env })
    const port = Number(await running.line('its port'))
    /** The certificate that a new client is shown. */
    const shown = () =>
      new Promise<string | undefined>((resolve, reject) => {
        const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false }, () => {
          resolve(socket.getPeerX509Certificate()?.toString())
          socket.destroy()
        }).on('error', reject)
      })
    const client = await Client.open(addressOf(port, '127.0.0.1', true), '/', { ca: first.cert })
    expect(await shown()).toBe(first.cert)

    writeFileSync(join(folder, 'privkey.pem'), renewed.key)
    writeFileSync(join(folder, 'fullchain.pem'), renewed.cert)
    running.process.kill('SIGHUP')
    while ((await shown()) === first.cert);
    expect(await shown()).toBe(renewed.cert)
    expect(await client.ask('still here?')).toBe('still here?')

    // As if the key had been written, and the certificate not yet.
    writeFileSync(join(folder, 'privkey.pem'), other.key)
    let errors = ''
    running.process.stderr?.on('data', (data) => {
      errors += data
    })
    running.process.kill('SIGHUP')
    while (!errors.includes('The old certificate stays: TlsError')) await client.ask('again')
    expect(await shown()).toBe(renewed.cert)
  })
})
