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
  bpe.cpp bpe_added.cpp bpe_cache.cpp bpe_files.cpp bpe_finder.cpp bpe_join.cpp bpe_known.cpp bpe_lanes.cpp bpe_merge.cpp \
  bpe_state.cpp bpe_text.cpp bpe_train.cpp bpe_vocabulary.cpp byte_blocks.cpp interrupt.cpp parallel.cpp pretokenize.cpp \
  pretokenize_blocks.cpp
"$build/fuzz_bpe" "${1:-10}" "${2:-1}"
