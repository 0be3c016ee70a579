/**
 * Who may use whom, and how long a file may be: the walls between the folders, as CONTRIBUTING.md describes
 * them.
 */
import { describe, expect, test } from 'vitest'
import { contentOf, type Dependency, filesBelow, importsOf, includesOf } from '../support/source-tree.js'

interface Layer {
  readonly name: string
  /** Its files. A file belongs to the first layer that names it. */
  readonly files: RegExp
  /** What they may import or include. */
  readonly mayUse: RegExp
}

/** Headers of C++, of the system, and of the libraries that our native code uses beside µWebSockets. */
const OTHER_HEADERS = String.raw`<(?:[a-z_]+|(?:fcntl|poll|unistd|uv|zlib)\.h|(?:arpa|linux|netinet|openssl|sys)/\w+\.h)>`

const LAYERS: readonly Layer[] = [
  {
    name: 'tools without knowledge of servers, and errors',
    files: /^src\/(util\/|errors\.ts$)/,
    mayUse: /^(node:|src\/(util\/|errors\.ts$))/,
  },
  { name: 'the contract of backplanes', files: /^src\/backplane\/contract\.ts$/, mayUse: /^src\/types\/common\.ts$/ },
  {
    name: 'the backplanes on brokers',
    files: /^src\/backplane\/(redis|nats)(\.ts$|\/)/,
    mayUse:
      /^(node:|redis$|ioredis$|@nats-io\/(transport-node|jetstream)$|src\/(backplane|options|types|util)\/|src\/errors\.ts$)/,
  },
  {
    name: 'the public types',
    files: /^src\/types\//,
    mayUse: /^(node:|src\/(types\/|errors\.ts$|backplane\/contract\.ts$))/,
  },
  { name: 'the contract and the rule of send', files: /^src\/engine\/(contract|send-quota)\.ts$/, mayUse: /^node:/ },
  {
    name: 'the portable engine',
    files: /^src\/engine\/portable\//,
    mayUse:
      /^(node:|ws$|src\/(util\/|errors\.ts$|websocket\/close-codes\.ts$)|src\/engine\/((contract|send-quota)\.ts$|portable\/|native\/(location|require)\.ts$))/,
  },
  {
    name: 'the native engine',
    files: /^src\/engine\/native\//,
    mayUse: /^(node:|src\/(util\/|errors\.ts$)|src\/engine\/((contract|send-quota)\.ts$|native\/))/,
  },
  { name: 'the choice of the engine', files: /^src\/engine\//, mayUse: /^(node:|src\/errors\.ts$|src\/engine\/)/ },
  {
    name: 'the doctor',
    files: /^src\/app\/doctor\.ts$/,
    mayUse: /^(node:|src\/app\/|src\/index\.ts$|src\/engine\/report\.ts$)/,
  },
  { name: 'the application and its command', files: /^src\/(app\/|cli\.ts$)/, mayUse: /^(node:|src\/app\/|src\/index\.ts$)/ },
  {
    name: 'the faces of other packages',
    files: /^src\/faces\//,
    mayUse:
      /^(node:|src\/faces\/|src\/core\/turn-share\.ts$|src\/websocket\/close-codes\.ts$|src\/util\/reuse-port\.ts$|src\/index\.ts$)/,
  },
  {
    name: 'the adapters',
    files: /^src\/websocket\/(duplex|messages)\.ts$/,
    mayUse:
      /^(node:|src\/(types|util)\/|src\/errors\.ts$|src\/core\/turn-share\.ts$|src\/websocket\/(close-codes|socket)\.ts$|src\/options\/(arguments|checks)\.ts$)/,
  },
  {
    name: 'the pages',
    files: /^src\/pages\//,
    mayUse: /^(node:|src\/(core|http|options|pages|types|util)\/|src\/errors\.ts$|src\/engine\/native\/location\.ts$)/,
  },
  {
    name: 'the public API',
    files: /^src\//,
    mayUse: /^(node:|src\/(?!app\/|engine\/|cli\.ts$|index\.ts$)|src\/engine\/(contract|select)\.ts$)/,
  },
  {
    name: 'the door to µWebSockets',
    files: /^native\/server\/uws\//,
    mayUse: new RegExp(String.raw`^(native/server/|"internal/internal\.h"|<(App|libusockets)\.h>|${OTHER_HEADERS})`),
  },
  {
    name: 'the native server',
    files: /^native\/server\//,
    mayUse: new RegExp(`^(native/server/|${OTHER_HEADERS})`),
  },
  {
    name: 'the addon',
    files: /^native\/binding\//,
    mayUse: /^(native\/(binding|server)\/|<(napi|uv)\.h>|<[a-z_]+>)/,
  },
  {
    name: 'the native tests',
    files: /^native\/test\//,
    mayUse: new RegExp(`^(native/(server|test)/|${OTHER_HEADERS})`),
  },
]

/** The dependencies that no layer allows, as sentences. */
function breaches(dependencies: readonly Dependency[]): string[] {
  return dependencies.flatMap(({ from, to }) => {
    const layer = LAYERS.find(({ files }) => files.test(from))
    if (layer === undefined) return [`${from} belongs to no layer`]
    return layer.mayUse.test(to) ? [] : [`${from} (${layer.name}) may not use ${to}`]
  })
}

const SCRIPT = /\.(ts|mjs)$/
const CPP = /\.(cpp|h)$/
const modules = filesBelow('src', SCRIPT)
const imports = modules.flatMap((file) => importsOf(file, contentOf(file)))
const sources = filesBelow('native', CPP)
const includes = sources.flatMap((file) => includesOf(file, contentOf(file), (candidate) => sources.includes(candidate)))

describe('the layers', () => {
  test('are kept by every import of src/', () => {
    expect(imports.length).toBeGreaterThan(modules.length)
    expect(breaches(imports)).toEqual([])
  })

  test('are kept by every #include of native/', () => {
    expect(includes.length).toBeGreaterThan(sources.length)
    expect(breaches(includes)).toEqual([])
  })

  test('keep µWebSockets from the addon, through whatever it includes', () => {
    const uses = new Map<string, string[]>()
    for (const { from, to } of includes) uses.set(from, [...(uses.get(from) ?? []), to])
    const reached = new Set<string>()
    const visit = (file: string): void => {
      if (reached.has(file)) return
      reached.add(file)
      for (const next of uses.get(file) ?? []) visit(next)
    }
    for (const file of sources) if (file.startsWith('native/binding/')) visit(file)
    expect(reached).toContain('native/server/websocket/socket_data.h')
    const allowed = new RegExp(`^(native/|<napi\\.h>|${OTHER_HEADERS})`)
    expect([...reached].filter((file) => !allowed.test(file))).toEqual([])
  })

  test('have one door to µWebSockets', () => {
    const inclusions = (header: string) => includes.filter(({ to }) => to === header).map(({ from }) => from)
    expect(inclusions('<App.h>')).toEqual(['native/server/uws/upstream.h'])
    expect(inclusions('"internal/internal.h"')).toEqual(['native/server/uws/upstream_internals.h'])
  })

  test('have no gap: each import and #include of a project’s file finds it', () => {
    for (const { from, to } of imports) if (to.startsWith('src/')) expect(modules, from).toContain(to)
    const unknown = includes.filter(({ to }) => to.startsWith('"')).map(({ to }) => to)
    expect(unknown).toEqual(['"internal/internal.h"'])
    const statements = modules.flatMap((file) => contentOf(file).match(/^import\b|^export\b.* from /gm) ?? [])
    expect(imports.length).toBeGreaterThanOrEqual(statements.length)
  })

  test('are no circle: no module of src/ needs itself to be evaluated first', () => {
    const needs = new Map<string, string[]>()
    for (const { from, to, typeOnly } of imports) if (!typeOnly) needs.set(from, [...(needs.get(from) ?? []), to])
    const visit = (file: string, path: readonly string[]): string[] =>
      path.includes(file)
        ? [[...path.slice(path.indexOf(file)), file].join(' → ')]
        : (needs.get(file) ?? []).flatMap((next) => visit(next, [...path, file]))
    expect(modules.flatMap((file) => visit(file, []))).toEqual([])
  })

  test.each<[breach: string, from: string, line: string]>([
    ['an engine that knows the options', 'src/engine/select.ts', "import { resolve } from '../options/server.js'"],
    ['an engine that knows the application', 'src/engine/native/engine.ts', "import type { Echo } from '../../app/echo.js'"],
    [
      'one engine that knows the other',
      'src/engine/portable/engine.ts',
      "import { SharedChannel } from '../native/shared-channel.js'",
    ],
    ['the contract with a meaning of its own', 'src/engine/contract.ts', "import { OptionError } from '../errors.js'"],
    ['the server past the contract', 'src/server.ts', "export { SharedChannel } from './engine/native/shared-channel.js'"],
    ['the server on the application', 'src/server.ts', "const { echo } = await import('./app/echo.js')"],
    ['the server on a package', 'src/http/request.ts', "import { WebSocket } from 'ws'"],
    ['the application past the public API', 'src/app/echo.ts', "import { ServerSocket } from '../websocket/socket.js'"],
    ['the command past the public API', 'src/cli.ts', "import {\n  type TlsOptions,\n} from './types/index.js'"],
    ['an adapter past the socket', 'src/websocket/duplex.ts', "import type { Engine } from '../engine/contract.js'"],
    ['the native server with Node-API', 'native/server/net/listener.h', '#include <napi.h>'],
    ['the native server with V8', 'native/server/net/listener.h', '#include <v8.h>'],
    ['the native server with the addon', 'native/server/net/listener.cpp', '#include "binding/environment.h"'],
    ['the native server with µWebSockets', 'native/server/net/turns.cpp', '#include <libusockets.h>'],
    ['the native server with µSockets’ own view', 'native/server/net/turns.cpp', '#include "internal/internal.h"'],
    ['the door with a part of µWebSockets', 'native/server/uws/upstream_loop.cpp', '#include <Loop.h>'],
    ['the addon with µWebSockets', 'native/binding/addon.cpp', '#include <App.h>'],
    ['a native test with µWebSockets', 'native/test/fixture.h', '#include <App.h>'],
    ['the addon with OpenSSL', 'native/binding/addon.cpp', '#include <openssl/ssl.h>'],
    ['a native test with the addon', 'native/test/main.cpp', '  #  include "binding/protocol.h"'],
  ])('would show %s', (_breach, from, line) => {
    const found = from.startsWith('src/') ? importsOf(from, line) : includesOf(from, line, (file) => sources.includes(file))
    expect(found).toHaveLength(1)
    expect(breaches(found)).toEqual([expect.stringContaining('may not use')])
  })
})

/** Lines of a comment as one. */
const unwrapped = (lines: readonly string[]) => lines.map((line) => line.replace(/^\s*(\*|\/\/\/?|\/\*\*)?\s*/, '')).join(' ')

describe('the sizes', () => {
  /** Lines above which a file usually holds two ideas. */
  const MAX_LINES = 300
  /** A longer one says why in a comment that begins so, within its first lines. */
  const REASON = 'Long because '
  const TOP = 40
  const files = [
    ...['src', 'scripts', 'test/support', 'test/fixtures', 'examples', 'bench', '.ci'].flatMap((folder) =>
      filesBelow(folder, SCRIPT),
    ),
    ...['native', 'bench/load', 'bench/limit'].flatMap((folder) => filesBelow(folder, CPP)),
  ]

  test(`no source has more than ${MAX_LINES} lines without "${REASON}…" at its top`, () => {
    expect(files.length).toBeGreaterThan(50)
    const long = files.filter((file) => {
      const lines = contentOf(file).split('\n')
      return lines.length - 1 > MAX_LINES && !unwrapped(lines.slice(0, TOP)).includes(REASON)
    })
    expect(long).toEqual([])
  })
})
