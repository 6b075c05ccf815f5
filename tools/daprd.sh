#!/bin/sh
# Prints the path of a daprd to test against: the one on PATH, else the module of tools/daprd, built
# once (some minutes) and kept in the user's cache. Exit status 3, with what to install, if there is
# neither a daprd nor a Go.
set -eu

if command -v daprd >/dev/null 2>&1; then
  command -v daprd
  exit 0
fi

here=$(cd "$(dirname "$0")" && pwd)
version=$(cat "$here/daprd/main.go" "$here/daprd/go.mod" "$here/daprd/go.sum" | sha256sum | cut -c1-12)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/virtufin
binary=$cache/daprd-$version
if [ ! -x "$binary" ]; then
  if ! command -v go >/dev/null 2>&1; then
    echo "no daprd on PATH and no Go to build one: install the Dapr runtime 1.18, or Go 1.26" >&2
    exit 3
  fi
  mkdir -p "$cache"
  echo "building daprd once into $binary" >&2
  # Into a file of our own first: two that build at once do not read each other's half.
  (cd "$here/daprd" && GOFLAGS=-buildvcs=false go build -trimpath -tags stablecomponents -ldflags='-s -w' \
    -o "$binary.$$" .) >&2
  mv "$binary.$$" "$binary"
fi
echo "$binary"
