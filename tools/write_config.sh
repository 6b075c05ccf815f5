#!/bin/sh
# Writes config/virtufin.toml from the binary's own keys, documentation and defaults.
# usage: tools/write_config.sh [path of the binary]
set -eu
cd "$(dirname "$0")/.."
binary="${1:-build/dev/virtufin}"
{
  cat <<'HEADER'
# The platform on this machine: every key there is, with its default. Written by
# tools/write_config.sh; a test compares. Only state.durability differs from what `virtufin run`
# takes without a file: records are kept. Any key can come from the environment too:
# VIRTUFIN_GATEWAY__HTTP_PORT=80.

HEADER
  env -i VIRTUFIN_STATE__DURABILITY=batched "$binary" config --effective |
    sed -e '/^#/!s/  # \(default\|VIRTUFIN_[A-Z_]*\)$//'
} >config/virtufin.toml.new
mv config/virtufin.toml.new config/virtufin.toml
