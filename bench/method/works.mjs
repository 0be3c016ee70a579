/** What is measured. */

/** @typedef {'message' | 'delivery' | 'publication' | 'handshake' | 'connection'} Unit */
/** @typedef {'echo' | 'echo-deflate' | 'fan-out'} ServerMode */
/**
 * @typedef {object} Backplane what carries messages from a publisher to receivers
 * @property {import('./backplane/brokers.mjs').Program} [broker] a process for each server, and this between
 *   them; threads of one process without it
 * @property {'replayed' | 'cluster'} [way] what the broker is used for, other than Pub/Sub
 * @property {number} receivers servers with a client
 */
/**
 * @typedef {object} Entry one contender in one work
 * @property {string} contender
 * @property {boolean} tls
 */
/**
 * @typedef {object} Work
 * @property {string} id
 * @property {string} title
 * @property {string} [group] a name for several works at once
 * @property {'echo' | 'fan-out' | 'connect' | 'idle' | 'backplane'} mode of the load generator, which
 *   backplanes do without
 * @property {Backplane} [backplane] what a work about one is about
 * @property {'cpu' | 'p99' | 'memory'} figure what contenders are compared by: server CPU per unit; 99th
 *   percentile of the latency, and server CPU, at half of the rate that the first contender can do; or
 *   resident bytes per connection
 * @property {Unit} unit what is counted
 * @property {boolean} tls
 * @property {number} connections
 * @property {readonly string[]} arguments further ones, for the generator
 * @property {ServerMode} serverMode what the contender is asked to do
 * @property {readonly Entry[]} [entries] which contenders take part, when not all do
 * @property {readonly string[]} [contenders] as `entries`, where all of them are measured in the same way
 * @property {number} [rate] messages a second that are due, of works at given rates
 * @property {boolean} [quick] part of quick runs too
 */

const KIB = 1024

/** Messages a second, of works at given rates. */
export const RATES = [1000, 5000, 20_000, 50_000]

/**
 * @param {string} id
 * @param {string} title
 * @param {boolean} tls
 * @param {number} size
 * @param {number} connections
 * @param {readonly string[]} [more]
 * @returns {Work}
 */
function echo(id, title, tls, size, connections, more = []) {
  return {
    id,
    title,
    mode: 'echo',
    serverMode: 'echo',
    figure: 'cpu',
    unit: 'message',
    tls,
    connections,
    arguments: ['--size', String(size), ...more],
  }
}

/** Messages a second, of works about backplanes; undefined is as many as get through. */
const BACKPLANE_RATES = [undefined, 2000, 20_000]

/**
 * @param {string} group @param {string} title @param {Backplane} backplane
 * @param {readonly (number | undefined)[]} [rates]
 * @returns {Work[]}
 */
function throughBackplane(group, title, backplane, rates = BACKPLANE_RATES) {
  const { broker, receivers } = backplane
  const name = broker ? group : `${group}-${receivers}`
  return rates.map((rate) => ({
    id: rate === undefined ? `${name}-flat-out` : `${name}-at-${rate}`,
    title: `${title}, 100 B text, ${rate === undefined ? 'flat out' : `${rate.toLocaleString('en')} messages a second`}`,
    group,
    mode: 'backplane',
    serverMode: 'fan-out',
    figure: 'cpu',
    unit: 'message',
    tls: false,
    connections: receivers,
    arguments: [],
    backplane,
    ...(rate !== undefined && { rate }),
  }))
}

