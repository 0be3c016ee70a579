/**
 * The parts of hyper-express' suite (tests/index.js), one by one: there, the first that fails ends the others.
 * In the checkout's folder. Prints a line of JSON for each part: its name, and what failed or null.
 */
'use strict'
const { join } = require('node:path')
const process = require('node:process')
const { setTimeout } = require('node:timers/promises')

/** Milliseconds for one part. */
const PATIENCE = 20_000

/** The modules in tests/, with the functions of theirs that are parts, in the order of tests/index.js. */
const PARTS = [
  ['components/Server.js', 'test_server_exclusive_port'],
  ['components/ServerV7.js', 'test_server_v7'],
  ['components/features/HostManager.js', 'test_hostmanager_object'],
  ['components/router/Router.js', 'test_router_object'],
  ['components/router/V7.js', 'test_router_v7'],
  ['components/http/Request.js', 'test_request_object'],
  ['components/http/Response.js', 'test_response_object'],
  ['components/ws/WebsocketRoute.js', 'test_websocket_route'],
  ['components/ws/Websocket.js', 'test_websocket_component'],
  ['middlewares/hyper-express-session/index.js', 'test_session_middleware'],
  ['components/Server.js', 'test_server_shutdown'],
]

/** @param {string} file in tests/ */
function load(file) {
  return require(join(process.cwd(), 'tests', file))
}

async function main() {
  const { server } = load('configuration.js')
  const { TEST_SERVER, not_found_handler } = load('components/Server.js')
  const parts = PARTS.map(([file = '', name = '']) => ({ name, test: load(file)[name] }))
  TEST_SERVER.all('*', not_found_handler)
  await TEST_SERVER.listen(server.port, server.host)
  for (const { name, test } of parts) {
    /** @type {string | null} */
    let failure = null
    /** @param {unknown} error */
    const fail = (error) => {
      failure ??= error instanceof Error ? error.message : String(error)
    }
    // Parts forget promises: what those reject with fails the part that runs.
    process.on('unhandledRejection', fail)
    await Promise.race([Promise.resolve().then(test), setTimeout(PATIENCE, undefined, { ref: true })]).catch(fail)
    process.off('unhandledRejection', fail)
    process.stdout.write(`${JSON.stringify({ name, failure })}\n`)
  }
  process.exit(0)
}

main()
