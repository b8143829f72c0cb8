#!/usr/bin/env bash
# Builds docker/Dockerfile for a CPU, as `blip-serve`, without a Docker engine and on a base made of the distribution's
# packages. On Debian, as root, with what install.sh installs; pip's own settings reach the build.
# Usage: build_image.sh [FOLDER]: the base stays there for the next time.
set -euo pipefail
cd "$(dirname "$0")/../.."
folder="$(realpath -m "${1:-build/image}")"
mkdir -p "$folder"

if ! buildah inspect --type image blip-serve-base > /dev/null 2>&1; then
  [ -e "$folder/base/etc/os-release" ] \
    || debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$folder/base" > "$folder/debootstrap.log"
  base="$(buildah from scratch)"
  buildah add --quiet "$base" "$folder/base" /
  buildah commit --quiet --rm "$base" blip-serve-base
fi

given=()
for name in PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_FIND_LINKS TORCH_INDEX_URL; do
  [ -z "${!name:-}" ] || given+=(--build-arg "$name=${!name}")
done
named="$(python3 -m pip config list | grep -oE "(file://)?/[^' ]+" | sed -E 's|^file://||; s|/simple/?$||' || true)"
for path in /etc/pip.conf "$HOME/.config/pip/pip.conf" "$HOME/.pip/pip.conf" $named; do
  [ ! -e "$path" ] || given+=(--volume "$path:$path:ro")
done
buildah bud --isolation chroot --layers --format docker --build-arg BASE_IMAGE=blip-serve-base \
  --build-arg REVISION="$(git rev-parse HEAD)" "${given[@]}" --tag blip-serve --file docker/Dockerfile .
echo "size: $(buildah images --format '{{.Size}}' blip-serve), of which the base: $(buildah images --format '{{.Size}}' blip-serve-base)"
