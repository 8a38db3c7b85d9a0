# Sourced by the scripts that run C++ tests without Python: builds one with cmake's flags and names it in $program.
# Usage: build_program target "build folder, or nothing for a temporary one" flags...
build_program() {
  local source_dir build=$2
  source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
  if [[ -z $build ]]; then
    build=$(mktemp -d)
    trap "rm -rf '$build'" EXIT
  fi
  mkdir -p "$build"
  cmake -S "$source_dir" -B "$build" "${@:3}" >"$build/configure.log" ||
    { cat "$build/configure.log"; exit 1; }
  cmake --build "$build" --target "$1" --parallel "$(nproc)"
  program=$(find "$build" -name "$1" -type f -perm -u+x | head -n 1)
}
