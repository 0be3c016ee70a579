/**
 * A chat with rooms, for people who have logged in.
 *
 *   node examples/chat.mjs        then open http://localhost:7000
 *
 * POST /login gives a session cookie, without which the upgrade is refused. A room is a topic; what one
 * member says goes to all members, and joining and leaving are published to the same topic. A real login
 * would ask for more than a name, and a server on the internet would use TLS, `Secure` cookies and
 * `allowedOrigins` with its own name.
 */
import { randomBytes } from 'node:crypto'
import { WebSocketServer } from 'native-websocket-server'

/** @typedef {{ name: string, room: string }} Member */

/** @type {Map<string, string>} the name behind each session */
const sessions = new Map()

const server = new WebSocketServer()
  .get('/', () => new Response(PAGE, { headers: { 'content-type': 'text/html; charset=utf-8' } }))
  .post('/login', async (request) => {
    const name = String(new URLSearchParams(await request.text()).get('name') ?? '').trim()
    if (!/^[\p{L}\p{N} ]{1,20}$/u.test(name)) return new Response('A name of 1 to 20 letters, please.', { status: 400 })
    const session = randomBytes(16).toString('base64url')
    sessions.set(session, name)
    const cookie = `session=${session}; HttpOnly; SameSite=Strict; Path=/; Max-Age=86400`
    return new Response(null, { status: 303, headers: { location: '/', 'set-cookie': cookie } })
  })
  .ws('/chat/:room', {
    upgrade(request) {
      const [, session = ''] = /(?:^|;\s*)session=([\w-]+)/.exec(request.headers.get('cookie') ?? '') ?? []
      const name = sessions.get(session)
      if (name === undefined) return new Response('Log in first.', { status: 401 })
      /** @type {Member} */
      const data = { name, room: request.params.room }
      return { data }
    },
    open(socket) {
      socket.subscribe(socket.data.room)
      say(socket.data.room, { from: socket.data.name, event: 'joined' })
    },
    message(socket, message) {
      if (typeof message === 'string') say(socket.data.room, { from: socket.data.name, text: message })
    },
    close(socket) {
      say(socket.data.room, { from: socket.data.name, event: 'left' })
    },
    maxPayloadLength: 4096,
  })

/**
 * @param {string} room
 * @param {{ from: string, text?: string, event?: 'joined' | 'left' }} line
 */
function say(room, line) {
  server.publish(room, JSON.stringify(line))
}

const PAGE = `<!doctype html><meta charset="utf-8"><title>Chat</title>
<form action="/login" method="post">Name: <input name="name"><button>Log in</button></form>
<form id="say"><input id="text" size="60" autocomplete="off"><button>Say</button></form><pre id="log"></pre>
<script>
  const room = location.hash.slice(1) || 'lobby'
  const socket = new WebSocket(location.origin.replace('http', 'ws') + '/chat/' + encodeURIComponent(room))
  socket.onmessage = ({ data }) => {
    const { from, text, event } = JSON.parse(data)
    log.append(event ? from + ' has ' + event + '\\n' : from + ': ' + text + '\\n')
  }
  say.onsubmit = (event) => {
    event.preventDefault()
    socket.send(text.value)
    text.value = ''
  }
</script>`

const { port } = await server.listen({ port: Number(process.env.PORT ?? 7000) })
console.log(`Chat on http://localhost:${port}`)
