/**
 * Three hosts and a broker, in network namespaces of this machine, for each way of `redis` and `nats`; faults
 * one after the other. Prints what was lost, and who was told what and when, and fails where it is not what
 * docs/scaling.md promises. For Linux, as root, with iproute2, redis-server and nats-server.
 *
 *   npm run hosts -- [--promises redis-pubsub,redis-streams,nats-core,nats-jetstream] [--together]
 *                    [--faults link,server,killed,stopped] [--rate 200] [--clients 10] [--downtime 4000]
 *                    [--json FILE] [--svg docs/scaling-hosts.svg]
 *
 * `--together` has all promises in the same processes and at the same time, which is shorter, and what the
 * tests do; `--rate` is of each server, a second; `--clients` are of each server; `--downtime` is that of a
 * killed broker, in milliseconds.
 */
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import process from 'node:process'
import { parseArgs } from 'node:util'
import { toHostsSvg } from './hosts/chart.mjs'
import { whyNoHosts } from './hosts/network.mjs'
import { FAULTS, PROMISES, runHosts } from './hosts/run.mjs'
import { toTable } from './hosts/table.mjs'
import { judge } from './hosts/verdict.mjs'
import { compileTypeScript } from './install/typescript.mjs'
import { fail } from './test-build.mjs'

const { values } = parseArgs({
  options: {
    promises: { type: 'string', default: PROMISES.join() },
    faults: { type: 'string', default: FAULTS.join() },
    rate: { type: 'string', default: '200' },
    clients: { type: 'string', default: '10' },
    downtime: { type: 'string', default: '4000' },
    together: { type: 'boolean', default: false },
    json: { type: 'string' },
    svg: { type: 'string' },
    compiled: { type: 'boolean', default: false },
  },
})
const promises = values.promises.split(',').map((name) => PROMISES.find((one) => one === name) ?? fail(`no promise: ${name}`))
const faults = values.faults.split(',').map((name) => FAULTS.find((one) => one === name) ?? fail(`no fault: ${name}`))
const reason = whyNoHosts()
if (reason) fail(`There can be no hosts here: ${reason}`)
// Not in the tests, whose dist/ is in use.
if (!values.compiled) compileTypeScript()
// Their clean-up is that of `exit`.
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1))

const programs = new Set(promises.map((name) => `${name.replace(/-.*/, '')}-server`))
const versions = [...programs].map((program) => {
  const version = execFileSync(program, ['--version'], {
    encoding: 'utf8',
    env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` },
  })
  return `${program} ${/\d+\.\d+\.\d+/.exec(version)?.[0]}`
})
const about = [...versions, `Node.js ${process.versions.node}`, `${cpus().length} × ${cpus()[0]?.model}`].join(', ')

const settings = { faults, rate: Number(values.rate), clients: Number(values.clients), downtime: Number(values.downtime) }
/** @type {import('./hosts/run.mjs').Run[]} */
const runs = []
for (const group of values.together ? [promises] : promises.map((promise) => [promise])) {
  console.log(group.join(', '))
  runs.push(await runHosts({ ...settings, promises: group, say: (line) => console.log(line) }))
}
const verdicts = runs.map(judge)
const rows = verdicts.flatMap((verdict) => verdict.rows)
const broken = verdicts.flatMap((verdict) => verdict.broken)
console.log(`\n${about}; ${settings.rate} messages a second of each server, ${settings.clients} clients of each\n`)
console.log(toTable(rows))
for (const sentence of broken) console.log(`NOT AS PROMISED: ${sentence}`)
if (values.json) writeFileSync(values.json, JSON.stringify({ about, rows, broken, runs }))
if (values.svg) writeFileSync(values.svg, toHostsSvg(runs))
process.exitCode = broken.length > 0 ? 1 : 0
