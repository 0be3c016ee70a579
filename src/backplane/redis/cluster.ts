/**
 * A session on the sharded Pub/Sub of a Redis cluster: each topic is a shard channel, each envelope one
 * SPUBLISH at the node that has the channel's slot. The clients' own classes for clusters are not used: they
 * connect again, and send again, where the link has to know what was lost.
 *
 * A topic's channel is named `prefix{partition}topic`. The braces make Redis take the slot from the
 * partition alone: all topics lie in few slots, so that thousands of them are subscribed with one command
 * for each partition, as a command may not name channels of different slots. A channel for each partition,
 * with topics inside, would be fewer channels; but each server would get the messages of all topics of a
 * partition, of which it wants one.
 */
import { bufferOver } from '../../util/bytes.js'
import type { BackplaneEnvelope } from '../contract.js'
import { inTime } from '../in-time.js'
import { RefusedTopics } from '../refused-topics.js'
import type { Session, SessionEvents } from '../session.js'
import type { ClusterNodes } from './cluster-nodes.js'
import { openConnection, type RedisAddress, type RedisClient, type RedisConnection } from './connection.js'
import { maxMessageBytes, openTogether, sendAll, subscribeAllowed } from './pubsub.js'

/**
 * The same for all members of a group. Twenty nodes have about 13 partitions each, so that none has much more
 * than another; and 10,000 topics are subscribed with 256 commands.
 */
const PARTITIONS = 256
/** Of Redis. */
const SLOTS = 16_384

export interface ClusterOptions {
  readonly prefix: string
  /** Milliseconds in which a node must reply. */
  readonly timeout: number
  readonly nodes: ClusterNodes
}

interface Owner extends RedisAddress {
  /** The name that the node has in its cluster. */
  readonly id: string
}

/** What this session has at one node. */
interface Shard {
  readonly owner: Owner
  readonly partitions: readonly number[]
  /** Bytes of one message. */
  readonly limit: number
  readonly publisher: RedisConnection
  readonly subscriber: RedisConnection
}

export async function openCluster(client: RedisClient, options: ClusterOptions, events: SessionEvents): Promise<Session> {
  const { prefix, timeout } = options
  const channels = new Channels(prefix)
  const owners = await askForOwners(client, options, channels, events.closing)
  const shards = await openShards(client, owners, channels, timeout, events)
  const ofPartition: Shard[] = []
  for (const shard of shards) for (const partition of shard.partitions) ofPartition[partition] = shard
  const refused = new RefusedTopics(events)
  /** Calls `action` for each partition, with its topics and what makes their channels. */
  const each = async (
    topics: readonly string[],
    action: (shard: Shard, topics: readonly string[], channelsOf: (topics: readonly string[]) => string[]) => Promise<void>,
  ) => {
    const work = [...byPartition(topics)].map(async ([partition, some]) => {
      const shard = ofPartition[partition]
      const channelsOf = (of: readonly string[]) => of.map((topic) => channels.of(topic, partition))
      if (shard !== undefined) await action(shard, some, channelsOf)
    })
    await Promise.all(work)
  }
  const publish = async (envelopes: readonly BackplaneEnvelope[]) => {
    const ofShard = new Map<Shard, BackplaneEnvelope[]>()
    for (const envelope of envelopes) {
      const shard = ofPartition[partitionOf(envelope.topic)]
      if (shard === undefined) continue
      const some = ofShard.get(shard)
      if (some === undefined) ofShard.set(shard, [envelope])
      else some.push(envelope)
    }
    const work = [...ofShard].map(([{ publisher }, some]) =>
      sendAll(publisher, some, events, ({ topic, data }) => [
        ...['SPUBLISH', channels.of(topic, partitionOf(topic))],
        bufferOver(data),
      ]),
    )
    await Promise.all(work)
  }
  return {
    maxEnvelopeBytes: Math.min(...shards.map(({ limit }) => limit)),
    subscribe: (topics) =>
      each(topics, ({ subscriber }, some, channelsOf) =>
        subscribeAllowed(some, (allowed) => subscriber.subscribeShard(channelsOf(allowed)), refused),
      ),
    unsubscribe: (topics) => each(topics, ({ subscriber }, some, channelsOf) => subscriber.unsubscribeShard(channelsOf(some))),
    // Where a slot has moved, for example, it rejects: the next session asks where it is.
    publish,
    connections: shards.flatMap((shard) => [
      {
        ping: () => checkShard(shard, channels),
        get heard() {
          return shard.publisher.heard
        },
      },
      shard.subscriber,
    ]),
    destroy: () => destroyAll(shards),
  }
}

/** The names of channels. */
class Channels {
  readonly #prefix: string
  readonly #slots: readonly number[]

  constructor(prefix: string) {
    this.#prefix = prefix
    this.#slots = Array.from({ length: PARTITIONS }, (_, partition) => crc16(`${partition}`) % SLOTS)
  }

  of(topic: string, partition: number): string {
    return `${this.#prefix}{${partition}}${topic}`
  }

