/** A page of metrics for Prometheus and its like. */
import process from 'node:process'
import type { PageHost } from '../core/page.js'
import type { Timings } from '../core/timings.js'
import { ANY_METHOD } from '../http/routes.js'
import { resolveMetricsPage } from '../options/pages.js'
import type { BackplaneMetrics, MetricsPageOptions, RouteHandler } from '../types/index.js'
import { Exposition, type Family, formatFor, type Labels } from './exposition.js'
import { makePage } from './page.js'
import { WaitingBytes } from './waiting-bytes.js'

/**
 * A page for Prometheus, and for all that read its formats: `server.get('/metrics', metricsPage())`. It must
 * be the handler of the route itself. The text is OpenMetrics 1.0, and Prometheus' older text format for a
 * client whose Accept header names `text/plain` and not OpenMetrics. docs/observability.md lists the metrics.
 *
 * From the moment when the page is registered, the server measures what its handlers take: each call of a
 * handler that is called at most 20,000 times a second, and of one that is called more often, some calls
 * that stand for the others. A server without this page measures nothing. Throws OptionError.
 */
export function metricsPage(options: MetricsPageOptions = {}): RouteHandler<string> {
  const settings = resolveMetricsPage(options)
  return makePage(settings, (host) => {
    const timings = host.measure()
    const waiting = new WaitingBytes(host.sockets)
    return async (request) => {
      const exposition = new Exposition(formatFor(request.headers.get('accept')))
      addServer(exposition, settings.prefix, host, await waiting.now())
      const backplane = host.backplaneMetrics()
      if (backplane !== undefined) addBackplane(exposition, settings.prefix, backplane)
      addTimings(exposition, settings.prefix, timings)
      addEventLoop(exposition, settings.prefix, timings)
      if (settings.process) addProcess(exposition)
      return new Response(exposition.end(), {
        headers: { 'content-type': exposition.contentType, 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' },
      })
    }
  })
}

/** What `WebSocketServer.metrics` counts. */
function addServer(to: Exposition, prefix: string, host: PageHost, waitingBytes: number): void {
  const counts = host.metrics()
  const add = (name: string, help: string, value: number | [Labels, number][], more: Partial<Family> = {}) =>
    to.add({ name: `${prefix}${name}`, type: 'counter', help, ...more }, typeof value === 'number' ? [[{}, value]] : value)
  const bytes = { unit: 'bytes' } as const
  const { upgradesRefusedByOrigin, upgradesRefusedByLimit, upgradesRefusedByAddress, upgradesRefusedByHandler } = counts
  const named = upgradesRefusedByOrigin + upgradesRefusedByLimit + upgradesRefusedByAddress + upgradesRefusedByHandler
  add('engine', 'The engine that serves.', [[{ engine: host.engine }, 1]], { type: 'info' })
  add('tcp_connections', 'TCP connections accepted or adopted, for WebSocket and HTTP.', counts.tcpConnections)
  add('connections_accepted', 'WebSocket connections accepted.', counts.connectionsAccepted)
  add('upgrades_refused', 'Requests for a WebSocket connection that were refused.', [
    [{ reason: 'origin' }, upgradesRefusedByOrigin],
    [{ reason: 'limit' }, upgradesRefusedByLimit],
    [{ reason: 'address' }, upgradesRefusedByAddress],
    [{ reason: 'handler' }, upgradesRefusedByHandler],
    [{ reason: 'other' }, counts.upgradesRefused - named],
  ])
  add('http_requests', 'HTTP requests other than those for a WebSocket connection.', counts.httpRequests)
  add('messages_received', 'Messages received whole, from all clients.', counts.messagesReceived)
  add('received_bytes', 'Bytes of the payloads of received messages.', counts.bytesReceived, bytes)
  add('messages_sent', 'Messages taken for a client; published ones once for each subscriber.', counts.messagesSent)
  add('sent_bytes', 'Bytes of the payloads of sent messages.', counts.bytesSent, bytes)
  add('messages_dropped', 'Messages not taken because the queue of their client was full.', counts.messagesDropped)
  add('waiting_bytes', 'Bytes that wait for all clients.', waitingBytes, { type: 'gauge', ...bytes })
  add('rate_limit_pauses', 'How often a client was made to wait by a rate limit.', counts.rateLimitPauses)
  add('rate_limit_closes', 'Connections that a rate limit has closed.', counts.rateLimitCloses)
  add('handler_errors', 'What handlers threw or rejected with.', counts.handlerErrors)
}

/** What `WebSocketServer.backplaneMetrics` counts. */
function addBackplane(to: Exposition, prefix: string, counts: BackplaneMetrics): void {
  const add = (name: string, help: string, value: number, more: Partial<Family> = {}) =>
    to.add({ name: `${prefix}backplane_${name}`, type: 'counter', help, ...more }, [[{}, value]])
  const gauge = { type: 'gauge' } as const
  add('up', '1 while messages go to other servers and come from them, else 0.', counts.up ? 1 : 0, gauge)
  if (counts.outsideUp !== undefined)
    add('outside_up', '1 while messages go to other processes and come from them, else 0.', counts.outsideUp ? 1 : 0, gauge)
  add('members', 'Servers behind the backplane, this one included.', counts.members, gauge)
  add('messages_published', 'Messages published here for other servers.', counts.published)
  add('messages_delivered', 'Messages of other servers published here to subscribers.', counts.delivered)
  add('messages_dropped', 'Messages published here that were not sent to other servers, or may not have arrived.', counts.dropped)
  add('messages_missing', 'Messages of other servers that are known not to have come.', counts.missing)
  add('messages_foreign', 'What came from the backplane and was no message of this package.', counts.foreign)
  add('gaps', 'Stretches of time in which messages of other servers were missed, or may have been.', counts.gaps)
  add('reconnects', 'How often the backplane was up again.', counts.reconnects)
  add('waiting_bytes', 'Bytes that wait for the backplane.', counts.pendingBytes, { ...gauge, unit: 'bytes' })
  const lagHelp = 'From publish on another server to the arrival here, of the newest message.'
  add('lag_seconds', lagHelp, counts.lag / 1000, { ...gauge, unit: 'seconds' })
}

/** By route. The values of all labels are known when the server begins to listen, but for close codes. */
function addTimings(to: Exposition, prefix: string, { webSocket, http }: Timings): void {
  to.add(
    { name: `${prefix}connections`, type: 'gauge', help: 'WebSocket connections that have not ended.' },
    webSocket.map(({ path, open }) => [{ route: path }, open]),
  )
  to.add(
    { name: `${prefix}connections_closed`, type: 'counter', help: 'WebSocket connections that have ended.' },
    webSocket.flatMap(({ path, closed }) => [...closed].map(([code, count]): [Labels, number] => [{ route: path, code }, count])),
  )
  const seconds = { type: 'histogram', unit: 'seconds' } as const
  to.addHistograms(
    {
      name: `${prefix}handler_duration_seconds`,
      help: 'Time for which a call of a handler of a WebSocket route has kept the thread.',
      ...seconds,
    },
    webSocket.flatMap(({ path, handlers }) =>
      [...handlers].map(([handler, durations]) => [{ route: path, handler }, durations] as const),
    ),
  )
  to.addHistograms(
    {
      name: `${prefix}http_response_duration_seconds`,
      help: 'Time from the call of a handler of an HTTP route to its response.',
      ...seconds,
    },
    http.flatMap(({ method, path, responses }) =>
      [...responses].map(
        ([status, durations]) => [{ method: method === ANY_METHOD ? 'any' : method, route: path, status }, durations] as const,
      ),
    ),
  )
}

/** Of this thread. */
function addEventLoop(to: Exposition, prefix: string, { turns, delays }: Timings): void {
  const { active, idle } = performance.eventLoopUtilization()
  const seconds = { type: 'histogram', unit: 'seconds' } as const
  to.addHistograms(
    {
      name: `${prefix}turn_duration_seconds`,
      help: 'From a call of a handler to the end of its turn of the event loop; at most one turn in 5 ms is measured.',
      ...seconds,
    },
    [[{}, turns]],
  )
  to.addHistograms(
    {
      name: `${prefix}event_loop_delay_seconds`,
      help: 'How late a timer of the event loop was, every 20 ms.',
      ...seconds,
    },
    [[{}, delays]],
  )
  const add = (name: string, help: string, milliseconds: number) =>
    to.add({ name: `${prefix}${name}`, type: 'counter', unit: 'seconds', help }, [[{}, milliseconds / 1000]])
  add('event_loop_active_seconds', 'Time in which the event loop was at work.', active)
  add('event_loop_idle_seconds', 'Time in which the event loop waited.', idle)
}

/** Under the names that all exporters of Prometheus have. */
function addProcess(to: Exposition): void {
  const { user, system } = process.cpuUsage()
  const seconds = { unit: 'seconds' } as const
  to.add({ name: 'process_cpu_seconds', type: 'counter', ...seconds, help: 'Processor time, of user and system.' }, [
    [{}, (user + system) / 1e6],
  ])
  to.add({ name: 'process_resident_memory_bytes', type: 'gauge', unit: 'bytes', help: 'Resident memory.' }, [
    [{}, process.memoryUsage.rss()],
  ])
  to.add({ name: 'process_start_time_seconds', type: 'gauge', ...seconds, help: 'When the process started, since 1970.' }, [
    [{}, performance.timeOrigin / 1000],
  ])
}
