#!/usr/bin/env bash
# The C++ tests of the kernels under AddressSanitizer and UndefinedBehaviorSanitizer, on every variant the CPU runs.
# Usage: tools/sanitize.sh [build folder; default: a temporary one]
set -euo pipefail
source_dir=$(cd "$(dirname "$0")/.." && pwd)
build=${1:-}
if [[ -z $build ]]; then
  build=$(mktemp -d)
  trap 'rm -rf "$build"' EXIT
fi

mkdir -p "$build"
cmake -S "$source_dir" -B "$build" -DNEXTWORD_SANITIZE=ON -DCMAKE_BUILD_TYPE=RelWithDebInfo >"$build/configure.log" ||
  { cat "$build/configure.log"; exit 1; }
cmake --build "$build" --target kernel_tests --parallel "$(nproc)"
# The OpenMP library keeps its thread pool until the process ends; that is no leak of ours.
ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1 UBSAN_OPTIONS=print_stacktrace=1 \
  "$(find "$build" -name kernel_tests -type f -perm -u+x | head -n 1)"
