/** What the connections of one server count together. */
import type { EngineCounters } from '../contract.js'

/** `tcpConnections` is the listener's to count. */
export type Traffic = { -readonly [Name in Exclude<keyof EngineCounters, 'tcpConnections'>]: number }