/** @type {readonly Work[]} */
export const WORKS = [
  // The ordinary load comes first: most servers have little to do most of the time.
  ...[false, true].flatMap((tls) =>
    RATES.map((rate) => {
      const scheme = tls ? 'wss' : 'ws'
      const title = `${scheme}, 20 B binary, 200 connections, ${rate.toLocaleString('en')} messages a second`
      return { ...echo(`${scheme}-20-at-${rate}`, title, tls, 20, 200), rate }
    }),
  ),
  { ...echo('ws-20-binary', 'ws, 20 B binary, 200 connections', false, 20, 200), quick: true },
  echo('ws-20-text', 'ws, 20 B text, 200 connections', false, 20, 200, ['--text']),
  { ...echo('wss-20-binary', 'wss, 20 B binary, 200 connections', true, 20, 200), quick: true },
  { ...echo('ws-16k-binary', 'ws, 16 KiB binary, 50 connections', false, 16 * KIB, 50), quick: true },
  echo('wss-16k-binary', 'wss, 16 KiB binary, 50 connections', true, 16 * KIB, 50),
  echo('ws-1k-text', 'ws, 1 KiB text, 200 connections', false, KIB, 200, ['--text']),
  {
    ...echo('socket-io-20-text', 'events of socket.io with 20 B text, ws, 200 connections', false, 20, 200, ['--text']),
    contenders: ['socket.io', 'socket.io-uwebsockets', 'socket.io-face-ws', 'socket.io-face-uws'],
  },
  {
    ...echo('wss-against-ws', 'wss by this server against ws by the ws package, 20 B binary, 200 connections', false, 20, 200),
    entries: [
      { contender: 'native', tls: true },
      { contender: 'ws', tls: false },
    ],
  },
  ...[false, true].map((tls) => {
    const scheme = tls ? 'wss' : 'ws'
    const more = ['--json', '--deflate']
    const title = `${scheme}, 1 KiB JSON with permessage-deflate, 200 connections`
    return /** @type {Work} */ ({ ...echo(`${scheme}-1k-json-deflate`, title, tls, KIB, 200, more), serverMode: 'echo-deflate' })
  }),
  ...[false, true].map((tls) => {
    const scheme = tls ? 'wss' : 'ws'
    const title = `${scheme}, 20 B binary, 200 connections, at half of the rate that the first can do`
    return /** @type {Work} */ ({ ...echo(`${scheme}-20-binary-latency`, title, tls, 20, 200), figure: 'p99' })
  }),
  ...[false, true].map(
    (tls) =>
      /** @type {Work} */ ({
        id: `${tls ? 'wss' : 'ws'}-fan-out`,
        title: `${tls ? 'wss' : 'ws'}, one publisher, 1,000 subscribers, 20 B binary`,
        mode: 'fan-out',
        serverMode: 'fan-out',
        figure: 'cpu',
        unit: 'delivery',
        tls,
        connections: 1000,
        arguments: ['--size', '20'],
      }),
  ),
  {
    id: 'ws-burst',
    title: 'ws, one publisher, 10,000 subscribers, 20 B binary: until the last one has it',
    mode: 'fan-out',
    serverMode: 'fan-out',
    figure: 'cpu',
    unit: 'publication',
    tls: false,
    connections: 10_000,
    arguments: ['--size', '20', '--whole'],
  },
  ...[false, true].map(
    (tls) =>
      /** @type {Work} */ ({
        id: `${tls ? 'wss' : 'ws'}-connect`,
        title: `${tls ? 'wss' : 'ws'} handshakes, 50 at a time`,
        mode: 'connect',
        serverMode: 'echo',
        figure: 'cpu',
        unit: 'handshake',
        tls,
        connections: 50,
        arguments: [],
      }),
  ),
  ...[false, true].map(
    (tls) =>
      /** @type {Work} */ ({
        id: `${tls ? 'wss' : 'ws'}-idle`,
        title: `${tls ? 'wss, 4,000' : 'ws, 15,000'} idle connections`,
        mode: 'idle',
        serverMode: 'echo',
        figure: 'memory',
        unit: 'connection',
        tls,
        connections: tls ? 4000 : 15_000,
        arguments: [],
      }),
  ),
  ...throughBackplane('backplane-redis', 'Redis between two processes', { broker: 'redis-server', receivers: 1 }),
  ...throughBackplane('backplane-nats', 'NATS between two processes', { broker: 'nats-server', receivers: 1 }),
  ...throughBackplane('backplane-redis-cluster', 'A Redis cluster of three between two processes', {
    broker: 'redis-server',
    way: 'cluster',
    receivers: 1,
  }),
  ...throughBackplane('backplane-redis-replayed', 'Redis Streams between two processes', {
    broker: 'redis-server',
    way: 'replayed',
    receivers: 1,
  }),
  ...throughBackplane('backplane-nats-replayed', 'JetStream between two processes', {
    broker: 'nats-server',
    way: 'replayed',
    receivers: 1,
  }),
  ...[1, 2, 4].flatMap((receivers) => {
    const title = `from one thread to ${receivers} ${receivers === 1 ? 'other' : 'others'}`
    return throughBackplane('threads-publish', title, { receivers })
  }),
]

/** Names that stand for several works. */
export const GROUPS = [...new Set(WORKS.flatMap(({ group }) => group ?? []))]

/** @param {string} group @returns {string[]} ids */
export function worksOf(group) {
  return WORKS.filter((work) => work.group === group).map(({ id }) => id)
}

/** @param {string} name of a group, or the id of a work */
export function worksNamed(name) {
  return GROUPS.includes(name) ? worksOf(name).map(workNamed) : [workNamed(name)]
}

/** @param {string} id */
export function workNamed(id) {
  const found = WORKS.find((work) => work.id === id)
  if (!found) throw new Error(`no work is called "${id}"; there are ${WORKS.map((work) => work.id).join(', ')}`)
  return found
}
