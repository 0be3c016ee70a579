/** What a server says where there is no addon: the package that would fit, and what brings it. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { platformPackageOf, thisSystem } from '../../../src/engine/native/platform-package.js'
import { installedBy, remedy } from '../../../src/engine/native/remedy.js'

const scratch = mkdtempSync(join(tmpdir(), 'nws-remedy-'))
afterAll(() => rmSync(scratch, { recursive: true, force: true }))

/** A folder `place` of a new project, in which an installation has left the file `trace`. */
function installed(place: string, trace?: string): string {
  const project = mkdtempSync(join(scratch, 'project-'))
  const folder = join(project, place)
  mkdirSync(folder, { recursive: true })
  if (trace !== undefined) {
    mkdirSync(dirname(join(project, trace)), { recursive: true })
    writeFileSync(join(project, trace), '')
  }
  return folder
}

describe('the package manager', () => {
  const flat = 'node_modules/native-websocket-server'
  const isolated = 'node_modules/.pnpm/native-websocket-server@0.1.0/node_modules/native-websocket-server'
  test.each<[manager: string, place: string, trace: string | undefined]>([
    ['npm', flat, 'node_modules/.package-lock.json'],
    ['npm', 'packages/one/node_modules/native-websocket-server', undefined],
    ['pnpm', isolated, 'node_modules/.modules.yaml'],
    ['yarn classic', flat, 'node_modules/.yarn-integrity'],
    ['yarn', flat, 'node_modules/.yarn-state.yml'],
    ['yarn', '.yarn/unplugged/native-websocket-server-virtual-80c0d42d4c/node_modules/native-websocket-server', undefined],
    ['clone', '.', 'tsconfig.build.json'],
    ['next', flat, '.next/required-server-files.json'],
  ])('%s is known by what it leaves behind (in %s)', (manager, place, trace) => {
    expect(installedBy(installed(place, trace))).toBe(manager)
  })

  test.each([
    ['npm', 'npm rebuild native-websocket-server', 'npm install --include=optional'],
    ['pnpm', 'pnpm approve-builds', 'pnpm install'],
    ['yarn classic', 'yarn install --force', 'yarn install --force'],
    ['yarn', 'yarn rebuild native-websocket-server', 'supportedArchitectures'],
    ['clone', 'npm run build', 'npm run build'],
    ['next', 'native-websocket-server/build/Release/*.node', 'native-websocket-server-*/**'],
  ] as const)('%s builds with its own command, and has one for a package that it has left out', (manager, build, complete) => {
    expect(remedy(false, manager)).toContain(build)
    expect(remedy(true, manager)).toContain(complete)
  })
})

describe('the platform package', () => {
  test.each([
    [{ os: 'linux', cpu: 'x64', libc: 'glibc' }, 'native-websocket-server-linux-x64-gnu'],
    [{ os: 'linux', cpu: 'arm64', libc: 'musl' }, 'native-websocket-server-linux-arm64-musl'],
    [{ os: 'darwin', cpu: 'arm64' }, 'native-websocket-server-darwin-arm64'],
  ] as const)('of %j is %s', (system, name) => {
    expect(platformPackageOf(system)).toBe(name)
  })

  test('is that of the system which this process runs on', () => {
    const { glibcVersionRuntime } = Object(Object(process.report.getReport()).header)
    const expected = process.platform === 'linux' ? { libc: glibcVersionRuntime === undefined ? 'musl' : 'glibc' } : {}
    expect(thisSystem()).toEqual({ os: process.platform, cpu: process.arch, ...expected })
  })
})
