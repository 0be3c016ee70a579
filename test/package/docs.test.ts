/** The reference by symbol, and the guides that name its symbols: neither may say what the code does not. */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))

test('docs/api.md says what the docstrings say, and every public symbol and member has one', () => {
  const { status, stderr } = spawnSync(process.execPath, [join(root, 'scripts', 'docs.mjs'), '--check'], { encoding: 'utf8' })
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
})

test('docs/migrating.md leads to members that there are', async () => {
  const script = '../../scripts/docs/api.mjs'
  const { membersOf }: { membersOf: (dist: string, name: string) => string[] } = await import(script)
  const members = (name: string) => membersOf(join(root, 'dist'), name)
  const owners: Record<string, string[]> = {
    server: members('WebSocketServer'),
    socket: members('Socket'),
    request: [...members('ServerRequest'), ...members('UpgradeRequest'), ...Object.getOwnPropertyNames(Request.prototype)],
  }
  const rows = readFileSync(join(root, 'docs', 'migrating.md'), 'utf8').matchAll(/^\| (?:\\\||[^|])+ \| ((?:\\\||[^|])+) \|/gm)
  const named = [...rows].flatMap(([, ours = '']) => [...ours.matchAll(/\b(server|socket|request)\.(\w+)/g)])
  expect(named.length).toBeGreaterThan(50)
  for (const [, owner = '', member] of named) expect(owners[owner], `${owner}.${member}`).toContain(member)
})
