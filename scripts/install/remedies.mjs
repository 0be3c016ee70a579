/** How each system brings each thing that the native build needs. */
import { tryAgain } from './paths.mjs'

/**
 * @param {Record<'debian' | 'fedora' | 'alpine' | 'macos', string>} names packages, and for macOS the whole
 *   command
 */
const packages = ({ debian, fedora, alpine, macos }) =>
  /** @type {const} */ ([
    ['Debian, Ubuntu', `apt-get install ${debian}`],
    ['Fedora', `dnf install ${fedora}`],
    ['Alpine', `apk add ${alpine}`],
    ['macOS', macos],
  ])

const commandLineTools = 'xcode-select --install'

export const remedies = {
  git: packages({ debian: 'git', fedora: 'git', alpine: 'git', macos: commandLineTools }),
  cmake: packages({ debian: 'cmake', fedora: 'cmake', alpine: 'cmake', macos: 'brew install cmake' }),
  make: packages({ debian: 'make', fedora: 'make', alpine: 'make', macos: commandLineTools }),
  compiler: packages({ debian: 'g++', fedora: 'gcc-c++', alpine: 'g++', macos: commandLineTools }),
  openssl: packages({
    debian: 'libssl-dev',
    fedora: 'openssl-devel',
    alpine: 'openssl-dev openssl-libs-static',
    macos: 'brew install openssl@3',
  }),
  // Fedora's repositories have no static OpenSSL at all. What OpenSSL's own build makes has both kinds of
  // libraries.
  staticOpenssl: /** @type {const} */ ([
    ['Debian, Ubuntu', 'apt-get install libssl-dev'],
    ['Fedora', 'has no package of them: build OpenSSL as below'],
    ['Alpine', 'apk add openssl-libs-static'],
    ['macOS', 'brew install openssl@3'],
    ["Elsewhere, in OpenSSL's sources", './Configure --prefix=/path/to/openssl --libdir=lib && make && make install_sw'],
    ['and then here', `OPENSSL_ROOT_DIR=/path/to/openssl ${tryAgain}`],
  ]),
  zlib: packages({
    debian: 'zlib1g-dev',
    fedora: 'zlib-devel zlib-static',
    alpine: 'zlib-dev zlib-static',
    macos: commandLineTools,
  }),
  staticZlib: packages({ debian: 'zlib1g-dev', fedora: 'zlib-static', alpine: 'zlib-static', macos: commandLineTools }),
  libuv: packages({ debian: 'libuv1-dev', fedora: 'libuv-devel', alpine: 'libuv-dev', macos: 'brew install libuv' }),
}
