/**
 * Processes of their own, for what can only be seen from outside: exit codes, crashes, what keeps a process
 * alive.
 */
import { type ChildProcess, type ChildProcessWithoutNullStreams, type StdioOptions, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'
import { Queue, within } from './waiting.js'

/** Milliseconds for a child to start, do its work and end. */
const CHILD_PATIENCE = 60_000

export interface ChildResult {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

export interface RunOptions {
  readonly env?: NodeJS.ProcessEnv
  /** The working folder. Default: this process's. */
  readonly cwd?: string
  /** The user to run as. Default: this process's. */
  readonly uid?: number
  /** How many file descriptors the process may have. */
  readonly descriptors?: number
  /** Descriptors that the process inherits, as its 3, 4 and so on; `'pipe'` is a connected unix socket. */
  readonly inherits?: readonly (number | 'pipe')[]
}

export interface ChildOptions extends RunOptions {
  readonly args?: readonly string[]
  /** Options for Node itself, for example `--expose-gc`. */
  readonly execArgv?: readonly string[]
}

/**
 * The environment for programs that have nothing to do with this package. In the run with sanitizers every
 * process has their library preloaded, with which some programs hang.
 */
export const OTHER_PROGRAM: NodeJS.ProcessEnv = { ...process.env, LD_PRELOAD: undefined }

/** A running command. It is killed when its test ends. */
export class Running {
  readonly process: ChildProcess
  readonly lines = new Queue<string>()
  readonly #result: Promise<ChildResult>

  constructor(command: readonly string[], { descriptors, inherits = [], env = {}, ...options }: RunOptions = {}) {
    // Only a shell can lower the limit; `exec` makes the process the child itself, so that signals reach it.
    const limited = descriptors === undefined ? command : ['sh', '-c', `ulimit -n ${descriptors} && exec "$@"`, 'sh', ...command]
    const [file = '', ...rest] = limited
    const stdio: StdioOptions = ['pipe', 'pipe', 'pipe', ...inherits]
    // The cast is safe: the first three are pipes.
    const child = spawn(file, rest, { ...options, env: { ...process.env, ...env }, stdio }) as ChildProcessWithoutNullStreams
    this.process = child
    onTestFinished(() => {
      child.kill('SIGKILL')
    })
    let stdout = ''
    let stderr = ''
    child.stderr.on('data', (chunk) => {
      stderr += chunk
    })
    createInterface({ input: child.stdout }).on('line', (line) => {
      stdout += `${line}\n`
      this.lines.push(line)
    })
    child.stdin.on('error', () => {}) // the child may be gone already
    this.#result = new Promise((resolve, reject) => {
      child.once('error', reject)
      child.once('close', (code, signal) => resolve({ code, signal, stdout, stderr }))
    })
    this.#result.catch(() => {}) // a child that cannot be started is reported where its result is asked for
  }

  /** The next line of its output. Rejects at once when the child has ended, and prints nothing more. */
  async line(what: string): Promise<string> {
    const ended = this.#result.then(({ code, signal, stderr }) => {
      throw new Error(`the child ended (${signal ?? code}) and did not print ${what}: ${stderr}`)
    })
    return await Promise.race([this.lines.next(`the child to print ${what}`, CHILD_PATIENCE), ended])
  }

  /** How it ended. */
  result(): Promise<ChildResult> {
    return within(this.#result, 'the child process to end', CHILD_PATIENCE)
  }
}

/** A running script of `test/fixtures`. */
export class Child extends Running {
  constructor(fixture: string, { args = [], execArgv = [], ...options }: ChildOptions = {}) {
    const script = fileURLToPath(new URL(`../fixtures/${fixture}`, import.meta.url))
    super([process.execPath, ...execArgv, script, ...args], options)
  }
}

/** Runs a script of `test/fixtures` to its end. */
export function runFixture(fixture: string, options: ChildOptions = {}): Promise<ChildResult> {
  return new Child(fixture, options).result()
}
