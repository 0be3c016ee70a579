/** `metricsPage()`: what it tells, to programs of Prometheus too where they are installed. */
import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { metricsPage, OptionError, WebSocketServer } from '../../src/index.js'
import { OTHER_PROGRAM, Running } from '../support/child.js'
import { Client, refusal } from '../support/client.js'
import { temporaryFolder } from '../support/command.js'
import { type Address, AVAILABLE_ENGINES, describeEngines, type EngineName, serve } from '../support/engines.js'
import { http } from '../support/http.js'
import { MemoryBroker, MemoryEngine } from '../support/memory-backplane.js'
import { PATIENCE, Queue, within } from '../support/waiting.js'

const examples = fileURLToPath(new URL('../../examples/observability/', import.meta.url))
const isHere = (program: string) => spawnSync(program, ['--version'], { env: OTHER_PROGRAM }).status === 0
/** Both are in Debian's package `prometheus`. */
const noPromtool = isHere('promtool') ? '' : ' (skipped: no promtool on this machine)'
const noPrometheus = isHere('prometheus') ? '' : ' (skipped: no prometheus on this machine)'

/** The samples of a text, by name and labels as they are written. */
function samplesOf(text: string): Map<string, number> {
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  return new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]))
}

/** An echo server with a page, after some traffic. One client stays. */
async function serveTraffic(engine: EngineName): Promise<Address> {
  const ended = new Queue<true>()
  const backplane = new MemoryEngine(new MemoryBroker())
  const served = await serve(
    engine,
    {
      open: () => {},
      message: (socket, message) => {
        if (message === 'fail') throw new Error('asked for')
        socket.send(message)
      },
      close: () => ended.push(true),
    },
    {
      path: '/echo/:room',
      server: { backplane, allowedOrigins: (origin) => origin !== 'https://evil.example', onError: () => {} },
      routes: (server) =>
        server
          .get('/metrics', metricsPage())
          .get('/pages/*', () => new Response('a page'))
          .any('/fails', () => Promise.reject(new Error('asked for'))),
    },
  )
  const [first, second] = await Client.openMany(served, 2, '/echo/lobby')
  for (const client of [first, second]) expect(await client?.ask('hello')).toBe('hello')
  second?.send('fail')
  expect((await second?.closed())?.code).toBe(1011)
  await ended.next('the close event')
  expect(await refusal(served, '/echo/lobby', { headers: { origin: 'https://evil.example' } })).toBe(403)
  expect(await refusal(served, '/nowhere')).toBe(404)
  expect((await http(served, '/pages/1')).status).toBe(200)
  expect((await http(served, '/fails')).status).toBe(500)
  for (const message of ['one', 'x'.repeat(2 * backplane.maxEnvelopeBytes)]) served.server.publish('t', message)
  backplane.goDown('as asked')
  backplane.goUp()
  return served
}

