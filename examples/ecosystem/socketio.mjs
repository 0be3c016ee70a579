/**
 * socket.io with rooms, on this engine: `attachApp` with the face of uWebSockets.js. Its clients stay as they
 * are.
 *
 *   npm install socket.io
 *   node examples/ecosystem/socketio.mjs        then open http://localhost:7000 in two windows
 *
 * Polling, for clients that cannot open a WebSocket, and the script of the client come from the same app.
 */
import uWS from 'native-websocket-server/uws'
import { Server } from 'socket.io'

const PAGE = `<!doctype html><meta charset="utf-8"><title>Rooms</title>
<form id="join"><input name="room" value="lobby"><button>Join</button></form>
<form id="say"><input name="text" size="60" autocomplete="off"><button>Say</button></form><pre id="log"></pre>
<script src="/socket.io/socket.io.js"></script>
<script>
  const socket = io()
  const show = (line) => log.append(line + '\\n')
  let room = 'lobby'
  const enter = async () => show(room + ': ' + (await socket.emitWithAck('join', room)) + ' here')
  socket.on('connect', enter)
  socket.on('said', ({ from, text }) => show(from + ': ' + text))
  socket.on('left', (from) => show(from + ' has left'))
  join.onsubmit = (event) => (event.preventDefault(), (room = join.room.value), enter())
  say.onsubmit = (event) => (event.preventDefault(), socket.emit('say', room, say.text.value), say.reset())
</script>`

const app = uWS.App()
app.get('/', (response) => response.writeHeader('content-type', 'text/html; charset=utf-8').end(PAGE))

const server = new Server()
server.attachApp(app)

server.on('connection', (socket) => {
  socket.on('join', async (room, answer) => {
    if (typeof room !== 'string' || typeof answer !== 'function') return
    // One room at a time, beside the one of its own that each socket has.
    for (const other of socket.rooms) if (other !== socket.id) socket.leave(other)
    socket.join(room)
    answer((await server.in(room).fetchSockets()).length)
  })
  socket.on('say', (room, text) => {
    if (typeof text === 'string' && socket.rooms.has(room)) server.to(room).emit('said', { from: socket.id, text })
  })
  socket.on('disconnecting', () => {
    for (const room of socket.rooms) socket.to(room).emit('left', socket.id)
  })
})

app.listen(Number(process.env.PORT ?? 7000), (token) => {
  if (!token) throw new Error('the port cannot be had')
  // Clients of other processes can come from the end of this turn on (docs/compatibility.md).
  setImmediate(() => console.log(`Rooms on http://localhost:${uWS.us_socket_local_port(token)}`))
})
