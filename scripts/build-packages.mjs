/**
 * `npm run build:packages`: makes what a maintainer publishes, in build/packages/: a platform package with
 * the addon built for this system, and the main package, which names the platform packages there as its
 * optional dependencies. docs/install.md says how they are published.
 *
 *   --addon          the platform package alone
 *   --main           the main package alone, which names the platform packages of its version that are there
 *   --keep-dist      packs dist/ as it is, instead of compiling it anew
 *   --for=SYSTEM     the platform package of another system alone, for example linux-arm64-gnu
 *   --node=COMMAND   with --for: what runs a Node of that system, which then has to load the addon
 *
 * The clone's own package.json names no platform package: `npm install` here would ask a registry for
 * packages that are not published yet, whose names any account could then have taken.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { pathToFileURL } from 'node:url'
import { root } from './install/paths.mjs'
import { run } from './install/processes.mjs'
import { say } from './install/report.mjs'
import { compileTypeScript } from './install/typescript.mjs'
import { buildForOthers } from './packages/addon.mjs'
import { packMain, packPlatform } from './packages/pack.mjs'

const FLAGS = ['--addon', '--main', '--keep-dist']
const flags = process.argv.slice(2)
const unknown = flags.find((flag) => !FLAGS.includes(flag) && !/^--(for|node)=./.test(flag))
if (unknown)
  fail(`usage: build-packages.mjs ${[...FLAGS, '--for=SYSTEM', '--node=COMMAND'].map((flag) => `[${flag}]`).join(' ')}`)
const given = (/** @type {string} */ flag) => flags.find((text) => text.startsWith(`${flag}=`))?.slice(flag.length + 1)
const onlyOne = given('--for') !== undefined || flags.includes('--addon') !== flags.includes('--main')

try {
  if (!onlyOne || !flags.includes('--main')) await prebuildAddon()
  if (!onlyOne || flags.includes('--main')) prebuildMain()
} catch (error) {
  fail(error instanceof Error ? error.message : String(error))
}

async function prebuildAddon() {
  const loader = join(root, 'dist', 'engine', 'native', 'platform-package.js')
  if (!existsSync(loader)) {
    const { problem } = compileTypeScript()
    if (problem) throw new Error(problem)
  }
  /** @type {typeof import('../src/engine/native/platform-package.js')} */
  const { platformPackageOf, thisSystem } = await import(pathToFileURL(loader).href)
  const name = given('--for')
  const system = name === undefined ? thisSystem() : systemOf(name)
  if (system === undefined)
    throw new Error(`No platform package is made for ${name ?? `${process.platform} on ${process.arch}`}.`)
  const target = name === undefined ? undefined : { system, name, node: given('--node')?.split(' ') ?? [] }
  const built = buildForOthers(target)
  const { file, bytes } = packPlatform(platformPackageOf(system), system, built)
  const needs = built.glibc ? `, glibc ${built.glibc} or later` : ''
  const loaded = built.loadedBy ? `loaded by Node ${built.loadedBy}` : 'not loaded yet: --node=COMMAND names a Node that can'
  say(`${file}: ${bytes} bytes, addon ${built.bytes} bytes, ${built.openssl}${needs}, ${loaded}`)
}

/**
 * @param {string} name what the platform package's name ends in
 * @returns {import('../src/engine/native/platform-package.js').System | undefined}
 */
function systemOf(name) {
  const [, os, cpu, libc] = /^(linux|darwin)-(x64|arm64)(?:-(gnu|musl))?$/.exec(name) ?? []
  if ((os !== 'linux' && os !== 'darwin') || (cpu !== 'x64' && cpu !== 'arm64') || (os === 'linux') !== (libc !== undefined))
    return undefined
  return os === 'darwin' ? { os, cpu } : { os, cpu, libc: libc === 'musl' ? 'musl' : 'glibc' }
}

function prebuildMain() {
  if (!flags.includes('--keep-dist')) {
    const { ok, output } = run([process.execPath, join(root, 'scripts', 'prepack.mjs')], { cwd: root })
    if (!ok) throw new Error(output)
  }
  const { file, bytes, platforms } = packMain()
  say(`${file}: ${bytes} bytes, optional dependencies: ${platforms.join(', ') || 'none'}`)
}

/**
 * @param {string} problem
 * @returns {never}
 */
function fail(problem) {
  console.error(`native-websocket-server: ${problem}`)
  process.exit(1)
}
