/** `native-websocket-server doctor`: what it says of an installation, and its exit code. */
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { tlsLibraryAdvice } from '../../src/app/doctor.js'
import { runCommand } from '../support/command.js'
import { AVAILABLE_ENGINES, tlsLibraryOf } from '../support/engines.js'

const { version } = JSON.parse(readFileSync('package.json', 'utf8'))
const noNative = AVAILABLE_ENGINES.includes('native') ? '' : ' (skipped: the addon is not built)'
/** No addon, whatever this machine has. */
const NO_ADDON = { NATIVE_WEBSOCKET_SERVER_ADDON: '/nowhere/addon.node' }

/** Its facts by name, what it advises, and how it ended. */
async function doctor(env: NodeJS.ProcessEnv = {}) {
  const { code, stdout, stderr } = await runCommand(['doctor'], { env }).result()
  expect(stderr).toBe('')
  const [facts = '', advice = ''] = stdout.split('\n\n')
  const named = facts.split('\n').map((line) => line.split(/ {2,}/))
  return { code, facts: Object.fromEntries(named), advice: advice.trimEnd().split('\n') }
}

describe('the doctor', () => {
  test.runIf(noNative === '')(`finds nothing to do where the addon is built${noNative}`, async () => {
    const { code, facts, advice } = await doctor()
    const library = tlsLibraryOf('native')
    expect(facts).toMatchObject({
      Package: `native-websocket-server ${version}`,
      'Node.js': expect.stringContaining(process.versions.node),
      Engine: 'native (µWebSockets)',
      Addon: expect.stringMatching(/\.node \(/),
      [library]: expect.stringMatching(
        library === 'OpenSSL'
          ? /^\d+\.\d+\.\d+\w? +\d+ \w{3} \d{4}/
          : /^\d+\.\d+\.\d+, compiled on \w{3} \w{3} \d+ .* \d{4} UTC$/,
      ),
      Descriptors: expect.stringMatching(/^[\d,]+ left$|^no limit$/),
      'Self-test': expect.stringMatching(/^a server answered in \d+ ms$/),
    })
    expect(advice.filter((line) => line.startsWith('To do'))).toEqual([])
    expect(code).toBe(0)
  })

  test('says what to do where the portable engine serves for want of an addon, and exits with 1', async () => {
    const { code, facts, advice } = await doctor(NO_ADDON)
    expect(facts).toMatchObject({ Engine: 'portable (ws)', 'Self-test': expect.stringContaining('a server answered') })
    expect(facts.Addon).toContain('the package that fits this system: ')
    expect(advice.filter((line) => line.startsWith('To do'))).toEqual([
      'To do: there is no file /nowhere/addon.node; NATIVE_WEBSOCKET_SERVER_ADDON names it',
    ])
    expect(code).toBe(1)
  })

  test('is content with a portable engine that was asked for', async () => {
    const { code, facts, advice } = await doctor({ ...NO_ADDON, NATIVE_WEBSOCKET_SERVER_ENGINE: 'portable' })
    expect(facts.Engine).toBe('portable (ws)')
    expect(advice.join('\n')).not.toContain('To do')
    expect(code).toBe(0)
  })

  test.each([
    ['native', 'there is no file /nowhere/addon.node'],
    ['fastest', 'NATIVE_WEBSOCKET_SERVER_ENGINE must be'],
  ])('finds that no server would start where the environment asks for %s', async (engine, complaint) => {
    const { code, facts, advice } = await doctor({ ...NO_ADDON, NATIVE_WEBSOCKET_SERVER_ENGINE: engine })
    expect(facts).toMatchObject({ Engine: 'none', 'Self-test': 'failed' })
    expect(advice.filter((line) => line.includes(complaint))).toHaveLength(1)
    expect(code).toBe(1)
  })

  test('takes no arguments', async () => {
    const { code, stderr } = await runCommand(['doctor', '--port', '1']).result()
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: 'native-websocket-server: doctor takes no arguments, got "--port" (see --help)\n',
    })
  })
})

describe('an OpenSSL that is older than a year', () => {
  const addon = (source: string, builtOn: string) => ({
    file: '',
    source,
    tlsLibrary: { name: 'OpenSSL', version: '3.0.19 27 Jan 2026', builtOn },
  })
  const text = (source: string, builtOn: string, now: string) =>
    tlsLibraryAdvice(addon(source, builtOn), Date.parse(now))[0]?.text

  test('is worth advice: the package’s newer version, or the system’s and a new build', () => {
    expect(text('native-websocket-server-linux-x64-gnu', '', '2027-01-29')).toMatch(
      / 36\d days old: a newer version of the package/,
    )
    expect(text('build', 'Fri Apr  3 12:29:32 2026 UTC', '2027-04-05')).toMatch(/ 36\d days old: update the system, and build/)
  })

  test('may be an AWS-LC, which tells no day of its release', () => {
    const awsLc = (builtOn: string) => ({ file: '', source: 'build', tlsLibrary: { name: 'AWS-LC', version: '5.5.0', builtOn } })
    const now = Date.parse('2027-04-05')
    expect(tlsLibraryAdvice(awsLc('Fri Apr  3 12:29:32 2026 UTC'), now)[0]?.text).toMatch(
      /^the AWS-LC in the addon is 36\d days old/,
    )
    expect(tlsLibraryAdvice(awsLc(''), now)).toEqual([])
  })

  test('counts from the day when it was compiled, where that is known', () => {
    expect(text('build', 'Fri Apr  3 12:29:32 2026 UTC', '2027-02-05')).toBeUndefined()
    expect(text('build', '', '2026-12-31')).toBeUndefined()
  })
})
