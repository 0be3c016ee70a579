/**
 * Faces against the whole of the declarations of what they stand for, where those are installed: the
 * benchmark's dependencies have a copy of those of uWebSockets.js, which npm does not carry, and those of
 * `npm run ecosystem` have crossws. They are no part of this repository.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const UWEBSOCKETS = 'bench/node_modules/uWebSockets.js/index.js'
const CROSSWS = 'test/ecosystem/node_modules/crossws/dist/index.mjs'

/** What the compiler says of a program two folders below the root. */
function complaintsAbout(program: string): string {
  mkdirSync(join(ROOT, 'build'), { recursive: true })
  const folder = mkdtempSync(join(ROOT, 'build', 'declarations-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  writeFileSync(join(folder, 'program.mts'), program)
  const compilerOptions = {
    noEmit: true,
    strict: true,
    exactOptionalPropertyTypes: true,
    skipLibCheck: true,
    target: 'esnext',
    lib: ['esnext', 'dom'],
    module: 'nodenext',
    types: ['node'],
  }
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['program.mts'] }))
  const compiler = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc')
  return spawnSync(process.execPath, [compiler, '-p', folder], { encoding: 'utf8' }).stdout
}

test.runIf(existsSync(join(ROOT, 'bench/node_modules/uWebSockets.js/index.d.ts')))(
  'the face of uWebSockets.js is assignable to all that uWebSockets.js declares',
  () => {
    // `ListenOptions` is declared, and does not exist.
    const program = (given: string) => `
      import type * as theirs from '../../${UWEBSOCKETS}'
      import type * as ours from '../../dist/faces/uws.js'
      interface User { readonly user: string }
      export const app = (given: ${given}): theirs.TemplatedApp => given
      export const request = (given: ours.HttpRequest): theirs.HttpRequest => given
      export const response = (given: ours.HttpResponse): theirs.HttpResponse => given
      export const socket = (given: ours.WebSocket<User>): theirs.WebSocket<User> => given
      export const behavior = (given: theirs.WebSocketBehavior<User>): ours.WebSocketBehavior<User> => given
      export const options = (given: theirs.AppOptions): ours.AppOptions => given
      export const all = (given: typeof ours): Omit<typeof theirs, 'ListenOptions' | 'default'> => given
      export const main = (given: typeof ours.default): Omit<typeof theirs, 'ListenOptions' | 'default'> => given`
    expect(complaintsAbout(program('ReturnType<typeof ours.App>'))).toBe('')
    // It does complain.
    expect(complaintsAbout(program('ours.HttpRequest'))).toMatch(/TS2740.*TemplatedApp/)
  },
)

test.runIf(existsSync(join(ROOT, 'test/ecosystem/node_modules/crossws/dist/index.d.mts')))(
  "crossws' adapter takes and gives what crossws declares, but for what is documented",
  () => {
    // Classes of crossws have private members, so that only their other members can be compared; a sync
    // adapter, with its errors, is what this one has not.
    const program = (left: string) => `
      import type * as theirs from '../../${CROSSWS}'
      import type * as ours from '../../dist/faces/crossws.js'
      type Members<T> = { [K in keyof T as K extends string ? K : never]: T[K] }
      export const options = (given: Omit<theirs.AdapterOptions, ${left}>): ours.CrosswsTypedOptions => given
      export const hooks = (given: theirs.Hooks): ours.CrosswsTypedOptions['hooks'] => given
      export const instance = (given: ours.CrosswsAdapter): Omit<theirs.AdapterInstance, 'peers'> => given
      export const peer = (given: ours.Peer): Omit<Members<theirs.Peer>, 'peers' | '_publish'> => given
      export const message = (given: ours.Message): Omit<Members<theirs.Message>, 'peer'> => given`
    expect(complaintsAbout(program("'sync' | 'onError'"))).toBe('')
    expect(complaintsAbout(program("'onError'"))).toMatch(/sync/)
  },
)
