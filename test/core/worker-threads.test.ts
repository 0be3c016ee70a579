/** Threads that serve, and end at every moment: exit codes, and nothing on standard error. */
import { expect, test } from 'vitest'
import { runFixture } from '../support/child.js'
import { describeEngines } from '../support/engines.js'

const clean = (code: number, ...lines: string[]) => ({
  code,
  signal: null,
  stderr: '',
  stdout: lines.map((line) => `${line}\n`).join(''),
})

describeEngines('worker threads', (engine) => {
  const runWorkers = (scenario: string) => runFixture('workers.mjs', { args: [engine, scenario] })

  test('serve at once, each with its own server, beside one in the main thread', async () => {
    expect(await runWorkers('serve')).toEqual(
      clean(0, 'echoes: worker 0, worker 1, worker 2, worker 3, main', 'exit codes: 0 0 0 0', 'main: main', 'exit'),
    )
  })

  test('serve where the main thread never loaded the package', async () => {
    expect(await runWorkers('worker only')).toEqual(clean(0, 'echoes: worker 0', 'exit codes: 0', 'exit'))
  })

  test('can be terminated with open connections, 20 times', async () => {
    expect(await runWorkers('terminate')).toEqual(clean(0, '20 terminated', 'main: main', 'exit'))
  })

  test('can be terminated at any moment of their start', async () => {
    expect(await runWorkers('terminate early')).toEqual(clean(0, '20 terminated', 'exit'))
  })

  test('can be terminated within a handler that never returns', async () => {
    expect(await runWorkers('terminate busy')).toEqual(clean(0, 'terminated', 'main: main', 'exit'))
  })

  test('can be terminated in the middle of calls into the engine', async () => {
    expect(await runWorkers('terminate in a call')).toEqual(clean(0, 'terminated', 'main: main', 'exit'))
  })

  test('can be terminated with sendAndFlush pending', async () => {
    expect(await runWorkers('terminate with sendAndFlush pending')).toEqual(clean(0, 'terminated', 'main: main', 'exit'))
  })

  test('can exit with open connections', async () => {
    expect(await runWorkers('exit')).toEqual(clean(0, 'exit code 9', 'main: main', 'exit'))
  })

  test('can die of an exception with open connections', async () => {
    expect(await runWorkers('throw')).toEqual(clean(0, 'error: thrown by a worker', 'main: main', 'exit'))
  })

  test('can be left running when the process exits', async () => {
    expect(await runWorkers('leave running')).toEqual(clean(0, 'leaving'))
  })
})
