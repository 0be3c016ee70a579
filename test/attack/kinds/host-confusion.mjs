// Targets and Hosts that could be read in two ways: whatever the path is taken for, the route, `path` and
// `url` must agree on it, and a Host that is none must be refused.
import { Buffer } from 'node:buffer'
import { http } from '../limits.mjs'

/** What may be asked for, and the path that it is, in every reading. */
const TARGETS = [
  ['/target/public/x', '/target/public/x'],
  ['/target/public/../admin/x', '/target/admin/x'],
  ['/target/public/./../admin/x?/../y', '/target/admin/x'],
  ['/target/public/%2e%2E/admin/x', '/target/admin/x'],
  ['/target/%61dmin/x', '/target/admin/x'],
  ['/target/%70ublic/%78', '/target/public/x'],
  ['/target/public/..%2fadmin', '/target/public/..%2Fadmin'],
  ['/target/public/x%5c..%5cadmin', '/target/public/x%5C..%5Cadmin'],
  ['/target/public/%252e%252e', '/target/public/%252e%252e'],
  ['/target//admin/x', '/target//admin/x'],
  ['/target/public//admin/x', '/target/public//admin/x'],
  ['//a/target/admin/x', '//a/target/admin/x'],
  ['/target/../target/admin/x', '/target/admin/x'],
]
/** Refused with any Host. */
const NO_TARGETS = ['/target/public\\admin', '/target/public/%', '/target/public/%zz', '/target/public#/admin', '/target/\xe9']
const HOSTS = ['a', 'localhost:80', '[::1]', 'a.example', '']
const NO_HOSTS = [
  'a/admin?',
  'a/target/admin/x?',
  'a#',
  'a\\admin',
  'user@a',
  'a,b',
  'a b',
  'http://a',
  '%61',
  'a:b',
  'a:65536',
  '[::1',
]

/** The route that the server has for a path. */
function routeOf(path) {
  if (path.startsWith('/target/admin/')) return '/target/admin/*'
  return /^\/target\/public\/[^/]+$/.test(path) ? '/target/public/:name' : '/*'
}

/** A target, its Host, and the path that it is in every reading; undefined where it is to be refused. */
function pick(random) {
  const isRefused = random.chance(0.3)
  const [target, path] = random.pick(TARGETS)
  const host = random.pick(isRefused ? NO_HOSTS : HOSTS)
  if (random.chance(0.1)) return { target: random.pick(NO_TARGETS), host: random.pick(HOSTS) }
  const absolute = random.chance(0.2) ? `http://${random.pick(['b.example', 'b.example:80'])}` : ''
  return { target: absolute + target, host, path: isRefused ? undefined : path, isAbsolute: absolute !== '' }
}

export default {
  name: 'host confusion',
  connections: 6,
  memory: http(),
  async attack(attempt) {
    const { random, engine } = attempt
    const connection = await attempt.connect({ secure: random.chance(0.2) })
    if (connection === undefined) return
    const { target, host, path, isAbsolute } = pick(random)
    const answer = connection.response()
    await connection.write(Buffer.from(`GET ${target} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`, 'latin1'))
    const { status, body } = (await attempt.within(answer)) ?? {}
    // The time was up, or the connection has broken off.
    if (status === undefined) return
    const what = `${JSON.stringify([target, host])} was answered with ${status} ${body}`
    // The native engine takes no absolute form at all (docs/engines.md).
    if (isAbsolute && engine === 'native') return attempt.expect(status === 505, what)
    if (path === undefined) return attempt.expect(status === 400, what)
    const seen = status === 200 ? JSON.parse(body) : {}
    attempt.expect(seen.path === path && seen.urlPath === path && seen.route === routeOf(path), what)
  },
}
