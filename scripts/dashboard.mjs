/**
 * Draws examples/observability/dashboard.json without Grafana: a server under changing load, a Prometheus of
 * this machine that scrapes it, and each panel's queries as Prometheus answers them. Writes
 * docs/observability/dashboard.svg and, of the same run, docs/observability/prometheus.txt.
 *
 *   node scripts/dashboard.mjs [seconds]      default 60
 */
import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { setTimeout as wait } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { WebSocket } from 'ws'
import { freePort } from './free-port.mjs'
import { root } from './install/paths.mjs'
import { compileTypeScript } from './install/typescript.mjs'

const seconds = Number(process.argv[2] ?? 60)
/** What Grafana would fill in: four scrapes, as it does. */
const RATE_INTERVAL = '4s'
const COLOURS = ['#1d4ed8', '#c2410c', '#0f766e', '#a16207', '#7c3aed', '#be185d', '#64748b', '#15803d']

/**
 * @typedef {object} Panel
 * @property {string} title
 * @property {string} type
 * @property {Record<'x' | 'y' | 'w' | 'h', number>} gridPos
 * @property {{ defaults: { unit?: string } }} [fieldConfig]
 * @property {{ expr: string, legendFormat: string }[]} [targets]
 */
/** @typedef {{ metric: Record<string, string>, values: [number, string][] }} Series */

const scratch = mkdtempSync(join(tmpdir(), 'nws-dashboard-'))
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }))

const { problem } = compileTypeScript()
if (problem) throw new Error(problem)
/** @type {typeof import('../src/index.js')} */
const { metricsPage, WebSocketServer } = await import(pathToFileURL(join(root, 'dist', 'index.js')).href)
const server = new WebSocketServer({ maxConnections: 60 })
  .ws('/chat', { message: (socket, message) => socket.send(message) })
  .ws('/limited', {
    rateLimit: { messages: 50, seconds: 1, action: 'pause' },
    message: (socket, message) => socket.send(message),
  })
  .ws('/busy', { message: (socket, message) => socket.send(JSON.stringify(Array.from({ length: 100 }, () => String(message)))) })
  .get('/time', () => new Response(new Date().toISOString()))
  .get('/metrics', metricsPage())
const { port } = await server.listen({ host: '127.0.0.1' })

const own = await freePort()
const config = readFileSync(join(root, 'examples/observability/prometheus.yml'), 'utf8')
  .replace('scrape_interval: 15s', 'scrape_interval: 1s')
  .replace('localhost:7000', `127.0.0.1:${port}`)
writeFileSync(join(scratch, 'prometheus.yml'), config)
const prometheus = spawn(
  'prometheus',
  [
    `--config.file=${join(scratch, 'prometheus.yml')}`,
    `--storage.tsdb.path=${scratch}/data`,
    `--web.listen-address=127.0.0.1:${own}`,
  ],
  { stdio: 'ignore' },
)
process.on('exit', () => prometheus.kill())
while ((await ask('query', { query: 'up == 1' }).catch(() => [])).length === 0) await wait(200)

const start = Date.now() / 1000
await load()
const end = Date.now() / 1000
await draw(start, end)
await write(end)
await server.close({ timeout: 100 })
process.exit(0)

/** Clients that come, send more and more, and go; some are refused, and one asks for more than its share. */
async function load() {
  /** @type {WebSocket[]} */
  const sockets = []
  const connect = (/** @type {string} */ path) => {
    const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`)
    socket.on('error', () => {})
    sockets.push(socket)
  }
  for (let second = 0; second < seconds; second++) {
    const phase = Math.sin((second / seconds) * Math.PI)
    if (second % 2 === 0) connect(['/chat', '/limited', '/busy'][(second / 2) % 3] ?? '/chat')
    if (second % 9 === 0) connect('/nowhere')
    if (second > seconds / 2) sockets.shift()?.close(second % 4 === 0 ? 1000 : 4001)
    for (let tenth = 0; tenth < 10; tenth++) {
      for (const socket of sockets) {
        if (socket.readyState !== WebSocket.OPEN) continue
        for (let message = 0; message < 12 * phase; message++) socket.send('x'.repeat(20 + 200 * phase))
      }
      if (tenth % 3 === 0) await (await fetch(`http://127.0.0.1:${port}/${second % 7 === 0 ? 'nothing' : 'time'}`)).arrayBuffer()
      await wait(100)
    }
  }
  for (const socket of sockets) socket.terminate()
}

/**
 * @param {string} path
 * @param {Record<string, string>} parameters
 * @returns {Promise<any[]>}
 */
async function ask(path, parameters) {
  const answer = await fetch(`http://127.0.0.1:${own}/api/v1/${path}?${new URLSearchParams(parameters)}`)
  /** @type {any} */
  const { status, error, data } = await answer.json()
  if (status !== 'success') throw new Error(`${JSON.stringify(parameters)}: ${error}`)
  return data.result
}

/** @param {string} expression */
function filledIn(expression) {
  return expression
    .replaceAll('$__rate_interval', RATE_INTERVAL)
    .replaceAll('$job', 'websocket-server')
    .replaceAll('$instance', '.*')
}

/** @returns {Panel[]} */
function panels() {
  return JSON.parse(readFileSync(join(root, 'examples/observability/dashboard.json'), 'utf8')).panels
}

/**
 * @param {number} from
 * @param {number} to
 */
async function draw(from, to) {
  const parts = []
  for (const panel of panels()) parts.push(await drawPanel(panel, from, to))
  const height = Math.max(...panels().map(({ gridPos: { y, h } }) => y + h)) * 30
  const head = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1200 ${height}" font-family="sans-serif" font-size="12" fill="#0f172a">`
  const svg = [head, `<rect width="1200" height="${height}" fill="#f1f5f9"/>`, ...parts, '</svg>', ''].join('\n')
  mkdirSync(join(root, 'docs/observability'), { recursive: true })
  writeFileSync(join(root, 'docs/observability/dashboard.svg'), svg)
}

