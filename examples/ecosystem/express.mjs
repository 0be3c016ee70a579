/**
 * Express, and WebSockets beside it on the same port, which know who has logged in.
 *
 *   npm install express
 *   node examples/ecosystem/express.mjs        then open http://localhost:7000
 *
 * Express keeps its server of node:http, which hands over the connections that ask for a WebSocket. The
 * middleware that knows the user runs for them, too. A real login would ask for more than a name.
 */
import { randomBytes } from 'node:crypto'
import express from 'express'
import { WebSocketServer } from 'native-websocket-server'

const PAGE = `<!doctype html><meta charset="utf-8"><title>Express</title>
<form action="/login" method="post">Name: <input name="name"><button>Log in</button></form>
<form id="note"><input name="text" size="60" autocomplete="off"><button>Note</button></form><pre id="log"></pre>
<script>
  const socket = new WebSocket(location.origin.replace('http', 'ws') + '/live')
  socket.onmessage = ({ data }) => log.append(data + '\\n')
  note.onsubmit = (event) => {
    event.preventDefault()
    fetch('/notes', { method: 'POST', body: new URLSearchParams(new FormData(note)) })
    note.reset()
  }
</script>`

/** The name behind each session. */
const sessions = new Map()

/** A middleware: `request.user`, for those who have logged in. */
function identify(request, _response, next) {
  const [, session] = /(?:^|;\s*)session=([\w-]+)/.exec(request.headers.cookie ?? '') ?? []
  request.user = sessions.get(session)
  next()
}

const app = express()
app.use(identify, express.urlencoded({ extended: false }))
app.get('/', (_request, response) => response.send(PAGE))
app.post('/login', (request, response) => {
  const session = randomBytes(16).toString('base64url')
  sessions.set(session, String(request.body?.name ?? '').slice(0, 20))
  response.cookie('session', session, { httpOnly: true, sameSite: 'strict' }).redirect(303, '/')
})
app.post('/notes', (request, response) => {
  if (request.user === undefined) return void response.status(401).send('Log in first.')
  sockets.publish('notes', `${request.user}: ${request.body?.text ?? ''}`)
  response.status(204).end()
})

const sockets = new WebSocketServer().ws('/live', {
  upgrade: ({ incoming }) =>
    incoming?.user === undefined ? new Response('Log in first.', { status: 401 }) : { data: { user: incoming.user } },
  open(socket) {
    socket.subscribe('notes')
    socket.send(`hello ${socket.data.user}`)
  },
})

const http = app.listen(Number(process.env.PORT ?? 7000), () => {
  console.log(`Express on http://localhost:${http.address().port}`)
})
http.on('upgrade', (request, socket, head) => {
  identify(request, undefined, () => sockets.adopt(request, socket, head))
})

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, async () => {
    http.close()
    await sockets.close()
  })
}
