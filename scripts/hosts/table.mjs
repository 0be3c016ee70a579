/** The rows of runs of three hosts as a table in Markdown. */

const TITLES = {
  link: 'link of one host down for 5 s',
  server: 'one server killed',
  killed: 'broker killed, and started again',
  stopped: 'broker stopped for 5 s',
}

/** @param {readonly import('./verdict.mjs').Row[]} rows */
export function toTable(rows) {
  const head = [
    'fault',
    'through',
    'published by each',
    'lost by each',
    'counted by each',
    'repeated, reordered',
    'down told, ms',
    'up again, ms',
    'gap told, ms',
    'longest delay, ms',
  ]
  const lines = rows.map((row) =>
    [
      TITLES[row.fault],
      row.promise,
      list(row.published),
      list(row.lost) + (row.withServer > 0 ? `; ${row.withServer} with the server` : ''),
      list(row.missing),
      `${row.repeated}, ${row.reordered}`,
      range(row.down),
      range(row.up),
      range(row.gap),
      row.delay,
    ].join(' | '),
  )
  return [head.join(' | '), head.map(() => '---').join(' | '), ...lines].map((line) => `| ${line} |`).join('\n')
}

/** @param {readonly number[]} numbers */
const list = (numbers) => (new Set(numbers).size === 1 ? `${numbers[0]}` : numbers.join(' / '))

/** @param {readonly number[]} numbers */
function range(numbers) {
  if (numbers.length === 0) return '–'
  const [least, most] = [Math.min(...numbers), Math.max(...numbers)]
  return least === most ? `${least}` : `${least} to ${most}`
}
