/** `consolePage()`: what it serves. What it does in a browser is in test/ecosystem/console.test.mjs. */
import { expect, test } from 'vitest'
import { consolePage, OptionError } from '../../src/index.js'
import { Client } from '../support/client.js'
import { startCommand } from '../support/command.js'
import { describeEngines, serve } from '../support/engines.js'
import { http } from '../support/http.js'

describeEngines('the console page', (engine) => {
  test('serves its HTML without inline code, its style and its script, all under one policy', async () => {
    const served = await serve(engine, {}, { routes: (server) => server.get('/console', consolePage()) })
    const get = async (query: string) => {
      const { status, headers, body } = await http(served, `/console${query}`)
      expect(status).toBe(200)
      expect(headers['content-security-policy']).toContain("default-src 'none'; script-src 'self'; style-src 'self';")
      expect(headers).toMatchObject({ 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' })
      return { type: headers['content-type'], text: body.toString() }
    }
    const { type, text } = await get('')
    expect(type).toBe('text/html; charset=utf-8')
    expect(text).toContain('<link rel="stylesheet" href="?style">')
    expect(text).toMatch(/<script type="module" src="\?script"><\/script>\n<\/body>/)
    expect(text).not.toMatch(/<style>|new WebSocket| on[a-z]+="| style="/)
    expect(await get('?style')).toMatchObject({
      type: 'text/css; charset=utf-8',
      text: expect.stringContaining('prefers-color-scheme'),
    })
    expect(await get('?script')).toMatchObject({
      type: 'text/javascript; charset=utf-8',
      text: expect.stringContaining('new WebSocket'),
    })
  })

  test('tells how many connections there are, and refuses whom `allow` refuses', async () => {
    const served = await serve(
      engine,
      {},
      { routes: (server) => server.get('/console', consolePage()).get('/closed', consolePage({ allow: () => false })) },
    )
    await Client.openMany(served, 2)
    const stats: unknown = JSON.parse((await http(served, '/console?stats')).body.toString())
    expect(stats).toEqual({ engine, connections: 2, waitingBytes: 0 })
    for (const query of ['', '?script', '?stats']) expect((await http(served, `/closed${query}`)).status).toBe(403)
  })

  test('is what the command shows at its root', async () => {
    const command = await startCommand(engine)
    const { status, body } = await http(command, '/')
    expect([status, body.toString().includes('<title>WebSocket console</title>')]).toEqual([200, true])
    expect((await http(command, '/elsewhere')).status).toBe(426)
  })
})

test('the options of the console page are checked', () => {
  for (const options of [{ allow: true }, { title: 'x' }, null]) {
    expect(() => consolePage(options as never), JSON.stringify(options)).toThrow(OptionError)
  }
})