  /** Undefined for what is no channel of a topic. */
  topicOf(channel: string): string | undefined {
    const end = channel.indexOf('}', this.#prefix.length)
    return channel.startsWith(this.#prefix) && end !== -1 ? channel.slice(end + 1) : undefined
  }

  slotOf(partition: number): number {
    return this.#slots[partition] ?? 0
  }
}

/** Who has each partition, by the first node that replies. */
async function askForOwners(
  client: RedisClient,
  { nodes, timeout }: ClusterOptions,
  channels: Channels,
  closing: AbortSignal,
): Promise<readonly Owner[]> {
  let failure: unknown
  for (const node of nodes.inTurn) {
    try {
      const owners = await ask(client, node, { timeout, closing }, channels)
      nodes.found(owners)
      return owners
    } catch (cause) {
      failure = cause
      nodes.failed(node)
    }
  }
  throw failure
}

async function ask(
  client: RedisClient,
  node: RedisAddress,
  { timeout, closing }: { readonly timeout: number; readonly closing: AbortSignal },
  channels: Channels,
): Promise<readonly Owner[]> {
  const connection = await openConnection(client, { message: () => {}, ended: () => {} }, { node, timeout, closing })
  try {
    const reply = await inTime(connection.command(['CLUSTER', 'SLOTS']), timeout, 'the node has not replied', closing)
    return ownersOf(reply, node.host, channels).map((owner, partition) => {
      if (owner === undefined) throw new Error(`no node of the cluster has the slot ${channels.slotOf(partition)}`)
      return owner
    })
  } finally {
    connection.destroy()
  }
}

/** Connections to all nodes that have a partition, or none. */
async function openShards(
  client: RedisClient,
  owners: readonly Owner[],
  channels: Channels,
  timeout: number,
  events: SessionEvents,
): Promise<readonly Shard[]> {
  const partitionsOf = new Map<string, { owner: Owner; partitions: number[] }>()
  for (const [partition, owner] of owners.entries()) {
    const known = partitionsOf.get(owner.id)
    if (known === undefined) partitionsOf.set(owner.id, { owner, partitions: [partition] })
    else known.partitions.push(partition)
  }
  const open = async ({ owner, partitions }: { owner: Owner; partitions: number[] }): Promise<Shard> => {
    const connectionEvents = {
      message: (channel: string, data: Uint8Array) => {
        const topic = channels.topicOf(channel)
        if (topic !== undefined) events.deliver(topic, data)
      },
      ended: (reason: string) => events.ended(`${owner.host}:${owner.port}: ${reason}`),
    }
    const { host, port } = owner
    const [publisher, subscriber] = await openTogether(client, connectionEvents, {
      node: { host, port },
      timeout,
      closing: events.closing,
    })
    const shard = { owner, partitions, publisher, subscriber }
    try {
      const replies = Promise.all([maxMessageBytes(publisher), checkShard(shard, channels)])
      const [limit] = await inTime(replies, timeout, 'the node has not replied')
      return { ...shard, limit }
    } catch (cause) {
      destroyAll([shard])
      throw cause
    }
  }
  const opened = await Promise.allSettled([...partitionsOf.values()].map(open))
  const shards = opened.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []))
  const failed = opened.find((each) => each.status === 'rejected')
  if (failed === undefined) return shards
  destroyAll(shards)
  throw failed.reason
}

function destroyAll(shards: readonly Pick<Shard, 'publisher' | 'subscriber'>[]): void {
  for (const { publisher, subscriber } of shards) {
    publisher.destroy()
    subscriber.destroy()
  }
}

/**
 * Rejects when a node does not take itself for the owner of its partitions: what other nodes know may be old,
 * and a node that has lost a slot does not tell its publishers before the next message.
 */
async function checkShard({ owner, partitions, publisher }: Omit<Shard, 'limit'>, channels: Channels): Promise<void> {
  const owners = ownersOf(await publisher.command(['CLUSTER', 'SLOTS']), owner.host, channels)
  for (const partition of partitions) {
    if (owners[partition]?.id !== owner.id) throw new Error(`${owner.host}:${owner.port} has given up a slot of the cluster`)
  }
}

/** Of a reply to CLUSTER SLOTS: ranges of slots, each with its nodes, of which the first is the master. */
function ownersOf(reply: unknown, askedHost: string, channels: Channels): readonly (Owner | undefined)[] {
  const ranges = (Array.isArray(reply) ? (reply as unknown[]) : []).flatMap((range) => {
    const [from, to, master] = Array.isArray(range) ? (range as unknown[]) : []
    const [host, port, id] = Array.isArray(master) ? (master as unknown[]) : []
    // Without a name of its own, a node is where it was asked.
    const owner = { host: String(host ?? '') || askedHost, port: Number(port), id: String(id) }
    return [{ from: Number(from), to: Number(to), owner }]
  })
  return Array.from({ length: PARTITIONS }, (_, partition) => {
    const slot = channels.slotOf(partition)
    return ranges.find(({ from, to }) => from <= slot && slot <= to)?.owner
  })
}

function byPartition(topics: readonly string[]): Map<number, string[]> {
  const found = new Map<number, string[]>()
  for (const topic of topics) {
    const partition = partitionOf(topic)
    const some = found.get(partition)
    if (some === undefined) found.set(partition, [topic])
    else some.push(topic)
  }
  return found
}

function partitionOf(topic: string): number {
  return crc16(topic) % PARTITIONS
}

/** CRC-16/XMODEM (polynomial 0x1021), with which Redis gets slots; over code units, where Redis has bytes. */
function crc16(text: string): number {
  let crc = 0
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index)
    if (unit > 0xff) crc = step(crc, unit >> 8)
    crc = step(crc, unit & 0xff)
  }
  return crc
}

function step(crc: number, byte: number): number {
  return ((crc << 8) & 0xffff) ^ (CRC_TABLE[(crc >> 8) ^ byte] ?? 0)
}

const CRC_TABLE = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 8
  for (let bit = 0; bit < 8; bit++) crc = (crc & 0x8000) === 0 ? crc << 1 : (crc << 1) ^ 0x1021
  return crc
})
