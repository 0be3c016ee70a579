/** The examples of examples/observability, with the real SDK of OpenTelemetry and the real pino. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { json } from 'node:stream/consumers'
import { after, test } from 'node:test'
import WebSocket from 'ws'
import { installed } from './installed.mjs'
import { eventually } from './support.mjs'

const start = installed('observability', ['@opentelemetry', 'pino'])

/** Connects, sends, and waits for the end. */
async function talk(url, messages, headers = {}) {
  const socket = new WebSocket(url, { headers })
  await once(socket, 'open')
  const closed = once(socket, 'close')
  for (const message of messages) socket.send(message)
  return closed
}

test('tracing.mjs: a connection is a span, below the one that its client names, and its failure is in it', async () => {
  const spans = eventually('the spans')
  const collected = []
  const collector = createServer(async (request, response) => {
    const { resourceSpans } = await json(request)
    collected.push(...resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap((scope) => scope.spans)))
    response.setHeader('content-type', 'application/json').end('{}')
    if (collected.length >= 2) spans.resolve(collected)
  })
  collector.listen(0, '127.0.0.1')
  await once(collector, 'listening')
  after(() => {
    collector.close()
    collector.closeAllConnections()
  })
  const { child, line } = start('tracing.mjs', {
    OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${collector.address().port}`,
    OTEL_BSP_SCHEDULE_DELAY: '50',
  })
  const url = (await line()).split(' ')[0]
  const [traceId, parentId] = ['0af7651916cd43dd8448eb211c80319c', 'b7ad6b7169203331']
  const [code] = await talk(url, ['hello', 'fail'], { traceparent: `00-${traceId}-${parentId}-01` })
  assert.equal(code, 1011)
  const refused = new WebSocket(url.replace('/echo', '/nowhere'))
  await once(refused, 'error')
  const found = await spans.promise
  const connection = found.find(({ name }) => name === 'WebSocket /echo')
  assert.deepEqual([connection.traceId, connection.parentSpanId, connection.status.code], [traceId, parentId, 2])
  const attributes = (span) => Object.fromEntries(span.attributes.map(({ key, value }) => [key, Object.values(value)[0]]))
  assert.equal(attributes(connection)['http.route'], '/echo')
  assert.equal(attributes(connection)['websocket.close_code'], 1011)
  assert.deepEqual(
    connection.events.map(({ name }) => name),
    ['exception'],
  )
  const refusal = found.find(({ name }) => name === 'WebSocket refused')
  assert.equal(attributes(refusal)['http.response.status_code'], 404)
  const ended = once(child, 'exit')
  child.kill('SIGTERM')
  assert.deepEqual(await ended, [0, null])
})

test('logger.mjs: each line is JSON, and those of a connection name it', async () => {
  const { line } = start('logger.mjs', { LOG_LEVEL: 'debug' })
  const next = async () => JSON.parse(await line())
  const { msg, port } = await next()
  assert.equal(msg, 'listening')
  await talk(`ws://127.0.0.1:${port}/echo`, ['hello', 'fail'], { 'user-agent': 'test' })
  const lines = [await next(), await next(), await next(), await next(), await next()]
  assert.deepEqual(
    lines.map((each) => each.msg),
    ['open', 'message', 'message', 'handler failed', 'close'],
  )
  assert.equal(new Set(lines.map(({ socket }) => socket)).size, 1)
  assert.ok(lines.every(({ client, agent }) => client === '127.0.0.1' && agent === 'test'))
  assert.deepEqual([lines[1].bytes, lines[3].err.message, lines[4].code], [5, 'asked for', 1011])
})
