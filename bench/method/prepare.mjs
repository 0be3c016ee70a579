/** Makes what a run needs and finds missing: packages, programs, a certificate, the compiled server. */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import os from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { benchDirectory, certificate } from './places.mjs'

/**
 * Throws an error that says what to do.
 * @param {readonly import('./works.mjs').Work[]} works that will be measured
 */
export function prepare(works) {
  if (process.platform !== 'linux') throw new Error('the benchmark needs Linux: epoll, taskset and /proc')
  if (os.availableParallelism() < 2) throw new Error('the benchmark needs two cores: one for the server, one for the generator')
  if (spawnSync('taskset', ['--version']).error) throw new Error('taskset is missing (package util-linux)')
  if (!existsSync(join(benchDirectory, '..', 'dist', 'index.js')))
    throw new Error('the server is not built: run "npm install" in the project first')
  const { dependencies } = JSON.parse(readFileSync(join(benchDirectory, 'package.json'), 'utf8'))
  if (!Object.keys(dependencies).every((name) => existsSync(join(benchDirectory, 'node_modules', name))))
    run('npm', ['ci', '--no-audit', '--no-fund'], 'installing the peers')
  // Backplanes need neither the generator nor TLS.
  if (works.every(({ backplane }) => backplane)) return
  const build = join(benchDirectory, 'build')
  if (!existsSync(join(build, 'CMakeCache.txt')))
    run('cmake', ['-S', benchDirectory, '-B', build], 'configuring the generator and the C++ servers')
  run('cmake', ['--build', build, '--parallel'], 'building the generator and the C++ servers')
  if (!existsSync(certificate.cert)) {
    mkdirSync(join(benchDirectory, 'results', 'keys'), { recursive: true })
    const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1']
    const files = ['-keyout', certificate.key, '-out', certificate.cert]
    run(
      'openssl',
      ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '365', ...files, ...subject],
      'making a certificate',
    )
  }
}

/** @param {string} command @param {readonly string[]} rest @param {string} purpose */
function run(command, rest, purpose) {
  const { status, error, stdout, stderr } = spawnSync(command, rest, { cwd: benchDirectory, encoding: 'utf8' })
  if (status !== 0)
    throw new Error(`${purpose} failed (${command} ${rest.join(' ')}): ${error?.message ?? ''}\n${stdout ?? ''}${stderr ?? ''}`)
}
