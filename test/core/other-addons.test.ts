/** Other addons on the loop of libuv, on which the server waits in a place of its own. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Child } from '../support/child.js'
import { Client } from '../support/client.js'
import { addressOf, describeEngines } from '../support/engines.js'

/** Node's own headers, which its packages bring, unlike some distributions'. */
const headers = join(dirname(process.execPath), '..', 'include', 'node')
const why = existsSync(join(headers, 'uv.h')) ? undefined : `${headers} has no uv.h`

let folder = ''
let addon = ''

beforeAll(() => {
  if (why !== undefined) return
  folder = mkdtempSync(join(tmpdir(), 'other-addon-'))
  addon = join(folder, 'loop.node')
  const source = fileURLToPath(new URL('../fixtures/loop-addon.c', import.meta.url))
  const undefinedIsFine = process.platform === 'darwin' ? ['-undefined', 'dynamic_lookup'] : []
  execFileSync('cc', ['-shared', '-fPIC', ...undefinedIsFine, `-I${headers}`, source, '-o', addon])
})
afterAll(() => {
  if (folder !== '') rmSync(folder, { recursive: true })
})

describeEngines(`beside another addon${why === undefined ? '' : ` (skipped: ${why})`}`, (engine) => {
  async function start() {
    const child = new Child('other-addon.mjs', { args: [engine, addon] })
    const client = await Client.open(addressOf(Number(await child.line('its port'))))
    const ask = async (what: string) => {
      client.send(what)
      return JSON.parse(String(await client.next(`the answer to "${what}"`)))
    }
    return { ask }
  }

  for (const phase of ['prepare', 'check'] as const) {
    test.skipIf(why !== undefined)(`its handle of the ${phase} phase runs in every iteration`, async () => {
      const { ask } = await start()
      const runs = phase === 'prepare' ? 'prepared' : 'checked'
      await ask(phase)
      // Where the server waits for its sockets by itself, it looks for such handles every 100 ms.
      let before = await ask('nothing')
      while (before[runs] === 0) before = await ask('nothing')
      for (let n = 0; n < 20; n++) await ask('nothing')
      const after = await ask('nothing')
      expect(after[runs] - before[runs]).toBeGreaterThanOrEqual(20)
    })
  }

  test.skipIf(why !== undefined)('a run of the loop that is not to wait does not, inside a callback', async () => {
    const { ask } = await start()
    expect(await ask('run')).toBe(false)
    // The server goes on.
    expect(await ask('nothing')).toMatchObject({ prepared: 0 })
  })
})
