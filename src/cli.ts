#!/usr/bin/env node
/** The command: flags, environment, signals and exit codes around the default application. */
import { readFileSync } from 'node:fs'
import { constants } from 'node:os'
import { parseArgs } from 'node:util'
import { ensureCertificate, VALIDITY_DAYS } from './app/certificate.js'
import { descriptorAdvice, remainingDescriptors } from './app/descriptors.js'
import { diagnose } from './app/doctor.js'
import { bannerLines, createEchoServer } from './app/echo.js'
import { type LogFormat, logLine } from './app/log.js'
import { escapeControls, firstLine } from './app/log-text.js'
import { outputFlushed, printLine } from './app/output.js'
import { type ErrorCode, type TlsOptions, type WebSocketServer, WebSocketServerError } from './index.js'

const NAME = 'native-websocket-server'
const DEFAULT_PORT = 7000
/** The development certificate, relative to the current folder. */
const DEFAULT_KEY = 'certs/key.pem'
const DEFAULT_CERT = 'certs/cert.pem'

/**
 * Milliseconds within which two signals are one: a terminal sends Ctrl+C to every process of `npm start`, and
 * npm passes its own on to this one, less than a millisecond later.
 */
const ONE_KEYPRESS = 50

const HELP = `Usage: ${NAME} [options]
       ${NAME} doctor

A WebSocket server that greets every client and echoes what it sends. GET / is a page to try that in a browser, and GET
/health says that it is up.
"doctor" tells what is installed, which engine serves and why, and what to do; it exits with 1 when there is something to do.

Options:
  --port <number>   port to listen on, 0 to 65535; 0 picks a free one (default: PORT or ${DEFAULT_PORT})
  --host <address>  name or address to listen on (default: HOST or all addresses)
  --key <file>      private key, PEM (default: ${DEFAULT_KEY})
  --cert <file>     certificate and its chain, PEM (default: ${DEFAULT_CERT})
  --no-tls          serve ws: and http: instead of wss: and https:
  --engine <name>   native or portable (default: native where it is built)
  --quiet           print no line per message; connections are still announced
  --log <format>    json: a JSON object per line; pretty: time and level before each line (default: neither)
  --help            print this and exit
  --version         print the version and exit

Without --key and --cert, and when ${DEFAULT_KEY} and ${DEFAULT_CERT} do not exist, a certificate for localhost is made there:
good for development; no client trusts it by default. Flags win over the environment variables PORT and HOST.

Ctrl+C or SIGTERM closes every connection with code 1001 and ends the command; a second one ends it at once.
`

/** Wrong usage: its message says what is wrong, and the flags are a `--help` away. */
class UsageError extends Error {}

interface Settings {
  port: number
  host: string | undefined
  /** `undefined` without TLS. */
  tls: { keyFile: string; certFile: string; named: boolean } | undefined
  engine: 'native' | 'portable' | undefined
  quiet: boolean
  format: LogFormat
}

/** What to do about a failure, where the command can tell. */
const REMEDIES: Partial<Record<ErrorCode, string>> = {
  EADDRINUSE: 'stop the other program, or choose another port with --port',
  EACCES: 'choose a port from 1024 up with --port',
  EADDRNOTAVAIL: 'check --host',
  ENOTFOUND: 'check --host',
}

await main()

async function main(): Promise<void> {
  // The reader of the output may go away (`| head`): the server goes on serving.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {})
  try {
    const [first, ...others] = process.argv.slice(2)
    if (first === 'doctor') return await runDoctor(others)
    const request = readArguments(process.argv.slice(2), process.env)
    if (typeof request === 'string') process.stdout.write(request)
    else await run(request)
  } catch (error) {
    process.stderr.write(`${NAME}: ${describeFailure(error)}\n`)
    process.exitCode = 1
  }
}

async function runDoctor(args: readonly string[]): Promise<void> {
  if (args[0] === '--help' || args[0] === '-h') {
    process.stdout.write(HELP)
    return
  }
  if (args.length > 0) throw new UsageError(`doctor takes no arguments, got ${JSON.stringify(args[0])}`)
  const { lines, healthy } = await diagnose()
  for (const line of lines) printLine(line)
  process.exitCode = healthy ? 0 : 1
}

