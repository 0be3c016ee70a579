import process from 'node:process'

/**
 * Whether `net.Server.listen` knows SO_REUSEPORT, which came with Node.js 22.12 and 23.1; earlier releases
 * ignore the option in silence.
 */
export const NODE_CAN_REUSE_PORT = (() => {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  return major > 23 || (major === 23 && minor >= 1) || (major === 22 && minor >= 12)
})()
