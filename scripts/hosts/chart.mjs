/**
 * One SVG picture for people: what the clients of each of three hosts get, over the time of a run, with its
 * faults.
 */

const WIDTH = 860
const PANEL_HEIGHT = 190
const LEFT = 60
const RIGHT = 20
const COLOURS = ['#c2410c', '#0f766e', '#1d4ed8']
const TITLES = {
  'redis-pubsub': 'Redis Pub/Sub (at most once)',
  'redis-streams': 'Redis Streams (replayed)',
  'nats-core': 'NATS core (at most once)',
  'nats-jetstream': 'JetStream (replayed)',
}
const FAULTS = { link: 'link of host 1 down', server: 'server 2 killed', killed: 'broker killed', stopped: 'broker stopped' }
/** Peaks beyond this many times the calm rate are cut, and say their value. */
const MOST = 2.5

/**
 * A panel for each promise, all to one scale of time.
 * @param {readonly import('./run.mjs').Run[]} runs
 */
export function toHostsSvg(runs) {
  const panels = runs.flatMap((run) => run.promises.map((promise) => ({ run, promise })))
  const height = panels.length * PANEL_HEIGHT + 40
  const seconds = Math.max(...runs.map(({ begun, ended }) => (ended - begun) / 1000))
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="12" fill="#0f172a">`,
    `<rect width="${WIDTH}" height="${height}" fill="#ffffff"/>`,
    text(LEFT, 20, 'Messages that a client gets in 100 ms, by its host:'),
    ...COLOURS.map((colour, i) => text(LEFT + 310 + 60 * i, 20, `host ${i + 1}`, `fill="${colour}" font-weight="bold"`)),
    ...panels.flatMap(({ run, promise }, i) => panel(i * PANEL_HEIGHT + 30, run, promise, seconds)),
    '</svg>',
    '',
  ].join('\n')
}

/**
 * @param {number} top @param {import('./run.mjs').Run} run
 * @param {import('./run.mjs').PromiseName} promise @param {number} seconds of the whole scale
 */
function panel(top, run, promise, seconds) {
  const calm = (3 * run.rate * run.binWidth) / 1000
  const bottom = top + PANEL_HEIGHT - 30
  /** @param {number} time */
  const x = (time) => LEFT + ((time - run.begun) / 1000 / seconds) * (WIDTH - LEFT - RIGHT)
  /** @param {number} count */
  const y = (count) => bottom - (Math.min(count, MOST * calm) / (MOST * calm)) * (PANEL_HEIGHT - 70)
  const parts = [text(LEFT, top + 14, TITLES[promise], 'font-weight="bold"')]
  for (const { name, from, to } of run.faults) {
    const width = round(x(to) - x(from))
    parts.push(`<rect x="${round(x(from))}" y="${top + 22}" width="${width}" height="${bottom - top - 22}" fill="#fef3c7"/>`)
    parts.push(text(round(x(from)) + 2, top + 34, FAULTS[name], 'fill="#92400e" font-size="10"'))
  }
  for (const count of [0, calm, 2 * calm]) {
    parts.push(`<path d="M${LEFT} ${round(y(count))}H${WIDTH - RIGHT}" stroke="#e2e8f0"/>`)
    parts.push(text(LEFT - 8, round(y(count)) + 4, count.toFixed(0), 'text-anchor="end"'))
  }
  for (let second = 0; second <= seconds; second += 5)
    parts.push(text(round(x(run.begun + 1000 * second)), bottom + 16, `${second} s`, 'text-anchor="middle"'))
  for (const [host, bins] of (run.bins[promise] ?? []).entries()) {
    const colour = COLOURS[host] ?? ''
    const counts = new Map(bins.map(([bin, messages]) => [bin, messages / run.clients]))
    let path = ''
    /** The last one that says its value: of a peak of several bins, the first. */
    let told = Number.NEGATIVE_INFINITY
    for (let bin = Math.ceil(run.begun / run.binWidth); (bin + 1) * run.binWidth <= run.ended; bin++) {
      const count = counts.get(bin) ?? 0
      const left = round(x(bin * run.binWidth))
      path += `${path === '' ? 'M' : 'L'}${left} ${round(y(count))}`
      if (count <= MOST * calm) continue
      if (left - told > 30)
        parts.push(text(left + 3, top + 46 + 11 * host, `↑ ${Math.round(count)}`, `fill="${colour}" font-size="10"`))
      told = left
    }
    parts.push(`<path d="${path}" fill="none" stroke="${colour}" stroke-width="1.2"/>`)
  }
  return parts
}

/** @param {number} value */
const round = (value) => Math.round(value * 10) / 10

/** @param {number} left @param {number} baseline @param {string} content @param {string} [attributes] */
function text(left, baseline, content, attributes = '') {
  return `<text x="${left}" y="${baseline}" ${attributes}>${content}</text>`
}
