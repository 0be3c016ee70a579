/** The reference by symbol, and the guides that name its symbols: neither may say what the code does not. */
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
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

/**
 * Where the pages lead outside of this repository. A host is added here by hand, once somebody has looked at
 * what is there. No test asks the hosts whether the page still exists: CI has no way out, and a page of
 * somebody else's that moves should not fail it.
 */
const KNOWN_HOSTS = ['crossws.h3.dev', 'github.com', 'h3.dev', 'keepachangelog.com', 'semver.org']
/** On github.com whoever has an account can make a page: there the owner counts, too. */
const KNOWN_OWNERS = ['h3js', 'kartikk221', 'socketio', 'uNetworking', 'websockets']

const pages = ['.', 'docs', 'docs/how-to', 'examples'].flatMap((folder) =>
  readdirSync(join(root, folder))
    .filter((name) => name.endsWith('.md'))
    .map((name) => join(folder, name)),
)

test('links to other places are well-formed, over https, and to hosts that somebody has looked at', () => {
  const faults: string[] = []
  let count = 0
  for (const page of pages) {
    for (const [, target = ''] of readFileSync(join(root, page), 'utf8').matchAll(
      /(?:\]\(|<|\]: +)((?:https?:|\/\/)[^)>\s]*)/g,
    )) {
      count += 1
      const url = URL.canParse(target) ? new URL(target) : null
      const owner = url?.pathname.split('/')[1] ?? ''
      if (url === null || url.protocol !== 'https:' || url.username !== '' || url.port !== '') faults.push(`${page}: ${target}`)
      else if (!KNOWN_HOSTS.includes(url.hostname)) faults.push(`${page}: ${target} (unknown host)`)
      else if (url.hostname === 'github.com' && !KNOWN_OWNERS.includes(owner)) faults.push(`${page}: ${target} (unknown owner)`)
    }
  }
  expect(faults).toEqual([])
  expect(count).toBeGreaterThan(5)
})

/** As GitHub makes an anchor of a heading. */
const anchorOf = (heading: string) =>
  heading
    .replace(/\]\([^)]*\)/g, ']')
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\p{M} _-]/gu, '')
    .replaceAll(' ', '-')

test('links to sections lead to headings that there are', () => {
  const anchors = new Map(
    pages.map((page) => {
      const text = readFileSync(join(root, page), 'utf8').replace(/^```[\s\S]*?^```/gm, '')
      return [page, new Set([...text.matchAll(/^#+ +(.+)$/gm)].map(([, heading = '']) => anchorOf(heading)))]
    }),
  )
  const lost: string[] = []
  let count = 0
  for (const page of pages) {
    for (const [, file = '', anchor = ''] of readFileSync(join(root, page), 'utf8').matchAll(/\]\(([^):\s#]*)#([^)\s]+)\)/g)) {
      count += 1
      const target = file === '' ? page : join(dirname(page), file)
      if (anchors.get(target)?.has(decodeURIComponent(anchor)) !== true) lost.push(`${page}: ${file}#${anchor}`)
    }
  }
  expect(lost).toEqual([])
  expect(count).toBeGreaterThan(30)
})