/**
 * @param {Panel} panel
 * @param {number} from
 * @param {number} to
 */
async function drawPanel({ title, type, gridPos, fieldConfig, targets = [] }, from, to) {
  const [x, y, w, h] = [gridPos.x * 50 + 4, gridPos.y * 30 + 4, gridPos.w * 50 - 8, gridPos.h * 30 - 8]
  if (type === 'row') return `<text x="${x + 4}" y="${y + 18}" font-size="14" font-weight="bold">${escaped(title)}</text>`
  /** @type {{ name: string, values: [number, number][] }[]} */
  const lines = []
  for (const { expr, legendFormat } of targets) {
    /** @type {Series[]} */
    const result = await ask('query_range', { query: filledIn(expr), start: String(from), end: String(to), step: '1' })
    for (const { metric, values } of result) {
      const name = legendFormat.replaceAll(/\{\{(\w+)\}\}/g, (_, label) => metric[label] ?? '')
      lines.push({ name, values: values.map(([time, value]) => [time, Number(value)]) })
    }
  }
  const unit = fieldConfig?.defaults.unit ?? ''
  const top = Math.max(...lines.flatMap(({ values }) => values.map(([, value]) => (Number.isFinite(value) ? value : 0))), 0) || 1
  const legend = Math.ceil(lines.length / 2) * 15
  const [left, right, above, below] = [x + 62, x + w - 8, y + 30, y + h - 20 - legend]
  const across = (/** @type {number} */ time) => left + ((time - from) / (to - from)) * (right - left)
  const up = (/** @type {number} */ value) => below - (value / top) * (below - above)
  const out = [
    `<rect x="${x}" y="${y}" width="${w}" height="${h}" rx="3" fill="#ffffff" stroke="#e2e8f0"/>`,
    `<text x="${x + 10}" y="${y + 19}" font-weight="bold">${escaped(title)}</text>`,
  ]
  for (const share of [0, 0.5, 1]) {
    out.push(`<path d="M${left} ${up(share * top).toFixed(1)}H${right}" stroke="#e2e8f0"/>`)
    const label = inUnit(share * top, unit)
    out.push(`<text x="${left - 6}" y="${(up(share * top) + 4).toFixed(1)}" text-anchor="end" fill="#475569">${label}</text>`)
  }
  for (const [index, { name, values }] of lines.entries()) {
    const colour = COLOURS[index % COLOURS.length]
    const points = values.filter(([, value]) => Number.isFinite(value))
    const path = points.map(([time, value]) => `${across(time).toFixed(1)} ${up(value).toFixed(1)}`).join('L')
    if (path) out.push(`<path d="M${path}" fill="none" stroke="${colour}" stroke-width="1.5"/>`)
    const [column, row] = [index % 2, Math.floor(index / 2)]
    const [at, line] = [x + 12 + (column * w) / 2, below + 26 + row * 15]
    out.push(`<rect x="${at}" y="${line - 8}" width="10" height="3" fill="${colour}"/>`)
    out.push(`<text x="${at + 15}" y="${line - 3}" fill="#475569">${escaped(name)}</text>`)
  }
  if (lines.length === 0)
    out.push(`<text x="${(left + right) / 2}" y="${(above + below) / 2}" text-anchor="middle">no data</text>`)
  return out.join('\n')
}

/**
 * @param {number} value
 * @param {string} unit Grafana's name of it
 */
function inUnit(value, unit) {
  if (unit === 'percentunit') return `${(value * 100).toFixed(value < 0.1 ? 1 : 0)} %`
  if (unit === 's') return value >= 1 ? `${value.toFixed(1)} s` : `${Number((value * 1000).toPrecision(value < 0.1 ? 2 : 3))} ms`
  const tail = { bytes: 'B', Bps: 'B/s', ops: '/s', reqps: '/s' }[unit] ?? ''
  const [scale, prefix] = value >= 1e6 ? [1e6, 'M'] : value >= 1e3 ? [1e3, 'k'] : [1, '']
  const number = value / scale
  return `${number >= 100 ? number.toFixed(0) : Number(number.toPrecision(2))} ${prefix}${tail}`.trim()
}

/** @param {string} text */
function escaped(text) {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
}

/**
 * What Prometheus says at one moment: of the targets, and each query of the dashboard.
 * @param {number} end
 */
async function write(end) {
  const time = String(end - seconds / 2)
  /** @type {any} */
  const version = await (await fetch(`http://127.0.0.1:${own}/api/v1/status/buildinfo`)).json()
  const lines = [
    `# Prometheus ${version.data.version}, halfway through ${seconds} s of load; scripts/dashboard.mjs has made this.`,
  ]
  for (const { title, targets = [] } of [{ title: 'Targets', targets: [{ expr: 'up' }] }, ...panels()]) {
    for (const { expr } of targets) {
      lines.push('', `# ${title}`, filledIn(expr).replaceAll('job="websocket-server",instance=~".*"', '…').replaceAll('{…}', ''))
      for (const { metric, value } of await ask('query', { query: filledIn(expr), time })) {
        const labels = Object.entries(metric).filter(([label]) => !['__name__', 'job', 'instance'].includes(label))
        lines.push(
          `  {${labels.map(([label, text]) => `${label}="${text}"`).join(', ')}} ${Number(Number(value[1]).toPrecision(4))}`,
        )
      }
    }
  }
  writeFileSync(join(root, 'docs/observability/prometheus.txt'), `${lines.join('\n')}\n`)
}
