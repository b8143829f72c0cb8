#!/usr/bin/env bash
# Installs what `make test-deploy` needs, or with the argument `image` or `browser` what `make test-image` or
# `make test-browser` needs, from the distribution (Debian 12 or newer), as root. Starts nothing.
set -euo pipefail

case "${1:-}" in
  "") parts=(nginx-light haproxy redis-server prometheus docker-compose) ;;
  image) parts=(buildah debootstrap curl) ;;
  browser) parts=(chromium) ;;
  *) echo "usage: $0 [image|browser]" >&2; exit 2 ;;
esac

missing=()
for part in "${parts[@]}"; do
  # shellcheck disable=SC2016  # dpkg-query expands it
  [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$part" 2> /dev/null)" = installed ] || missing+=("$part")
done
[ "${#missing[@]}" -gt 0 ] || exit 0

fail() { echo "$0: cannot install ${missing[*]}: $1" >&2; exit 1; }
command -v apt-get > /dev/null || fail "there is no apt-get; install them another way"
[ "$(id -u)" = 0 ] || fail "not root"
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1  # at run level 1 no service is started by its installation
apt-get update -q || fail "the list of packages could not be fetched"
apt-get install -q -y --no-install-recommends "${missing[@]}" || fail "apt-get failed"
