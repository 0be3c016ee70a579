/** ocpp-rpc: a central system on the face, and charging stations, which keep `ws`. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { dirname, sep } from 'node:path'
import { after, test } from 'node:test'
import { chooseEngine, eventually, onEngines, withFace } from './support.mjs'

const require = createRequire(import.meta.url)

const { RPCClient } = require('ocpp-rpc')
// The package a second time, since its clients and its server ask for `ws` in the same module.
const folder = dirname(require.resolve('ocpp-rpc')) + sep
for (const file of Object.keys(require.cache)) if (file.startsWith(folder)) delete require.cache[file]
const { RPCServer, createRPCError } = withFace('ocpp-rpc', (load) => load('ocpp-rpc'))

onEngines('ocpp-rpc', (engine) => {
  chooseEngine(engine)

  test('refuses strangers, answers calls of OCPP 1.6, calls the station, and closes', async () => {
    // A station that has not answered a Ping after this time is cut: longer than this process may be late.
    const server = new RPCServer({ protocols: ['ocpp1.6'], strictMode: true, pingIntervalMs: 1000 })
    server.auth((accept, reject, { identity, password }) => {
      if (String(password) !== 'secret') reject(401)
      else accept({ station: identity })
    })
    const connected = eventually('the station')
    server.on('client', (client) => {
      client.handle('Heartbeat', () => ({ currentTime: '2026-01-01T00:00:00.000Z' }))
      client.handle(() => {
        throw createRPCError('NotImplemented')
      })
      connected.resolve(client)
    })
    const http = await server.listen(0, '127.0.0.1')
    after(() => http.closeAllConnections())
    const endpoint = `ws://127.0.0.1:${http.address().port}/ocpp`
    const station = (password) =>
      new RPCClient({ endpoint, identity: 'CP_1', password, protocols: ['ocpp1.6'], strictMode: true, reconnect: false })
    await assert.rejects(station('guess').connect(), { code: 401 })
    const client = station('secret')
    after(() => client.close({ force: true }))
    client.handle('Reset', ({ params }) => ({ status: params.type === 'Soft' ? 'Accepted' : 'Rejected' }))
    await client.connect()
    assert.equal(client.protocol, 'ocpp1.6')
    const serverClient = await connected.promise
    assert.deepEqual(serverClient.session, { station: 'CP_1' })
    assert.deepEqual(await client.call('Heartbeat', {}), { currentTime: '2026-01-01T00:00:00.000Z' })
    await assert.rejects(client.call('Authorize', { idTag: 'tag' }), { rpcErrorCode: 'NotImplemented' })
    assert.deepEqual(await serverClient.call('Reset', { type: 'Soft' }), { status: 'Accepted' })
    await once(serverClient, 'ping')
    const closed = once(client, 'close')
    await server.close({ code: 1001, reason: 'maintenance' })
    const [{ code, reason }] = await closed
    assert.deepEqual([code, reason], [1001, 'maintenance'])
  })
})