describeEngines('the metrics page', (engine) => {
  test('tells in OpenMetrics what the server has counted, by route and reason', async () => {
    const served = await serveTraffic(engine)
    const { status, headers, body } = await http(served, '/metrics')
    expect(status).toBe(200)
    expect(headers).toMatchObject({
      'content-type': 'application/openmetrics-text; version=1.0.0; charset=utf-8',
      'cache-control': 'no-store',
    })
    const text = body.toString()
    expect(text.endsWith('\n# EOF\n')).toBe(true)
    expect(Object.fromEntries(samplesOf(text))).toMatchObject({
      [`websocket_server_engine_info{engine="${engine}"}`]: 1,
      websocket_server_connections_accepted_total: 2,
      'websocket_server_connections{route="/echo/:room"}': 1,
      'websocket_server_connections_closed_total{route="/echo/:room",code="1011"}': 1,
      'websocket_server_upgrades_refused_total{reason="origin"}': 1,
      'websocket_server_upgrades_refused_total{reason="limit"}': 0,
      'websocket_server_upgrades_refused_total{reason="other"}': 1,
      websocket_server_http_requests_total: 3,
      websocket_server_messages_received_total: 3,
      websocket_server_received_bytes_total: 14,
      websocket_server_messages_sent_total: 2,
      websocket_server_sent_bytes_total: 10,
      websocket_server_waiting_bytes: 0,
      websocket_server_handler_errors_total: 2,
      websocket_server_backplane_up: 1,
      websocket_server_backplane_members: 1,
      websocket_server_backplane_messages_published_total: 2,
      websocket_server_backplane_messages_delivered_total: 0,
      websocket_server_backplane_messages_dropped_total: 2,
      websocket_server_backplane_messages_missing_total: 0,
      websocket_server_backplane_messages_foreign_total: 0,
      websocket_server_backplane_gaps_total: 1,
      websocket_server_backplane_reconnects_total: 1,
      websocket_server_backplane_waiting_bytes: 0,
      websocket_server_backplane_lag_seconds: 0,
      'websocket_server_handler_duration_seconds_count{route="/echo/:room",handler="open"}': 2,
      'websocket_server_handler_duration_seconds_bucket{route="/echo/:room",handler="close",le="+Inf"}': 1,
      'websocket_server_http_response_duration_seconds_count{method="GET",route="/pages/*",status="2xx"}': 1,
      'websocket_server_http_response_duration_seconds_count{method="any",route="/fails",status="error"}': 1,
    })
    const samples = samplesOf(text)
    expect(samples.get('websocket_server_turn_duration_seconds_count')).toBeGreaterThan(0)
    expect(samples.get('websocket_server_event_loop_active_seconds_total')).toBeGreaterThan(0)
    expect(samples.get('process_resident_memory_bytes')).toBeGreaterThan(1e6)
    expect(samples.get('process_start_time_seconds')).toBeCloseTo(performance.timeOrigin / 1000, 0)
  })

  test('counts in a histogram every call of a handler that is called rarely, and about all of one that is called often', async () => {
    const served = await serve(
      engine,
      { message: (socket, message) => void socket.send(message) },
      { routes: (server) => server.get('/metrics', metricsPage()) },
    )
    const client = await Client.open(served)
    const count = async () =>
      samplesOf((await http(served, '/metrics')).body.toString()).get(
        'websocket_server_handler_duration_seconds_count{route="/*",handler="message"}',
      )
    await client.ask('one')
    expect(await count()).toBe(1)
    const burst = 2000
    for (let sent = 0; sent < burst; sent++) client.send('x')
    await client.messages.take(burst, 'echoes')
    // A measured call stands for at most 64, and those that have passed since are not in it yet.
    expect(await count()).toBeGreaterThan(burst - 64)
    expect(await count()).toBeLessThanOrEqual(1 + burst)
  })

  test('is told in the older text format to a client that takes no other, and refuses whom `allow` refuses', async () => {
    const served = await serve(
      engine,
      {},
      {
        routes: (server) => {
          server.get('/metrics', metricsPage({ prefix: 'chat_', process: false }))
          server.get('/mine', metricsPage({ allow: ({ headers }) => headers.get('authorization') === 'Bearer secret' }))
          server.get('/login', metricsPage({ allow: async () => new Response('who are you?', { status: 401 }) }))
        },
      },
    )
    const { headers, body } = await http(served, '/metrics', { headers: { accept: 'text/plain;version=0.0.4, */*;q=0.1' } })
    expect(headers['content-type']).toBe('text/plain; version=0.0.4; charset=utf-8')
    expect(body.toString()).toContain('# TYPE chat_messages_sent_total counter\nchat_messages_sent_total 0\n')
    expect(body.toString()).not.toMatch(/# EOF|# UNIT|^process_|backplane/m)
    expect((await http(served, '/mine')).status).toBe(403)
    expect((await http(served, '/mine', { headers: { authorization: 'Bearer secret' } })).status).toBe(200)
    expect((await http(served, '/login')).status).toBe(401)
    expect((await http(served, '/metrics', { method: 'HEAD' })).body.length).toBe(0)
  })

  test(`passes promtool, in both formats${noPromtool}`, { skip: noPromtool !== '' }, async () => {
    const served = await serveTraffic(engine)
    const textOf = async (accept: string) => (await http(served, '/metrics', { headers: { accept } })).body.toString()
    const check = (args: string[], input?: string) => {
      const { status, stdout, stderr } = spawnSync('promtool', args, { input, env: OTHER_PROGRAM, encoding: 'utf8' })
      return { status, said: `${stdout}${stderr}`.trim() }
    }
    expect(check(['check', 'metrics'], await textOf('text/plain'))).toEqual({ status: 0, said: '' })
    // promtool reads OpenMetrics where it makes blocks of them, and then asks for timestamps.
    const stamped = (await textOf('application/openmetrics-text')).replace(/^[^#\n].*$/gm, '$& 1700000000')
    const folder = temporaryFolder()
    writeFileSync(join(folder, 'metrics.txt'), stamped)
    const made = check(['tsdb', 'create-blocks-from', 'openmetrics', join(folder, 'metrics.txt'), join(folder, 'blocks')])
    expect(made).toMatchObject({ status: 0 })
    expect(made.said).not.toContain('error')
    for (const file of ['prometheus.yml', 'alerts.yml']) {
      expect(check(['check', file === 'alerts.yml' ? 'rules' : 'config', join(examples, file)])).toMatchObject({ status: 0 })
    }
  })
})

// Prometheus takes five seconds to begin, and what it reads is the same on both engines.
test(`the metrics page is scraped by Prometheus, which answers each query of the dashboard${noPrometheus}`, {
  skip: noPrometheus !== '',
}, async () => {
  const served = await serveTraffic(AVAILABLE_ENGINES[0] ?? 'portable')
  const prometheus = await startPrometheus(served)
  const targets = await prometheus.until('up{job="websocket-server"} == 1')
  expect(targets).toHaveLength(1)
  // Two scrapes and more, so that there are rates.
  await prometheus.until('count_over_time(websocket_server_messages_sent_total[1m]) >= 4')
  const expressions = dashboardQueries()
  expect(expressions.length).toBeGreaterThan(20)
  const empty: string[] = []
  for (const expression of expressions) if ((await prometheus.query(expression)).length === 0) empty.push(expression)
  expect(empty).toEqual([])
  const [sent] = await prometheus.query('websocket_server_messages_sent_total')
  expect(sent?.value[1]).toBe('2')
})

test('the options of a page are checked, and a page that is not itself the handler of a route says so', async () => {
  for (const options of [{ prefix: '1x' }, { prefix: 'a-b' }, { process: 1 }, { allow: 'all' }, { other: true }]) {
    expect(() => metricsPage(options as never), JSON.stringify(options)).toThrow(OptionError)
  }
  const page = metricsPage()
  const errors: Error[] = []
  const server = new WebSocketServer({ onError: (error) => errors.push(error) }).get('/metrics', (request) => page(request))
  const { port } = await server.listen({ host: '127.0.0.1' })
  expect((await fetch(`http://127.0.0.1:${port}/metrics`)).status).toBe(500)
  await server.close()
  expect(errors.map(String)).toEqual([expect.stringContaining('must itself be the handler of a route')])
})

/** The expressions of examples/observability/dashboard.json, with values for what Grafana fills in. */
function dashboardQueries(): string[] {
  const dashboard: unknown = JSON.parse(readFileSync(join(examples, 'dashboard.json'), 'utf8'))
  const { panels } = dashboard as { panels: { targets?: { expr: string }[] }[] } // as Grafana writes it
  return panels.flatMap(({ targets = [] }) =>
    targets.map(({ expr }) =>
      expr.replaceAll('$__rate_interval', '1m').replaceAll('$job', 'websocket-server').replaceAll('$instance', '.*'),
    ),
  )
}

interface QueryResult {
  readonly value: readonly [time: number, value: string]
}

/** Prometheus with the configuration of the example, for this server. */
async function startPrometheus({ port }: Address) {
  const folder = temporaryFolder()
  const config = readFileSync(join(examples, 'prometheus.yml'), 'utf8')
    .replace('scrape_interval: 15s', 'scrape_interval: 100ms\n  scrape_timeout: 100ms')
    .replace('localhost:7000', `127.0.0.1:${port}`)
  writeFileSync(join(folder, 'prometheus.yml'), config)
  const own = await freePort()
  const running = new Running(
    [
      'prometheus',
      `--config.file=${join(folder, 'prometheus.yml')}`,
      `--storage.tsdb.path=${join(folder, 'data')}`,
      `--web.listen-address=127.0.0.1:${own}`,
    ],
    { env: OTHER_PROGRAM },
  )
  const ended = running.result().then(({ code, stderr }) => {
    throw new Error(`prometheus ended with ${code}: ${stderr}`)
  })
  ended.catch(() => {}) // later it ends by being killed
  const query = async (expression: string): Promise<QueryResult[]> => {
    const answer = await fetch(`http://127.0.0.1:${own}/api/v1/query?query=${encodeURIComponent(expression)}`)
    const { status, error, data } = (await answer.json()) as { status: string; error?: string; data: { result: QueryResult[] } }
    if (status !== 'success') throw new Error(`${expression}: ${error}`)
    return data.result
  }
  /** Asks until there is a result. */
  const until = (expression: string): Promise<QueryResult[]> => {
    const ask = async (): Promise<QueryResult[]> => {
      const result = await query(expression).catch(() => [])
      if (result.length > 0) return result
      await new Promise((resolve) => setTimeout(resolve, 50))
      return ask()
    }
    return within(Promise.race([ask(), ended]), `a result of ${expression}`, 3 * PATIENCE)
  }
  return { query, until }
}

/** A port that was free a moment ago. */
async function freePort(): Promise<number> {
  const holder = createServer()
  await new Promise<void>((resolve) => holder.listen(0, '127.0.0.1', resolve))
  const { port } = holder.address() as { port: number } // it listens on TCP
  await new Promise((resolve) => holder.close(resolve))
  return port
}
