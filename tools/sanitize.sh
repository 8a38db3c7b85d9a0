#!/usr/bin/env bash
# The C++ tests of the kernels under AddressSanitizer and UndefinedBehaviorSanitizer, on every variant the CPU runs.
# Usage: tools/sanitize.sh [build folder; default: a temporary one]
set -euo pipefail
. "$(dirname "$0")/test_program.sh"

build_program kernel_tests "${1:-}" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DNEXTWORD_SANITIZE=ON
# The OpenMP library keeps its thread pool until the process ends; that is no leak of ours.
ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1 UBSAN_OPTIONS=print_stacktrace=1 "$program"
