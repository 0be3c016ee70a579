#!/bin/sh
# Builds the platform package of this system, and tries it: in a container of .github/workflows/prebuild.yml, or on macOS.
set -eu
if command -v apt-get >/dev/null; then
  apt-get -qq update
  apt-get -qq install --yes --no-install-recommends cmake make g++ libssl-dev zlib1g-dev libuv1-dev >/dev/null
elif command -v apk >/dev/null; then
  apk add --quiet git cmake make g++ binutils linux-headers openssl-dev openssl-libs-static zlib-dev zlib-static libuv-dev
fi
npm ci --ignore-scripts
npm run build:packages -- --addon
# Packs both packages, installs them without anything that builds, and runs an echo on the native engine.
npm test -- test/package/platform-package.test.ts
