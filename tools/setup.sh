#!/bin/sh
# Installs the packages of tools/packages.txt that are missing. Quick when none is.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
wanted=$(grep -v '^#' "$here/packages.txt")

missing=
for package in $wanted; do
  status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$status" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

echo "installing:$missing"
as_root=
if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null || {
    echo "setup: not root and no sudo; as root run: apt-get install -y$missing" >&2
    exit 1
  }
  as_root=sudo
fi
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -q
# shellcheck disable=SC2086
$as_root apt-get install -q -y --no-install-recommends $missing
