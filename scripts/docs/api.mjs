/**
 * What docs/api.md says of each symbol, from the declarations in dist/: its own sentences are those of the
 * docstrings.
 */
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { bodyOf, statements } from './declarations.mjs'

/** @typedef {import('./declarations.mjs').Declaration} Declaration */

/** Every exported symbol, where a reader looks for it. One that is missing here is an error. */
const CHAPTERS = [
  {
    title: 'The server',
    names: [
      'WebSocketServer',
      'ServerOptions',
      'TlsOptions',
      'ListenOptions',
      'TcpListenOptions',
      'UnixListenOptions',
      'FdListenOptions',
      'ListenResult',
      'TcpListenResult',
      'UnixListenResult',
      'FdListenResult',
      'CloseOptions',
      'Metrics',
    ],
  },
  {
    title: 'Backplanes',
    names: [
      'BackplaneSettings',
      'BackplaneMetrics',
      'EverywhereResult',
      'EverywhereOptions',
      'DisconnectTarget',
      'BackplaneEngine',
      'BackplaneHost',
      'BackplaneEnvelope',
      'BackplaneStatus',
      'Backplane',
    ],
  },
  {
    title: 'WebSocket routes',
    names: [
      'WebSocketHandlers',
      'UpgradeRequest',
      'Handshake',
      'Accept',
      'CompressionOptions',
      'CompressorSize',
      'PingOptions',
      'RateLimit',
    ],
  },
  { title: 'Sockets', names: ['Socket', 'SendStatus', 'Data', 'SendOptions', 'SendStreamOptions', 'DrainedOptions'] },
  {
    title: 'HTTP routes',
    names: ['RouteHandler', 'ServerRequest', 'writeResponse', 'BodyWriter', 'Params', 'HealthOptions', 'Awaitable'],
  },
  { title: 'Adapters', names: ['messages', 'duplex'] },
  { title: 'Pages', names: ['consolePage', 'ConsolePageOptions', 'metricsPage', 'MetricsPageOptions', 'PageOptions'] },
  {
    title: 'Diagnostics channels',
    names: [
      'DIAGNOSTICS_CHANNELS',
      'OpenDiagnostics',
      'CloseDiagnostics',
      'RefusalDiagnostics',
      'RefusalReason',
      'ErrorDiagnostics',
      'BackpressureDiagnostics',
    ],
  },
  { title: 'Engines', names: ['EngineName'] },
  {
    title: 'Errors',
    names: [
      'WebSocketServerError',
      'OptionError',
      'ListenError',
      'TlsError',
      'ContentLengthError',
      'DroppedError',
      'EngineError',
      'ClosedError',
      'NotSupportedError',
      'AdoptError',
      'BackplaneError',
      'ErrorCode',
      'ERROR_CODES',
    ],
  },
]

/** Values that a table further down tells better than their type. */
const TABLES = ['ERROR_CODES']

/**
 * The reference in Markdown, and what is wrong with it: exported symbols that no chapter has, and what has no
 * docstring.
 * @param {string} dist the folder with the declaration files
 */
export function apiReference(dist) {
  const symbols = exportsOf(join(dist, 'index.d.ts'))
  /** @type {string[]} */
  const problems = []
  const known = new Set(CHAPTERS.flatMap(({ names }) => names))
  for (const name of symbols.keys())
    if (!known.has(name)) problems.push(`${name} is exported and in no chapter of scripts/docs/api.mjs`)
  const chapters = CHAPTERS.map(({ title, names }) => {
    const sections = names.flatMap((name) => {
      const declaration = symbols.get(name)
      return declaration ? [section(name, declaration, problems)] : []
    })
    return sections.length > 0 ? `## ${title}\n\n${sections.join('\n\n')}` : ''
  })
  return { markdown: chapters.filter(Boolean).join('\n\n'), problems }
}

/**
 * The members that may follow a name in the documents: `socket.send`, `server.listen`.
 * @param {string} dist
 * @param {string} name of an interface or class
 */
export function membersOf(dist, name) {
  const declaration = exportsOf(join(dist, 'index.d.ts')).get(name)
  return declaration ? statements(bodyOf(declaration.source)).map(({ text }) => memberName(text)) : []
}

/**
 * What a declaration file exports, with everything that it passes on.
 * @param {string} file
 * @returns {Map<string, Declaration>}
 */
function exportsOf(file) {
  /** @type {Map<string, Declaration>} */
  const symbols = new Map()
  for (const declaration of statements(readFileSync(file, 'utf8'))) {
    const [, list, from = ''] = /^export (?:type )?(\*|\{.*\}) from '(.*)\.js'$/.exec(declaration.text) ?? []
    const [, name] =
      /^export (?:declare )?(?:abstract )?(?:class|interface|type|const|function) (\w+)/.exec(declaration.text) ?? []
    if (name) symbols.set(name, declaration)
    if (!list) continue
    const other = join(dirname(file), `${from}.d.ts`)
    if (!existsSync(other)) throw new Error(`${other} is missing: compile src/ first`)
    const theirs = exportsOf(other)
    const names = list === '*' ? [...theirs.keys()] : list.replace(/[{}]|\btype\b/g, '').split(',')
    for (const each of names.map((text) => text.trim()).filter(Boolean)) {
      const found = theirs.get(each)
      if (!found) throw new Error(`${other} does not export ${each}`)
      symbols.set(each, found)
    }
  }
  return symbols
}

/**
 * @param {string} name
 * @param {Declaration} declaration
 * @param {string[]} problems
 */
function section(name, { doc, text, source }, problems) {
  if (!doc) problems.push(`${name} has no docstring`)
  const head = `### ${name}\n\n${doc}`
  const isBody = /^export (declare )?(abstract )?(interface|class) /.test(text)
  const isObject = /^export (declare const \w+:|type \w+(<.*?>)? =) \{/.test(text) && !TABLES.includes(name)
  if (!isBody && !isObject) return TABLES.includes(name) ? head : `${head}\n\n\`\`\`ts\n${signature(source)}\n\`\`\``
  const [declared = ''] = text.split(' {', 1)
  // A constructor without a docstring is not for users: that of an error.
  const members = statements(bodyOf(source)).filter(
    ({ doc: own, text: member }) => !member.startsWith('#private') && (own || !member.startsWith('constructor(')),
  )
  const lines = members.map((member) => item(name, member, problems))
  const shown = isBody ? `\n\n\`\`\`ts\n${declared.replace(/^export (declare )?/, '')}\n\`\`\`` : ''
  return `${head}${shown}\n\n${lines.join('\n')}`
}

/**
 * @param {string} owner
 * @param {Declaration} member
 * @param {string[]} problems
 */
function item(owner, { doc, text }, problems) {
  const shown = text
    .replace(/^get (\w+)\(\):/, 'readonly $1:')
    .replace(/^constructor\(/, `new ${owner}(`)
    .replace(/\s*;\s*\}/g, ' }')
  if (!doc) problems.push(`${owner}.${memberName(text)} has no docstring`)
  return `- \`${shown}\`${doc ? `  \n  ${doc.replace(/\n/g, '\n  ')}` : ''}`
}

/** @param {string} text */
function memberName(text) {
  return /^(?:readonly |get |static )*(\[[^\]]*\]|\w+)/.exec(text)?.[1] ?? text
}

/** @param {string} source */
function signature(source) {
  return source
    .replace(/^export (declare )?/, '')
    .replace(/^ {4}/gm, '  ')
    .replace(/;$/gm, '')
}
