/** Packs the packages that are published: each from a folder of its own below build/packages. */
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { buildDirectory, root } from '../install/paths.mjs'
import { run } from '../install/processes.mjs'
import { licencesOf } from './licences.mjs'

const folder = join(buildDirectory, 'packages')

/**
 * The platform package: the addon, its licences, and no install script.
 * @param {string} name
 * @param {import('../../src/engine/native/platform-package.js').System} system
 * @param {import('./addon.mjs').Built} built
 */
export function packPlatform(name, system, built) {
  const main = manifest()
  const target = emptyFolder(name)
  const addon = 'native_websocket_server.node'
  const text = `The addon of native-websocket-server, built for ${system.os} on ${system.cpu}${system.libc ? ` with ${system.libc}` : ''}`
  const facts = `${built.openssl} is compiled in${built.glibc ? `; it loads with glibc ${built.glibc} or later` : ''}.`
  copyFileSync(built.file, join(target, addon))
  copyFileSync(join(root, 'LICENSE'), join(target, 'LICENSE'))
  writeFileSync(join(target, 'THIRD-PARTY-LICENCES.txt'), licencesOf(built))
  writeFileSync(
    join(target, 'README.md'),
    `# ${name}\n\n${text}. ${facts}\n\nnative-websocket-server names this package as an optional dependency: install that one.\n`,
  )
  writeManifest(target, {
    name,
    version: main.version,
    description: text,
    license: main.license,
    ...(main.repository !== undefined && { repository: main.repository }),
    type: 'commonjs',
    engines: main.engines,
    os: [system.os],
    cpu: [system.cpu],
    ...(system.libc && { libc: [system.libc] }),
    // Yarn must not keep it in an archive: a system loads addons from files.
    preferUnplugged: true,
    exports: { '.': `./${addon}`, './package.json': './package.json' },
    files: [addon, 'THIRD-PARTY-LICENCES.txt'],
  })
  return pack(target)
}

/** The main package: what `npm pack` makes of this clone, with the names of the platform packages. */
export function packMain() {
  const { devDependencies, ...main } = manifest()
  const target = emptyFolder('package')
  for (const file of packedFiles()) {
    mkdirSync(dirname(join(target, file)), { recursive: true })
    copyFileSync(join(root, file), join(target, file))
  }
  const platforms = readdirSync(folder)
    .map((file) => new RegExp(`^(${main.name}-(?:linux|darwin)-.+)-${main.version}\\.tgz$`).exec(file)?.[1])
    .filter((name) => name !== undefined)
    .sort()
  writeManifest(target, {
    ...main,
    scripts: { install: main.scripts.install },
    // Exactly this version: what the addon and the TypeScript share in memory changes without notice.
    optionalDependencies: Object.fromEntries(platforms.map((name) => [name, main.version])),
  })
  return { ...pack(target), platforms }
}

/** @returns {string[]} */
function packedFiles() {
  const { ok, output } = run(['npm', 'pack', '--dry-run', '--json', '--ignore-scripts', '--loglevel=error'], { cwd: root })
  if (!ok) throw new Error(output)
  // npm 12 prints an object with a key for each package, earlier ones an array.
  /** @type {{ files: { path: string }[] }[]} */
  const packages = Object.values(JSON.parse(output))
  return packages.flatMap(({ files }) => files.map(({ path }) => path))
}

/** @returns {Record<string, any>} */
function manifest() {
  return JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
}

/**
 * @param {string} target
 * @param {object} content
 */
function writeManifest(target, content) {
  writeFileSync(join(target, 'package.json'), `${JSON.stringify(content, undefined, 2)}\n`)
}

/** @param {string} name */
function emptyFolder(name) {
  const target = join(folder, name)
  rmSync(target, { recursive: true, force: true })
  mkdirSync(target, { recursive: true })
  return target
}

/** @param {string} target */
function pack(target) {
  const args = ['pack', '--ignore-scripts', '--silent', '--pack-destination', folder]
  const { ok, output } = run(['npm', ...args], { cwd: target })
  const file = join(folder, output.split('\n').at(-1) ?? '')
  if (!ok || !existsSync(file)) throw new Error(output)
  return { file, bytes: statSync(file).size }
}
