/**
 * A server as it runs in production: sockets from systemd, clients' addresses from a proxy, a way to stop
 * that no client notices. The other files of this folder start it, and stand in front of it.
 *
 *   node examples/deploy/server.mjs
 *
 * PORT and HOST say where to listen, unless systemd passes sockets. PROXY_PROTOCOL=1 expects the PROXY
 * protocol on every connection: only where nothing but the proxy can connect. DRAIN is the time in
 * milliseconds in which balancers find out that the server stops.
 */
import { WebSocketServer } from 'native-websocket-server'

/** The first descriptor that systemd passes (sd_listen_fds(3)). */
const FIRST_PASSED = 3

const { DRAIN = '10000', HOST, LISTEN_FDS = '0', LISTEN_PID, PORT = '7000', PROXY_PROTOCOL } = process.env

const server = new WebSocketServer({ proxyProtocol: PROXY_PROTOCOL === '1', maxConnections: 100_000 })
  .ws('/echo', { message: (socket, message) => void socket.send(message) })
  .get('/who', ({ proxiedAddress, headers, remoteAddress }) =>
    Response.json({ client: proxiedAddress ?? headers.get('x-forwarded-for') ?? remoteAddress, process: process.pid }),
  )

// The variables are for this process alone: a child inherits them too.
const passed = LISTEN_PID === String(process.pid) ? Number(LISTEN_FDS) : 0
const sockets = Array.from({ length: passed }, (_, index) => ({ fd: FIRST_PASSED + index }))
const places = await server.listen(passed > 0 ? sockets : [{ port: Number(PORT), ...(HOST !== undefined && { host: HOST }) }])
for (const { port = 0 } of places) console.log(`Listening on ${port === 0 ? 'a unix socket' : `http://localhost:${port}`}`)

/**
 * Service managers send SIGTERM, a terminal SIGINT. A second signal ends the time in which balancers find
 * out.
 */
async function stop() {
  await server.close({ drain: Number(DRAIN), code: 1012, reason: 'the service restarts' })
  process.exit(0)
}
let isStopping = false
for (const signal of ['SIGTERM', 'SIGINT']) {
  process.on(signal, () => {
    if (isStopping) void server.close()
    else void stop()
    isStopping = true
  })
}
