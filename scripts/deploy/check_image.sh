#!/usr/bin/env bash
# Starts the image `blip-serve` as its user: refused without keys; with keys, and once more with a read-only root file
# system, it gets ready, answers `/v1/match`, and ends with 0 on SIGTERM. As root; needs buildah and curl.
set -euo pipefail
cd "$(dirname "$0")/../.."
picture=src/blip_serve/checkpoints/pictures/red-circle.png
folder="$(mktemp --directory)"
container="$(buildah from blip-serve)"
root="$(buildah mount "$container")"
running=
trap '[ -z "$running" ] || kill "$running" || true; buildah rm "$container" > /dev/null; rm -r "$folder"' EXIT
port="$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')"

in_image() { buildah run --isolation chroot --volume "$folder:/etc/blip-serve/keys" "$@"; }

fail() { echo "$1" >&2; [ ! -e "$folder/log" ] || cat "$folder/log" >&2; exit 1; }

# What it is: not root, no compiler, no installer.
[ "$(in_image "$container" -- id -u)" = 10001 ] || fail "the image's user is not 10001"
in_image "$container" -- sh -c '! command -v cc gcc g++ make pip pip3 && ! python -m pip --version' > /dev/null 2>&1 \
  || fail "build tools are left in the image"

# Without keys it does not start.
status=0
in_image "$container" -- blip-serve serve 2> "$folder/log" || status=$?
[ "$status" = 2 ] && grep -q "others can call" "$folder/log" || fail "it started without keys"

asks() { # KEY: the status of a question
  curl --silent --output "$folder/answer" --write-out '%{http_code}' "http://127.0.0.1:$port/v1/match" \
    --header "authorization: Bearer $1" -F image=@"$picture" -F caption="a large red circle"
}

answers() { # the server's process, KEY
  for _ in $(seq 300); do
    [ "$(curl --silent --output /dev/null --write-out '%{http_code}' "http://127.0.0.1:$port/readyz")" = 200 ] && break
    sleep 0.2
  done
  [ "$(asks "$2")" = 200 ] || fail "no answer: $(cat "$folder/answer")"
  cat "$folder/answer"; echo
  [ "$(stat --format %u "/proc/$1")" = 10001 ] || fail "the server runs as another user"
}

# With keys, on all addresses, as the image says.
chmod 777 "$folder"
key="$(in_image "$container" -- blip-serve keys create tester --file /etc/blip-serve/keys/keys.yaml)"
in_image --env BLIP_SERVE_AUTH__KEYS_FILE=/etc/blip-serve/keys/keys.yaml --env BLIP_SERVE_SERVER__PORT="$port" "$container" -- \
  sh -c 'echo $$ > /etc/blip-serve/keys/pid; exec blip-serve serve' > "$folder/log" 2>&1 &
started=$!
for _ in $(seq 100); do [ -s "$folder/pid" ] && break; sleep 0.1; done
running="$(cat "$folder/pid")"
answers "$running" "$key"
[ "$(asks wrong)" = 401 ] || fail "a wrong key was let in"
in_image --env BLIP_SERVE_SERVER__PORT="$port" "$container" -- python /opt/healthcheck.py || fail "the health check fails"
kill -TERM "$running"
wait "$started" || fail "it ended with $?"
running=
in_image --env BLIP_SERVE_SERVER__PORT="$port" "$container" -- python /opt/healthcheck.py && fail "the health check passes without a server"

# On a read-only root, with nothing to write to but /tmp; on loopback, where no key is needed.
# shellcheck disable=SC2016  # expanded by the inner shell
unshare --mount bash -c '
  mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && mount -t tmpfs tmpfs "$0/tmp"
  mount --rbind /proc "$0/proc" && mount --rbind /dev "$0/dev" && exec chroot --userspec=10001:10001 "$0" "$@"
' "$root" env -i PATH=/opt/blip-serve/bin:/opt/venv/bin PYTHONPATH=/opt/blip-serve HF_HOME=/var/lib/blip-serve \
  BLIP_SERVE_SERVER__PORT="$port" blip-serve serve > "$folder/log" 2>&1 &
running=$!
answers "$running" unused
kill -TERM "$running"
wait "$running" || fail "it ended with $?"
running=
echo "The image is good."
