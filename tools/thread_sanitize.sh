#!/usr/bin/env bash
# The core used by many threads at once, under ThreadSanitizer. Without OpenMP: the sanitizer does not see how GCC's
# library synchronises, and would report every team; the threads are the test's own.
# Usage: tools/thread_sanitize.sh [build folder; default: a temporary one]
set -euo pipefail
. "$(dirname "$0")/test_program.sh"

build_program thread_tests "${1:-}" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DNEXTWORD_SANITIZE=thread -DNEXTWORD_OPENMP=OFF
run=("$program")
# The sanitizer needs its memory at fixed places, which some kernels' randomised layout takes.
if setarch "$(uname -m)" -R true 2>/dev/null; then run=(setarch "$(uname -m)" -R "${run[@]}"); fi
TSAN_OPTIONS=halt_on_error=1 "${run[@]}"
