/** What the figures were measured on. */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import os from 'node:os'
import process from 'node:process'

export function describeMachine() {
  return {
    cpu: os.cpus()[0]?.model ?? 'unknown',
    cores: os.cpus().length,
    memoryBytes: os.totalmem(),
    kernel: `${os.type()} ${os.release()}`,
    congestionControl: read('/proc/sys/net/ipv4/tcp_congestion_control'),
    node: process.version,
    nodeOpenSsl: process.versions.openssl ?? 'none',
    openSsl: firstLine('openssl', ['version']),
    compiler: firstLine('c++', ['--version']),
  }
}

/** @param {string} file */
function read(file) {
  try {
    return readFileSync(file, 'utf8').trim()
  } catch {
    return 'unknown'
  }
}

/** @param {string} command @param {readonly string[]} rest */
function firstLine(command, rest) {
  return spawnSync(command, rest, { encoding: 'utf8' }).stdout?.split('\n')[0]?.trim() || 'unknown'
}