async function run(settings: Settings): Promise<void> {
  const { port, host, tls, engine, quiet, format } = settings
  const hasColors = process.stdout.isTTY && process.stdout.hasColors()
  const toLine = (text: string, isWarning = false) => logLine({ event: 'notice', text, isWarning }, format, hasColors)
  const print = (line: string) => printLine(line, (text) => toLine(text, true))
  const advice = descriptorAdvice(remainingDescriptors())
  const madeCertificate = tls !== undefined && !tls.named && ensureCertificate(tls.keyFile, tls.certFile)
  const server = createEchoServer({
    quiet,
    format,
    hasColors,
    log: print,
    ...(tls && { tls: { keyFile: tls.keyFile, certFile: tls.certFile } satisfies TlsOptions }),
    ...(engine && { engine }),
  })
  const address = await server.listen({ port, ...(host !== undefined && { host }) })
  closeOnSignals(server)
  const lines = bannerLines(server, { port: address.port, host: host ?? address.host }, tls !== undefined)
  if (madeCertificate)
    lines.push(`Made a development certificate, valid for ${VALIDITY_DAYS} days: ${DEFAULT_CERT}, with its key ${DEFAULT_KEY}`)
  for (const line of lines) print(toLine(line))
  if (advice !== undefined) print(toLine(advice, true))
}

/** The first signal closes gracefully; the second ends the process as if the signal had not been handled. */
function closeOnSignals(server: WebSocketServer): void {
  let first: number | undefined
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, async () => {
      if (first === undefined) {
        first = performance.now()
        await server.close({ code: 1001, reason: 'server is shutting down' })
        await outputFlushed()
        process.exit(0)
      }
      // A shell expects 128 and the number of the signal: 130 and 143.
      if (performance.now() - first > ONE_KEYPRESS) process.exit(128 + constants.signals[signal])
    })
  }
}

/** The settings, or the text to print instead of serving. Throws UsageError. */
function readArguments(args: string[], environment: NodeJS.ProcessEnv): Settings | string {
  const flags = parseFlags(args)
  if (flags.help) return HELP
  if (flags.version) return `${packageVersion()}\n`
  const { engine, key, cert, quiet = false, log } = flags
  if (engine !== undefined && engine !== 'native' && engine !== 'portable') {
    throw new UsageError(`--engine must be native or portable, got ${JSON.stringify(engine)}`)
  }
  if (log !== undefined && log !== 'json' && log !== 'pretty') {
    throw new UsageError(`--log must be json or pretty, got ${JSON.stringify(log)}`)
  }
  for (const [flag, value] of Object.entries({ host: flags.host, key, cert })) {
    if (value === '') throw new UsageError(`--${flag} must not be empty`)
  }
  const named = key !== undefined || cert !== undefined
  if (named && flags['no-tls']) throw new UsageError('--no-tls cannot be combined with --key or --cert')
  if (named && (key === undefined || cert === undefined)) throw new UsageError('--key and --cert go together')
  return {
    port: readPort(flags.port, environment.PORT),
    // An empty variable counts as unset, as is usual for the environment.
    host: flags.host ?? (environment.HOST || undefined),
    tls: flags['no-tls'] ? undefined : { keyFile: key ?? DEFAULT_KEY, certFile: cert ?? DEFAULT_CERT, named },
    engine,
    quiet,
    format: log ?? 'lines',
  }
}

function parseFlags(args: string[]) {
  try {
    return parseArgs({
      args,
      options: {
        port: { type: 'string' },
        host: { type: 'string' },
        key: { type: 'string' },
        cert: { type: 'string' },
        'no-tls': { type: 'boolean' },
        engine: { type: 'string' },
        quiet: { type: 'boolean' },
        log: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
        version: { type: 'boolean', short: 'v' },
      },
    }).values
  } catch (error) {
    if (!(error instanceof TypeError)) throw error
    // What Node adds for an unknown option is about positional arguments, which this command does not take.
    throw new UsageError(escapeControls(error.message.split('. To specify a positional', 1).join('').replaceAll('\n', ' ')))
  }
}

function readPort(flag: string | undefined, variable: string | undefined): number {
  const [source, text] = flag !== undefined ? ['--port', flag] : ['PORT', variable || String(DEFAULT_PORT)]
  const port = /^\d+$/.test(text) ? Number(text) : Number.NaN
  if (port >= 0 && port <= 65_535) return port
  throw new UsageError(`${source} must be a whole number from 0 to 65535, got ${JSON.stringify(text)}`)
}

function packageVersion(): string {
  const description: unknown = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))
  if (typeof description === 'object' && description !== null && 'version' in description) return String(description.version)
  throw new Error('package.json has no version')
}

/** One line: what went wrong, its code, and what to do. */
function describeFailure(error: unknown): string {
  if (error instanceof UsageError) return `${error.message} (see --help)`
  if (!(error instanceof WebSocketServerError)) return firstLine(String(error))
  const message = firstLine(error.message)
  const code = message.includes(error.code) ? '' : ` (${error.code})`
  const remedy = REMEDIES[error.code]
  return `${message}${code}${remedy === undefined ? '' : `; ${remedy}`}`
}
