/** What a run of three hosts shows, and where it contradicts what docs/scaling.md promises. */

/**
 * @typedef {object} Row one promise under one fault; lists are by host
 * @property {import('./run.mjs').FaultName} fault
 * @property {import('./run.mjs').PromiseName} promise
 * @property {number[]} published by the server of each host, between the two snapshots
 * @property {number[]} lost messages of others that its clients did not get
 * @property {number[]} missing those that its server has counted
 * @property {number[]} dropped messages of its own that its server has counted as not sent
 * @property {number} repeated
 * @property {number} reordered
 * @property {number} withServer what the clients beside a killed server had got of it, and others had not
 * @property {number[]} down milliseconds from the beginning of the fault until a server told it, where it did
 * @property {number[]} up milliseconds from the end of the fault until a server was up again
 * @property {number[]} gap milliseconds from the end of the fault until a server told its gap
 * @property {number} delay milliseconds, the longest from `publish` to a client
 */

/** @param {import('./run.mjs').PromiseName} promise */
const isReplayed = (promise) => promise === 'redis-streams' || promise === 'nats-jetstream'

/**
 * @param {import('./run.mjs').Run} run
 * @returns {{ rows: Row[], broken: string[] }} `broken` has a sentence for each contradiction
 */
export function judge(run) {
  /** @type {Row[]} */
  const rows = []
  /** @type {string[]} */
  const broken = []
  for (const promise of run.promises) {
    for (const [index, fault] of run.faults.entries()) {
      const say = (/** @type {string} */ what) => broken.push(`${promise}, ${fault.name}: ${what}`)
      const [before, after] = (run.snapshots[promise] ?? []).slice(index)
      if (before === undefined || after === undefined) throw new Error('a snapshot is missing')
      rows.push(judgeFault(run, promise, fault, before, after, say))
    }
  }
  return { rows, broken }
}

/**
 * @param {import('./run.mjs').Run} run @param {import('./run.mjs').PromiseName} promise
 * @param {import('./run.mjs').Fault} fault
 * @param {import('./run.mjs').Snapshot} before @param {import('./run.mjs').Snapshot} after
 * @param {(what: string) => void} say
 * @returns {Row}
 */
function judgeFault(run, promise, fault, before, after, say) {
  /** @type {Row} */
  const row = {
    ...{ fault: fault.name, promise, published: [], lost: [], missing: [], dropped: [], repeated: 0, reordered: 0 },
    ...{ withServer: 0, down: [], up: [], gap: [], delay: delayOf(run, promise, fault) },
  }
  for (const [index, clients] of after.clients.entries()) {
    const host = `${index + 1}`
    const origin = Object.keys(after.servers).find((name) => name.startsWith(host)) ?? ''
    const [now, then] = [after.servers[origin], before.servers[origin]]
    if (now === undefined) throw new Error(`host ${host} has no server`)
    const published = now.published - (then?.published ?? 0)
    const missing = now.metrics.missing - (then?.metrics.missing ?? 0)
    const dropped = now.metrics.dropped - (then?.metrics.dropped ?? 0)
    const losses = clients.map((sessions, client) => lossOf(sessions, before.clients[index]?.[client], host, row, say))
    const lost = losses[0] ?? 0
    if (losses.some((loss) => loss !== lost)) say(`clients of host ${host} lost different numbers: ${losses}`)
    row.published.push(published)
    row.lost.push(lost)
    row.missing.push(missing)
    row.dropped.push(dropped)
    if (lost !== missing) say(`host ${host} lost ${lost}, and its server has counted ${missing}`)
    if (isReplayed(promise) && lost + dropped > 0) say(`host ${host} lost ${lost}, and ${dropped} of its own were not sent`)
    if (!now.metrics.up) say(`host ${host} is not up`)

    const isHit = fault.name === 'link' ? host === '1' : fault.name !== 'server'
    const told = run.told.filter((one) => one.promise === promise && one.origin === origin)
    const meanwhile = told.filter(({ time }) => time >= fault.from && time <= fault.settled)
    const downs = meanwhile.filter(({ code }) => code === 'ERR_BACKPLANE_DOWN')
    const gaps = meanwhile.filter(({ code }) => code === 'ERR_BACKPLANE_GAP')
    if (downs.length !== (isHit ? 1 : 0)) say(`host ${host} was told ${downs.length} times that it is down`)
    const gapsDue = !isReplayed(promise) && (isHit || missing > 0) ? 1 : 0
    if (gaps.length !== gapsDue) say(`host ${host} was told ${gaps.length} gaps, not ${gapsDue}`)
    const counted = gaps.reduce((sum, { count = 0 }) => sum + count, 0)
    if (counted !== missing + dropped) say(`the gap of host ${host} says ${counted}, not ${missing} and ${dropped}`)
    const others = meanwhile.filter((one) => one.code !== undefined && !downs.includes(one) && !gaps.includes(one))
    for (const { message } of others) say(`host ${host} was told: ${message}`)
    row.down.push(...downs.map(({ time }) => time - fault.from))
    row.up.push(...meanwhile.filter(({ up }) => up === true).map(({ time }) => time - fault.to))
    row.gap.push(...gaps.map(({ time }) => time - fault.to))
  }
  if (row.repeated + row.reordered > 0) say(`${row.repeated} were repeated, ${row.reordered} reordered`)
  if (fault.name === 'server')
    row.withServer = lastOf(after, 1, '2a', -2) - Math.min(...[0, 2].map((i) => lastOf(after, i, '2a', -1)))
  return row
}

/**
 * What one client has lost of others since it was asked before.
 * @param {Record<string, import('./run.mjs').Seen>[]} sessions
 * @param {Record<string, import('./run.mjs').Seen>[] | undefined} before
 * @param {string} host @param {Row} row @param {(what: string) => void} say
 */
function lossOf(sessions, before, host, row, say) {
  let lost = 0
  for (const [index, session] of sessions.entries()) {
    for (const [origin, now] of Object.entries(session)) {
      const then = before?.[index]?.[origin]
      const loss = now.lost - (then?.lost ?? 0)
      row.repeated += now.repeated - (then?.repeated ?? 0)
      row.reordered += now.reordered - (then?.reordered ?? 0)
      if (origin.startsWith(host) && loss > 0) say(`clients of host ${host} lost ${loss} of their own server`)
      else lost += loss
    }
  }
  return lost
}

/**
 * @param {import('./run.mjs').Snapshot} snapshot @param {number} host @param {string} origin
 * @param {number} session
 */
function lastOf(snapshot, host, origin, session) {
  return Math.max(...(snapshot.clients[host] ?? []).map((sessions) => sessions.at(session)?.[origin]?.last ?? 0))
}

/** @param {import('./run.mjs').Run} run @param {string} promise @param {import('./run.mjs').Fault} fault */
function delayOf(run, promise, fault) {
  let most = 0
  for (const bins of run.bins[promise] ?? [])
    for (const [bin, , delay] of bins)
      if (bin * run.binWidth >= fault.from - run.binWidth && bin * run.binWidth <= fault.settled) most = Math.max(most, delay)
  return most
}
