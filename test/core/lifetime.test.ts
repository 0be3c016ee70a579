/** Processes that end at every moment: exit codes, and nothing on standard error. */
import { expect, test } from 'vitest'
import { Child, runFixture } from '../support/child.js'
import { Client } from '../support/client.js'
import { addressOf, describeEngines, type EngineName } from '../support/engines.js'
import { RawClient } from '../support/raw-client.js'

const run = (engine: EngineName, scenario: string, ...execArgv: string[]) =>
  runFixture('lifetimes.mjs', { args: [engine, scenario], execArgv })

const clean = (code: number, ...lines: string[]) => ({
  code,
  signal: null,
  stderr: '',
  stdout: lines.map((line) => `${line}\n`).join(''),
})

describeEngines('a process', (engine) => {
  for (const scenario of ['plain', 'TLS']) {
    test(`exits with open connections (${scenario})`, async () => {
      expect(await run(engine, `exit with open ${scenario} connections`)).toEqual(clean(3, '20 open'))
    })
  }

  for (const moment of ['a message handler', 'an open handler', 'a close handler', 'an HTTP handler']) {
    test(`exits within ${moment}`, async () => {
      expect(await run(engine, `exit within ${moment}`)).toEqual(clean(4))
    })
  }

  test('exits with megabytes that wait for a client', async () => {
    expect(await run(engine, 'exit under backpressure')).toEqual(clean(5, 'waiting'))
  })

  test('exits with a sendAndFlush that is pending', async () => {
    expect(await run(engine, 'exit with sendAndFlush pending')).toEqual(clean(8, 'waiting'))
  })

  test('exits while the server closes', async () => {
    expect(await run(engine, 'exit while closing')).toEqual(clean(6))
  })

  test('exits while the server starts to listen', async () => {
    expect(await run(engine, 'exit while starting')).toEqual(clean(7))
  })

  test('may use its sockets in an exit handler', async () => {
    expect(await run(engine, 'use in an exit handler')).toEqual(clean(8, 'number number'))
  })

  test('ends by itself once the server is closed', async () => {
    expect(await run(engine, 'close and end')).toEqual(clean(0, 'closed', 'exit'))
  })

  test('ends by itself when the server was made and never listened', async () => {
    expect(await run(engine, 'never listen')).toEqual(clean(0, 'made', 'exit'))
  })

  test('ends by itself after a listen that failed', async () => {
    expect(await run(engine, 'fail to listen')).toEqual(clean(0, 'EADDRINUSE', 'exit'))
  })

  test('is not kept alive by a server that is unref’ed', async () => {
    expect(await run(engine, 'unref')).toEqual(clean(0, 'listening', 'exit'))
  })

  test('is kept alive by a server that is unref’ed and ref’ed again, and by one that listens', async () => {
    expect(await run(engine, 'unref and ref')).toEqual(clean(0, 'kept alive', 'exit'))
  })

  test('is kept alive by an open connection of a server that is unref’ed, and ends with it', async () => {
    const child = new Child('lifetimes.mjs', { args: [engine, 'unref with a connection'] })
    const client = await Client.open(addressOf(Number(await child.line('its port'))))
    expect(await child.line('the opening')).toBe('open')
    expect(await client.ask('still there?')).toBe('still there?')
    client.socket.close(1000)
    expect(await child.result()).toMatchObject({ code: 0, signal: null, stderr: '' })
  })

  test('hears that the server is closed when it has cut a client that did not answer, and then ends', async () => {
    const child = new Child('lifetimes.mjs', { args: [engine, 'close on a silent client'] })
    const port = await child.line('its port')
    await RawClient.open(addressOf(Number(port))) // answers no Close frame
    expect(await child.result()).toEqual(clean(0, port, '1006', 'closed'))
  })

  test('hears of the end of its last connection, which it cut for its silence, and then ends', async () => {
    const child = new Child('lifetimes.mjs', { args: [engine, 'unref with a silent client'] })
    const port = await child.line('its port')
    await RawClient.open(addressOf(Number(port)))
    expect(await child.result()).toEqual(clean(0, port, '1006'))
  })

  test('dies of an exception in a handler’s timer as any Node process does', async () => {
    const { code, signal, stderr } = await run(engine, 'throw in a timer')
    expect({ code, signal }).toEqual({ code: 1, signal: null })
    expect(stderr).toContain('Error: thrown by a timer')
    expect(stderr).toContain('lifetimes.mjs')
    expect(stderr).not.toMatch(/FATAL|Assertion|Segmentation|native stack/i)
  })

  test('dies of an unhandled rejection as any Node process does', async () => {
    const { code, signal, stderr } = await run(engine, 'reject in a timer')
    expect({ code, signal }).toEqual({ code: 1, signal: null })
    expect(stderr).toContain('Error: rejected by a timer')
  })

  test('that is told to stop by a signal does so', async () => {
    const child = new Child('lifetimes.mjs', { args: [engine, 'wait for a signal'] })
    await child.line('that it is ready')
    child.process.kill('SIGTERM')
    expect(await child.result()).toMatchObject({ code: null, signal: 'SIGTERM', stderr: '' })
  })
})

describeEngines('garbage collection', (engine) => {
  test('takes servers that never listened', async () => {
    expect(await run(engine, 'collect servers that never listened', '--expose-gc')).toEqual(clean(0, 'collected', 'exit'))
  })

  test('takes servers that were closed', async () => {
    expect(await run(engine, 'collect closed servers', '--expose-gc')).toEqual(clean(0, 'collected', 'exit'))
  })

  test('takes sockets whose connections have ended', async () => {
    expect(await run(engine, 'collect closed sockets', '--expose-gc')).toEqual(clean(0, 'collected', 'exit'))
  })

  test('leaves alone a server that listens and that the program no longer refers to', async () => {
    expect(await run(engine, 'serve without a reference', '--expose-gc')).toEqual(clean(0, 'echo', 'exit'))
  })

  test('takes messages that are no longer kept: memory stays bounded under a stream of them', async () => {
    const { stdout, ...rest } = await run(engine, 'stream 300 MiB', '--expose-gc')
    expect(rest).toEqual({ code: 0, signal: null, stderr: '' })
    const mebibytes = Number(/grew by (-?\d+) MiB/.exec(stdout)?.[1])
    expect(mebibytes).toBeLessThan(150)
  })
})
