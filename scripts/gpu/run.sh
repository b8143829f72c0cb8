#!/usr/bin/env bash
# The tests that need a CUDA card and a quick benchmark, on a machine with torch and without a network, in under 8 minutes.
# README.md beside this file says how. WHEELS: a folder of wheels to use besides what is installed. PYTHON: the
# interpreter that has torch. Arguments go to `python -m gpu`.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
extra=
if [ -n "${WHEELS:-}" ]; then
  extra=$(mktemp -d)
  trap 'rm -rf "$extra"' EXIT
  "$python" -m pip install --quiet --no-index --no-deps --no-compile --target "$extra" "$WHEELS"/*.whl
fi
export PYTHONPATH="$extra${extra:+:}src:scripts:." HF_HUB_OFFLINE=1 PYTHONUNBUFFERED=1
timeout --kill-after=5 470 "$python" -m gpu "$@"
