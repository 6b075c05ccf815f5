#!/usr/bin/env bash
# clang-format on every file, clang-tidy on every translation unit of ours; warnings are errors.
# Needs a configured dev preset for its compile_commands.json.
set -euo pipefail
cd "$(dirname "$0")/.."

git ls-files '*.h' '*.cpp' | xargs clang-format --dry-run -Werror
[ -f build/dev/compile_commands.json ] || {
  echo "lint: configure first: cmake --preset dev" >&2
  exit 1
}
git ls-files 'src/*.cpp' 'examples/*.cpp' |
  xargs -P "$(nproc)" -n 4 clang-tidy -p build/dev --quiet --warnings-as-errors='*'
