#!/bin/sh
# Builds tests/fuzz/fuzz_bpe.cpp with AddressSanitizer and UndefinedBehaviorSanitizer and runs it for a bounded time.
# Usage: tests/fuzz/run.sh [seconds, default 10] [seed, default 1]. CXX names the compiler.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
cd "$root/csrc"
"${CXX:-c++}" -std=c++17 -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer \
  -D_GLIBCXX_ASSERTIONS -Wall -Wextra -pthread -I. -o "$build/fuzz_bpe" ../tests/fuzz/fuzz_bpe.cpp \
  text/*.cpp machine/interrupt.cpp machine/parallel.cpp
"$build/fuzz_bpe" "${1:-10}" "${2:-1}"
