/** File descriptors: the limit at start, and what the command does and says when it is reached. */
import { readFileSync } from 'node:fs'
import { setTimeout as wait } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { descriptorAdvice, remainingDescriptors } from '../../src/app/descriptors.js'
import { Running } from '../support/child.js'
import { Client } from '../support/client.js'
import { type RunningCommand, startCommand } from '../support/command.js'
import { describeEngines } from '../support/engines.js'
import { RawClient } from '../support/raw-client.js'

const REMEDY = "raise it with 'ulimit -n 65536' (as root; under systemd: LimitNOFILE=65536)"
const EXHAUSTED = `The file descriptor limit is reached: no other client can connect until a connected one leaves; ${REMEDY}`

const noLimits = process.platform === 'win32' ? ' (skipped: Windows has no such limit)' : ''
const next = (command: RunningCommand): Promise<string> => command.running.line('what happens')

describe('the file descriptor limit', () => {
  test.runIf(noLimits === '')(`is raised by Node itself: the soft limit becomes the hard one${noLimits}`, async () => {
    const script = 'console.log(JSON.stringify(process.report.getReport().userLimits.open_files))'
    // 256 and 512 are lower than any default, so that both can be set.
    const limits = 'ulimit -Sn 256 && ulimit -Hn 512 && test "$(ulimit -Sn)" = 256 && exec "$@"'
    const node = new Running(['sh', '-c', limits, 'sh', process.execPath, '-e', script])
    const { code, stdout } = await node.result()
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toEqual({ soft: 512, hard: 512 })
  })

  test('is worth a line when it leaves fewer than 10,000 descriptors', () => {
    expect(descriptorAdvice(9999)).toBe(`The file descriptor limit leaves room for about 9,999 connections; ${REMEDY}`)
    expect(descriptorAdvice(0)).toContain('about 0 connections')
    expect(descriptorAdvice(10_000)).toBeUndefined()
    expect(descriptorAdvice(undefined)).toBeUndefined() // there is none, or none that is known
  })

  test.runIf(noLimits === '')(`is counted less what is open already${noLimits}`, () => {
    const before = remainingDescriptors() ?? Number.NaN
    const { soft } = limitsOfThisProcess()
    expect(before).toBeLessThan(soft)
    expect(before).toBeGreaterThan(soft - 200)
  })
})

function limitsOfThisProcess(): { soft: number } {
  // The report is typed as a bare object; its user limits are documented.
  return (process.report.getReport() as { userLimits: { open_files: { soft: number } } }).userLimits.open_files
}

/** Seconds of processor time that a process has taken so far. */
function processorSeconds(pid: number | undefined): number {
  // Fields 14 and 15 are user and system time, in the 100 ticks a second that Linux shows; field 2 may hold
  // spaces.
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /s, '')
    .split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}

describeEngines('the command near its file descriptor limit', (engine) => {
  test.runIf(noLimits === '')(`says at start that the limit is low, and how to raise it${noLimits}`, async () => {
    const command = await startCommand(engine, { descriptors: 400 })
    const line = await next(command)
    const [, room] = /^The file descriptor limit leaves room for about (\d+) connections; (.*)$/.exec(line) ?? []
    expect(line.endsWith(REMEDY)).toBe(true)
    expect(Number(room)).toBeGreaterThan(300)
    expect(Number(room)).toBeLessThan(400)
  })

  const enough = (remainingDescriptors() ?? Number.POSITIVE_INFINITY) > 10_200
  test.runIf(enough)(`says nothing at start when the limit is high${enough ? '' : ' (skipped: here it is not)'}`, async () => {
    const command = await startCommand(engine)
    await Client.open(command)
    expect(await next(command)).toMatch(/^\[\+\] Connection from /)
  })

  test.runIf(noLimits === '')(
    `reaches it without spinning or dying, says so once, and accepts again when some leave${noLimits}`,
    async () => {
      // Node.js 20 has some 65 files open at once while it imports the command.
      const command = await startCommand(engine, { descriptors: 96, args: ['--quiet'] })
      expect(await next(command)).toContain(REMEDY)

      const clients: Client[] = []
      for (;;) {
        const client = Client.open(command)
        // The one that finds no descriptor is refused, or waits; how, is the engine's affair.
        client.catch(() => {})
        const line = await next(command)
        if (line === EXHAUSTED) break
        expect(line).toMatch(/^\[\+\]/)
        clients.push(await client)
        expect(clients.length).toBeLessThan(96)
      }
      expect(clients.length).toBeGreaterThan(10)

      // More at the door, and the server is idle all the same.
      const atTheDoor = await Promise.allSettled(Array.from({ length: 10 }, () => RawClient.connect(command)))
      for (const client of clients) expect(await client.next('the welcome')).toContain('Welcome!')
      for (const [number, client] of clients.entries()) expect(await client.ask(`${number}`)).toBe(`${number}`)
      if (process.platform === 'linux') {
        const { pid } = command.running.process
        const before = processorSeconds(pid)
        await wait(2000)
        expect(processorSeconds(pid) - before).toBeLessThan(1)
      }

      for (const client of atTheDoor) if (client.status === 'fulfilled') client.value.vanish()
      for (const client of clients.splice(1)) client.socket.terminate()
      for (let gone = 0; gone < 10; ) if ((await next(command)).startsWith('[-]')) gone++
      for (let number = 0; number < 5; number++) {
        const late = await Client.open(command)
        expect(await late.next('the welcome')).toContain('Welcome!')
        expect(await late.ask('there is room again')).toBe('there is room again')
      }
      expect(await clients[0]?.ask('still here')).toBe('still here')
      command.running.process.kill('SIGTERM')
      const { code, stdout, stderr } = await command.running.result()
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
      expect(stdout.split('\n').filter((line) => line === EXHAUSTED)).toHaveLength(1)
    },
  )
})
