/**
 * What the install step tells: lines on the terminal, and the reason that the server repeats when it starts.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { reasonFile } from './paths.mjs'

/**
 * One thing that is missing.
 * @typedef {object} Missing
 * @property {string} what completes "… is missing"
 * @property {string} tried what was looked for, where, and what came of it; a full sentence
 * @property {readonly (readonly [system: string, command: string])[]} remedies
 */

/** @param {string} text */
export function say(text) {
  console.log(`native-websocket-server: ${text}`)
}

/**
 * The short reason: one sentence that names everything that is missing.
 * @param {readonly Missing[]} missing
 */
export function sentence(missing) {
  const names = missing.map(({ what }) => what)
  const list = new Intl.ListFormat('en', { type: 'conjunction' }).format(names)
  return `The native engine was not built, because ${list} ${missing.length > 1 ? 'are' : 'is'} missing.`
}

/**
 * One paragraph for each missing thing: what it is, what was tried, and the commands that bring it.
 * @param {readonly Missing[]} missing
 */
export function paragraphs(missing) {
  return missing
    .map(({ what, tried, remedies }) => {
      const width = Math.max(...remedies.map(([system]) => system.length)) + 1
      return [
        `Missing: ${what}. ${tried}`,
        ...remedies.map(([system, command]) => `  ${`${system}:`.padEnd(width)} ${command}`),
      ].join('\n')
    })
    .join('\n\n')
}

/**
 * Keeps the reason for the server to repeat: `reason` on the first line, then the details.
 * @param {string} reason
 * @param {string} [details]
 */
export function keepReason(reason, details = '') {
  mkdirSync(dirname(reasonFile), { recursive: true })
  writeFileSync(reasonFile, details ? `${reason}\n\n${details}\n` : `${reason}\n`)
}

/** There is a native engine. */
export function forgetReason() {
  rmSync(reasonFile, { force: true })
}
