/** The command of this package as a user runs it: a process of its own, in a folder of its own. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'
import { localhostCertificate } from './certificates.js'
import { Running, type RunOptions } from './child.js'
import { type Address, addressOf, type EngineName } from './engines.js'

/** Compiled before all tests by `compile.ts`. */
const CLI = fileURLToPath(new URL('../../dist/cli.js', import.meta.url))

/** What this process has of the variables that the command reads: it would not be the test's. */
const CLEAN = { PORT: undefined, HOST: undefined, NATIVE_WEBSOCKET_SERVER_ENGINE: undefined }

/** An empty folder, removed when the test ends. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'nws-test-command-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** The command with these arguments, in an empty folder unless `cwd` names one. */
export function runCommand(args: readonly string[], { env, ...options }: RunOptions = {}): Running {
  return new Running([process.execPath, CLI, ...args], { cwd: temporaryFolder(), ...options, env: { ...CLEAN, ...env } })
}

export interface RunningCommand extends Address {
  readonly running: Running
  /** What it printed before it was ready: engine, port, endpoint, health check. */
  readonly banner: readonly string[]
}

/**
 * The command as a server that is ready. With `tls` it has the certificate that test clients trust; other
 * arguments that concern TLS are the caller's.
 */
export async function startCommand(
  engine: EngineName,
  { tls = false, args = [], ...options }: RunOptions & { tls?: boolean; args?: readonly string[] } = {},
): Promise<RunningCommand> {
  const security = tls ? certificateArguments() : ['--no-tls']
  const address = ['--port', '0', '--host', '127.0.0.1']
  const running = runCommand(['--engine', engine, ...address, ...security, ...args], options)
  const banner = await bannerOf(running)
  return { ...addressOf(portIn(banner), '127.0.0.1', tls), running, banner }
}

/** The four lines of the banner. A command that ends instead is an error that says how. */
export async function bannerOf(running: Running): Promise<string[]> {
  const ended = running.result().then(({ code, stderr }) => {
    throw new Error(`the command ended with ${code} instead of listening: ${stderr}`)
  })
  ended.catch(() => {}) // also when it ends later, which is none of this function's business
  const lines: string[] = []
  while (lines.length < 4) lines.push(await Promise.race([running.line('its banner'), ended]))
  return lines
}

export function portIn(banner: readonly string[]): number {
  return Number(/^WebSocket server listening on port (\d+)$/.exec(banner[1] ?? '')?.[1])
}

function certificateArguments(): string[] {
  const folder = temporaryFolder()
  const [keyFile, certFile] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
  const { key, cert } = localhostCertificate()
  writeFileSync(keyFile, key)
  writeFileSync(certFile, cert)
  return ['--key', keyFile, '--cert', certFile]
}
