/** `native-websocket-server doctor`: what is installed, which engine serves and why, and what to do. */
import { type AddonReport, type EngineReport, reportEngine } from '../engine/report.js'
import { WebSocketServer } from '../index.js'
import { descriptorAdvice, remainingDescriptors } from './descriptors.js'

/** Days after which a TLS library is worth a look: OpenSSL is mended every few months, AWS-LC more often. */
const OLD_LIBRARY_DAYS = 365
const DAY = 24 * 60 * 60 * 1000

/** What `doctor` found. */
export interface Diagnosis {
  /** For a person, without line breaks at the ends. */
  readonly lines: readonly string[]
  /** False where a server would not start, or serves on another engine than was asked for. */
  readonly healthy: boolean
}

/** What to do: `must` makes the difference between healthy and not. */
interface Advice {
  readonly must: boolean
  readonly text: string
}

/** Looks at everything, and lets a server answer once. */
export async function diagnose(): Promise<Diagnosis> {
  const report = reportEngine()
  const answer = await selfTest(report)
  const descriptors = remainingDescriptors()
  const facts: [string, string][] = [
    ['Package', `native-websocket-server ${report.version}`],
    ['Node.js', `${process.versions.node} on ${process.platform} ${process.arch}, with OpenSSL ${process.versions.openssl}`],
    ['Engine', answer.engine],
    ['Addon', describeAddon(report)],
    ...tlsLibraryFacts(report.addon),
    ['Descriptors', descriptors === undefined ? 'no limit' : `${descriptors.toLocaleString('en-US')} left`],
    ['Self-test', answer.outcome],
  ]
  const advice = [...engineAdvice(report), ...tlsLibraryAdvice(report.addon)]
  // A server that does not start most often says what the report has said.
  if (!advice.some(({ text }) => text === answer.problem) && answer.problem !== undefined)
    advice.push({ must: true, text: answer.problem })
  const limit = descriptorAdvice(descriptors)
  if (limit !== undefined) advice.push({ must: false, text: limit })
  const width = Math.max(...facts.map(([name]) => name.length))
  return {
    healthy: !advice.some(({ must }) => must),
    lines: [
      ...facts.map(([name, text]) => `${name.padEnd(width)}  ${text}`),
      '',
      ...(advice.length === 0 ? ['Nothing to do.'] : advice.map(({ must, text }) => `${must ? 'To do' : 'Consider'}: ${text}`)),
    ],
  }
}

function describeAddon({ addon, platformPackage }: EngineReport): string {
  if (typeof addon === 'string') return `none; the package that fits this system: ${platformPackage ?? 'none is made for it'}`
  const { source, file } = addon
  const origins: Partial<Record<string, string>> = { variable: 'NATIVE_WEBSOCKET_SERVER_ADDON names it', build: 'built in place' }
  return `${file} (${origins[source] ?? `of the package ${source}`})`
}

function tlsLibraryFacts(addon: AddonReport | string): [string, string][] {
  if (typeof addon === 'string' || addon.tlsLibrary === undefined) return []
  const { name, version, builtOn } = addon.tlsLibrary
  return [[name, `${version}${builtOn && `, compiled on ${builtOn}`}`]]
}

function engineAdvice({ addon, asked, problem }: EngineReport): Advice[] {
  if (problem !== undefined) return [{ must: true, text: problem }]
  if (typeof addon !== 'string') return []
  return [{ must: asked !== 'portable', text: addon }]
}

/** One for an OpenSSL, or AWS-LC, that is older than a year. */
export function tlsLibraryAdvice(addon: AddonReport | string, now = Date.now()): Advice[] {
  if (typeof addon === 'string' || addon.tlsLibrary === undefined) return []
  const { name, version, builtOn } = addon.tlsLibrary
  // Without the day when it was compiled, that of the release: "3.0.19 27 Jan 2026". AWS-LC tells none.
  const released = /\d{1,2} \w{3} \d{4}$/.exec(version)?.[0] ?? ''
  const days = Math.floor((now - Date.parse(builtOn || released)) / DAY)
  if (!(days > OLD_LIBRARY_DAYS)) return []
  const remedy =
    addon.source === 'build'
      ? 'update the system, and build the addon again'
      : 'a newer version of the package brings a newer one'
  return [{ must: false, text: `the ${name} in the addon is ${days} days old: ${remedy}` }]
}

/** Starts a server as a program without options would, and asks it for its health. */
async function selfTest({ addon, asked, problem }: EngineReport): Promise<{ engine: string; outcome: string; problem?: string }> {
  const start = performance.now()
  let engine = 'none'
  try {
    // The fallback, without the process warning: the advice says the same.
    const fallsBack = typeof addon === 'string' && asked === undefined && problem === undefined
    await using server = new WebSocketServer(fallsBack ? { engine: 'portable' } : {})
    engine = server.engine === 'native' ? 'native (µWebSockets)' : 'portable (ws)'
    const { port } = await server.listen({ host: '127.0.0.1', port: 0 })
    const { status } = await fetch(`http://127.0.0.1:${port}/health`)
    if (status !== 200) throw new Error(`GET /health was answered with ${status}`)
    return { engine, outcome: `a server answered in ${Math.round(performance.now() - start)} ms` }
  } catch (error) {
    return { engine, outcome: 'failed', problem: String(error instanceof Error ? error.message : error) }
  }
}
