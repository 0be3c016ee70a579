/**
 * Spans of OpenTelemetry, made of the events on diagnostics channels: one for each connection, from its
 * handshake to its end, a child of the span that the client names in `traceparent`; what goes wrong is in
 * its events. Refused upgrades are spans of their own.
 *
 *   npm install @opentelemetry/api @opentelemetry/sdk-trace-node @opentelemetry/exporter-trace-otlp-http
 *   OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 node examples/observability/tracing.mjs
 *
 * Only this file knows of OpenTelemetry: the server below is as it would be without.
 */
import { subscribe } from 'node:diagnostics_channel'
import { context, propagation, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http'
import { BatchSpanProcessor, NodeTracerProvider } from '@opentelemetry/sdk-trace-node'
import { DIAGNOSTICS_CHANNELS, WebSocketServer } from 'native-websocket-server'

const provider = new NodeTracerProvider({ spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter())] })
// Brings the W3C propagator, which reads `traceparent`.
provider.register()
const tracer = trace.getTracer('native-websocket-server')

/** The spans of open connections. A socket that is gone takes its span with it. */
const spans = new WeakMap()

subscribe(DIAGNOSTICS_CHANNELS.open, ({ socket, route, request }) => {
  const parent = propagation.extract(context.active(), Object.fromEntries(request.headers))
  const attributes = {
    'http.route': route,
    'url.path': request.path,
    'client.address': socket.remoteAddress,
    'client.port': socket.remotePort,
    'network.protocol.name': 'websocket',
  }
  spans.set(socket, tracer.startSpan(`WebSocket ${route}`, { kind: SpanKind.SERVER, attributes }, parent))
})

subscribe(DIAGNOSTICS_CHANNELS.backpressure, ({ socket, outcome }) => {
  spans.get(socket)?.addEvent(`message ${outcome}`, { 'websocket.buffered_amount': socket.bufferedAmount })
})

subscribe(DIAGNOSTICS_CHANNELS.error, ({ error, socket }) => {
  const span = spans.get(socket)
  span?.recordException(error)
  span?.setStatus({ code: SpanStatusCode.ERROR })
})

subscribe(DIAGNOSTICS_CHANNELS.close, ({ socket, code }) => {
  const span = spans.get(socket)
  span?.setAttribute('websocket.close_code', code)
  span?.end()
})

subscribe(DIAGNOSTICS_CHANNELS.upgradeRefused, ({ reason, status, remoteAddress }) => {
  const attributes = { 'websocket.refusal': reason, 'http.response.status_code': status, 'client.address': remoteAddress }
  tracer.startSpan('WebSocket refused', { kind: SpanKind.SERVER, attributes }).end()
})

const server = new WebSocketServer({ onError: console.error }).ws('/echo', {
  message: (socket, message) => {
    if (message === 'fail') throw new Error('asked for')
    socket.send(message)
  },
})
const { port } = await server.listen({ port: Number(process.env.PORT ?? 7000) })
console.log(`ws://localhost:${port}/echo is traced`)

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, async () => {
    await server.close()
    await provider.shutdown()
  })
}
