/**
 * A process that runs out of file descriptors: it says so once, serves whom it has, and accepts again when
 * some leave.
 */
import { expect, test } from 'vitest'
import { Child } from '../support/child.js'
import { Client } from '../support/client.js'
import { addressOf, describeEngines } from '../support/engines.js'
import { handshake, RawClient } from '../support/raw-client.js'

/** Enough for Node itself and some tens of clients. */
const DESCRIPTORS = 64
const CLIENTS = 80

/**
 * Why this cannot be tested here. UBSan probes memory through a pipe, and takes every object for an invalid
 * one when it gets none.
 */
const obstacle =
  process.platform === 'win32'
    ? ' (skipped: Windows has no such limit)'
    : /asan/.test(process.env.LD_PRELOAD ?? '')
      ? ' (skipped: the sanitizers need descriptors themselves)'
      : ''

describeEngines('running out of file descriptors', (engine) => {
  test.runIf(obstacle === '')(`harms no connected client, and ends when some leave${obstacle}`, async () => {
    const child = new Child('descriptors.mjs', { args: [engine], descriptors: DESCRIPTORS })
    const served = addressOf(Number(await child.line('its port')))

    const open: Client[] = []
    const waiting: RawClient[] = []
    const complaints: string[] = []
    const accepted = async (): Promise<boolean> => {
      const line = await child.line('an event')
      if (line.startsWith('onError')) complaints.push(line)
      return line === 'open'
    }
    while (complaints.length === 0) {
      const client = Client.open(served)
      // One that is not accepted is refused, or waits; its end is not what this test is about.
      client.catch(() => {})
      if (await accepted()) open.push(await client)
      else void client.then((late) => late.socket.terminate()).catch(() => {})
      expect(open.length).toBeLessThan(DESCRIPTORS)
    }
    expect(complaints).toEqual(['onError EMFILE'])
    expect(open.length).toBeGreaterThan(10)

    for (let n = open.length; n < CLIENTS; n++) waiting.push(await RawClient.connect(served))
    for (const [n, client] of open.entries()) expect(await client.ask(`${n}`)).toBe(`${n}`)
    const busy = Number.parseInt(String(await open[0]?.ask('how busy?')), 10)
    expect(busy).toBeLessThan(50)

    // A second has passed with clients that wait or are refused. A shortage is spoken of once; only after
    // another client was accepted (a descriptor may have become free meanwhile) can there be another
    // shortage.
    const said = await child.lines.take(child.lines.size, 'what was said')
    const count = (what: string): number => said.filter((line) => line.startsWith(what)).length
    expect(count('onError')).toBeLessThanOrEqual(count('open'))

    for (const client of waiting) client.vanish()
    for (const client of open.splice(1, 10)) client.socket.terminate()
    // A client that waited may be accepted now, and may cause a shortage of its own before it is found to be
    // gone.
    for (let closed = 0; closed < 10; ) if ((await child.line('an event')) === 'close') closed++
    for (let n = 0; n < 3; n++) {
      const late = await Client.open(served)
      expect(await late.ask('room again')).toBe('room again')
    }
    open[0]?.send('stop')
    expect(await child.result()).toMatchObject({ code: 0, signal: null, stderr: '' })
  })

  test.runIf(obstacle === '')(`ends no process that has the face of ws and listens for no error${obstacle}`, async () => {
    const child = new Child('descriptors-of-face.mjs', { args: [engine], descriptors: DESCRIPTORS })
    const served = addressOf(Number(await child.line('its port')))
    const first = await Client.open(served)
    const lines = [await child.line('an event')]
    while (lines.at(-1) === 'open') {
      expect(lines.length).toBeLessThan(DESCRIPTORS)
      await RawClient.connect(served).then((client) => client.write(handshake()))
      lines.push(await child.line('an event'))
    }
    expect(lines.at(-1)).toBe('warning EMFILE')
    expect(await first.ask('still there?')).toBe('still there?')
  })
})
