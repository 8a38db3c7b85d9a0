#!/bin/sh
# Builds tests/fuzz/fuzz_*.cpp with AddressSanitizer and UndefinedBehaviorSanitizer and runs each for a share of a bounded time.
# Usage: tests/fuzz/run.sh [seconds together, default 10] [seed, default 1]. CXX names the compiler.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
cd "$root/csrc"
flags="-std=c++17 -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
  -D_GLIBCXX_ASSERTIONS -Wall -Wextra -pthread -I$root/csrc"
(cd "$build" && "${CXX:-c++}" $flags -c "$root"/csrc/text/*.cpp "$root"/csrc/machine/interrupt.cpp "$root"/csrc/machine/parallel.cpp)
for target in fuzz_bpe fuzz_sentencepiece; do
  "${CXX:-c++}" $flags -o "$build/$target" "$root/tests/fuzz/$target.cpp" "$build"/*.o
done
"$build/fuzz_bpe" "$(awk "BEGIN { print ${1:-10} * 0.7 }")" "${2:-1}"
"$build/fuzz_sentencepiece" "$(awk "BEGIN { print ${1:-10} * 0.3 }")" "${2:-1}"
