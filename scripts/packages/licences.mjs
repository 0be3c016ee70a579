/** The licences of what is compiled into an addon, in the words of the works themselves. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../install/paths.mjs'

const RULE = `\n\n${'='.repeat(100)}\n\n`

/**
 * @param {import('./addon.mjs').Built} built
 * @returns {string}
 */
export function licencesOf({ openssl, upstream, zlibHeader, cxxLibrary }) {
  const modules = join(root, 'node_modules')
  const works = [
    ['µWebSockets, https://github.com/uNetworking/uWebSockets', readFileSync(join(upstream, 'LICENSE'), 'utf8')],
    [
      'any_invocable, https://github.com/ofats/any_invocable (in µWebSockets: src/MoveOnlyFunction.h)',
      firstComment(join(upstream, 'src', 'MoveOnlyFunction.h')),
    ],
    ['µSockets, https://github.com/uNetworking/uSockets', readFileSync(join(upstream, 'uSockets', 'LICENSE'), 'utf8')],
    [
      `${openssl}, https://www.openssl.org`,
      `Copyright (c) 1998-present The OpenSSL Project Authors. Copyright (c) 1995-1998 Eric A. Young, Tim J. Hudson.
All rights reserved. Licensed under the Apache License 2.0, whose text is in LICENSE.`,
    ],
    ['zlib, https://zlib.net', firstComment(zlibHeader)],
    ['node-addon-api (headers)', readFileSync(join(modules, 'node-addon-api', 'LICENSE.md'), 'utf8')],
    ['node-api-headers (headers)', readFileSync(join(modules, 'node-api-headers', 'LICENSE'), 'utf8')],
    [
      'libuv (headers), https://libuv.org',
      `Copyright Joyent, Inc. and other Node contributors. Copyright (c) 2015-present libuv project contributors.
MIT License: https://github.com/libuv/libuv/blob/v1.x/LICENSE`,
    ],
  ]
  if (cxxLibrary === 'libstdc++') {
    works.push([
      'libstdc++, the GNU C++ library, https://gcc.gnu.org',
      `Copyright (C) Free Software Foundation, Inc. Licensed under the GNU General Public License, version 3, with the
GCC Runtime Library Exception, version 3.1 (https://www.gnu.org/licenses/gcc-exception-3.1.html), which permits to
convey this addon, a work compiled with GCC, under terms of its own.`,
    ])
  } else if (cxxLibrary === 'libc++') {
    works.push([
      'libc++, libc++abi, libunwind and compiler-rt of LLVM, https://llvm.org',
      `Copyright (c) the LLVM Project contributors. Apache License 2.0, whose text is in LICENSE, with the LLVM Exceptions
(https://llvm.org/LICENSE.txt), by which what a compiler embeds into a work needs no notice of it.`,
    ])
  }
  if (!/^OpenSSL [3-9]/.test(openssl)) throw new Error(`${openssl} has other licences than scripts/packages/licences.mjs says.`)
  return `What is compiled into the addon of this package, and under which licences.${RULE}${works
    .map(([work, text = '']) => `${work}\n\n${text.trim()}`)
    .join(RULE)}\n`
}

/** @param {string} file */
function firstComment(file) {
  const comment = /\/\*([\s\S]*?)\*\//.exec(readFileSync(file, 'utf8'))?.[1]
  if (comment === undefined || !/copyright/i.test(comment)) throw new Error(`${file} does not begin with a licence.`)
  return comment
}
