/** Examples as a user runs them: in a project that has installed this package, and what else they import. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import process from 'node:process'
import { createInterface } from 'node:readline'
import { after } from 'node:test'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))

/**
 * Makes a project for the examples in `examples/<folder>`, with these packages or scopes of packages. The
 * function that it returns starts one of them, on a free port, and gives its process, and its lines one by
 * one.
 */
export function installed(folder, packages) {
  const project = mkdtempSync(join(tmpdir(), `nws-${folder}-`))
  after(() => rmSync(project, { recursive: true, force: true }))
  const modules = join(project, 'node_modules')
  mkdirSync(modules)
  symlinkSync(root, join(modules, 'native-websocket-server'), 'dir')
  for (const name of packages) {
    mkdirSync(dirname(join(modules, name)), { recursive: true })
    symlinkSync(join(root, 'test', 'ecosystem', 'node_modules', name), join(modules, name), 'dir')
  }
  return (name, env = {}) => {
    const file = join(project, name)
    copyFileSync(join(root, 'examples', folder, name), file)
    const child = spawn(process.execPath, [file], {
      env: { ...process.env, PORT: '0', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    after(() => child.kill('SIGKILL'))
    let errors = ''
    child.stderr.on('data', (chunk) => {
      errors += chunk
    })
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
    return {
      child,
      async line() {
        const { value, done } = await lines.next()
        assert.ok(!done, errors)
        return value
      },
    }
  }
}
