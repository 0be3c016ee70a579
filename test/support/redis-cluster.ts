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

/**
 * Resolves when all nodes know of each other and the cluster takes commands, which takes two seconds.
 * Replicas come last, one for each of the first masters. All are killed as `Broker.start` has it.
 */
export async function startCluster(masters: number, replicas = 0, atEnd: AtEnd = onTestFinished): Promise<ClusterNode[]> {
  const count = masters + replicas
  const nodes = await Promise.all(Array.from({ length: count }, () => startNode(atEnd)))
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

async function startNode(atEnd: AtEnd): Promise<ClusterNode> {
  const busPort = await freePort()
  const own = ['--cluster-enabled', 'yes', '--cluster-port', `${busPort}`, '--cluster-node-timeout', `${NODE_TIMEOUT}`]
  // A replica without data is as good as its master here.
  const broker = await Broker.start('redis-server', [...own, '--cluster-replica-validity-factor', '0'], atEnd)
  busPorts.set(broker, busPort)
  const admin = new Redis(broker.url, { retryStrategy: () => 50, maxRetriesPerRequest: null })
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
