/** A Redis cluster of real brokers, joined by hand: each master has its part of the slots. */
import { Redis } from 'ioredis'
import { onTestFinished } from 'vitest'
import { type AtEnd, Broker, freePort } from './brokers.js'

const SLOTS = 16_384
/** Milliseconds without a reply after which nodes take one of them for failed. */
const NODE_TIMEOUT = 1000

export interface ClusterNode {
  readonly broker: Broker
  /** For commands of the test. It connects again where the broker was started again. */
  readonly admin: Redis
}

/** Who may use the cluster, and how. */
export interface ClusterAccess {
  /** TLS to the nodes and between them: files with a key and a certificate, which is its own CA. */
  readonly tls?: { readonly keyFile: string; readonly certFile: string; readonly ca: string }
  readonly password?: string
}

/**
 * Resolves when all nodes know of each other and the cluster takes commands, which takes two seconds.
 * Replicas come last, one for each of the first masters. All are killed as `Broker.start` has it.
 */
export async function startCluster(
  masters: number,
  replicas = 0,
  atEnd: AtEnd = onTestFinished,
  access: ClusterAccess = {},
): Promise<ClusterNode[]> {
  const count = masters + replicas
  const nodes = await Promise.all(Array.from({ length: count }, () => startNode(atEnd, access)))
  await Promise.all(
    nodes.slice(0, masters).map(async ({ admin }, index) => {
      await admin.call('CLUSTER', 'SET-CONFIG-EPOCH', index + 1)
      const [from, to] = [index, index + 1].map((n) => Math.floor((n * SLOTS) / masters))
      await admin.call('CLUSTER', 'ADDSLOTSRANGE', from ?? 0, (to ?? 0) - 1)
    }),
  )
  for (const { admin } of nodes) {
    while (!(await has(admin, ['CLUSTER', 'INFO'], `cluster_known_nodes:${count}`))) {
      // Again where a node was too busy: it is given up when it does not reply within the timeout.
      for (const { broker } of nodes) await admin.call('CLUSTER', 'MEET', '127.0.0.1', broker.port, busPorts.get(broker) ?? 0)
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
  }
  for (const [index, { admin }] of nodes.slice(masters).entries()) {
    await admin.call('CLUSTER', 'REPLICATE', String(await nodes[index]?.admin.call('CLUSTER', 'MYID')))
    await until(admin, ['INFO', 'replication'], 'master_link_status:up')
  }
  for (const { admin } of nodes) await until(admin, ['CLUSTER', 'INFO'], 'cluster_state:ok')
  return nodes
}

const busPorts = new WeakMap<Broker, number>()

async function startNode(atEnd: AtEnd, { tls, password }: ClusterAccess): Promise<ClusterNode> {
  const busPort = await freePort()
  const own = ['--cluster-enabled', 'yes', '--cluster-port', `${busPort}`, '--cluster-node-timeout', `${NODE_TIMEOUT}`]
  // A replica without data is as good as its master here.
  own.push('--cluster-replica-validity-factor', '0')
  if (password !== undefined) own.push('--requirepass', password, '--masterauth', password)
  const secure = (port: number) =>
    tls === undefined
      ? []
      : [
          ...['--port', '0', '--tls-port', `${port}`, '--tls-cluster', 'yes', '--tls-replication', 'yes'],
          ...['--tls-key-file', tls.keyFile, '--tls-cert-file', tls.certFile, '--tls-ca-cert-file', tls.certFile],
          ...['--tls-auth-clients', 'no'],
        ]
  const broker = await Broker.start('redis-server', (port) => [...own, ...secure(port)], atEnd)
  busPorts.set(broker, busPort)
  const admin = new Redis(broker.port, '127.0.0.1', {
    retryStrategy: () => 50,
    maxRetriesPerRequest: null,
    ...(password !== undefined && { password }),
    ...(tls !== undefined && { tls: { ca: tls.ca } }),
  })
  admin.on('error', () => {})
  atEnd(() => admin.disconnect())
  return { broker, admin }
}

/** Asks until the reply has `text`. */
export async function until(admin: Redis, command: readonly string[], text: string): Promise<void> {
  while (!(await has(admin, command, text))) await new Promise((resolve) => setTimeout(resolve, 20))
}

async function has(admin: Redis, [command = '', ...args]: readonly string[], text: string): Promise<boolean> {
  return String(await admin.call(command, ...args)).includes(text)
}
