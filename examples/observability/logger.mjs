/**
 * A server that logs with pino: a line of JSON for each connection, its end and its errors, all with the
 * connection's id.
 *
 *   npm install pino
 *   node examples/observability/logger.mjs
 */
import { WebSocketServer } from 'native-websocket-server'
import pino from 'pino'

const log = pino({ level: process.env.LOG_LEVEL ?? 'info' })

const server = new WebSocketServer({ onError: (error) => log.error({ err: error }, 'server error') }).ws('/echo', {
  // `data` is the logger of the connection: every line that it writes names the connection.
  upgrade: ({ remoteAddress, headers }) => ({
    data: log.child({ client: remoteAddress, agent: headers.get('user-agent') }),
  }),
  open(socket) {
    socket.data = socket.data.child({ socket: socket.id })
    socket.data.info('open')
  },
  message(socket, message, isBinary) {
    socket.data.debug({ bytes: Buffer.byteLength(message), isBinary }, 'message')
    if (message === 'fail') throw new Error('asked for')
    socket.send(message)
  },
  dropped: (socket) => socket.data.warn({ waiting: socket.bufferedAmount }, 'dropped'),
  close: (socket, code, reason) => socket.data.info({ code, reason }, 'close'),
  error: (error, socket) => socket.data.error({ err: error }, 'handler failed'),
})

const { port } = await server.listen({ port: Number(process.env.PORT ?? 7000) })
log.info({ port, engine: server.engine }, 'listening')

process.once('SIGTERM', () => server.close())
