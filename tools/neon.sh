#!/usr/bin/env bash
# The C++ tests of the kernels compiled for 64-bit ARM and run under qemu. Takes Debian's g++-aarch64-linux-gnu and
# qemu-user, installs them where that is possible, and otherwise says what is missing and ends well.
# Usage: tools/neon.sh [build folder; default: a temporary one]
set -euo pipefail
. "$(dirname "$0")/test_program.sh"

have_tools() { command -v aarch64-linux-gnu-g++ >/dev/null && command -v qemu-aarch64 >/dev/null; }

if ! have_tools && [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
  echo "installing g++-aarch64-linux-gnu and qemu-user"
  { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
    g++-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user; } >/dev/null 2>&1 </dev/null || true
fi
if ! have_tools; then
  echo "skipped: this needs Debian's g++-aarch64-linux-gnu and qemu-user (apt-get install, as root)"
  exit 0
fi

build_program kernel_tests "${1:-}" -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
  -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++
qemu-aarch64 -L /usr/aarch64-linux-gnu "$program"
