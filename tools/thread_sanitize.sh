#!/usr/bin/env bash
# The core used by many threads at once, under ThreadSanitizer. Without OpenMP: the sanitizer does not see how GCC's
# library synchronises, and would report every team; the threads are the test's own.
# Usage: tools/thread_sanitize.sh [build folder; default: a temporary one]
set -euo pipefail
source_dir=$(cd "$(dirname "$0")/.." && pwd)
build=${1:-}
if [[ -z $build ]]; then
  build=$(mktemp -d)
  trap 'rm -rf "$build"' EXIT
fi

mkdir -p "$build"
cmake -S "$source_dir" -B "$build" -DNEXTWORD_SANITIZE=thread -DNEXTWORD_OPENMP=OFF -DCMAKE_BUILD_TYPE=RelWithDebInfo \
  >"$build/configure.log" || { cat "$build/configure.log"; exit 1; }
cmake --build "$build" --target thread_tests --parallel "$(nproc)"
run=("$(find "$build" -name thread_tests -type f -perm -u+x | head -n 1)")
# The sanitizer needs its memory at fixed places, which some kernels' randomised layout takes.
if setarch "$(uname -m)" -R true 2>/dev/null; then run=(setarch "$(uname -m)" -R "${run[@]}"); fi
TSAN_OPTIONS=halt_on_error=1 "${run[@]}"
