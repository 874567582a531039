#!/usr/bin/env bash
# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

# uv.sh DIRECTORY: prints the path of a uv, the one on the PATH or else one that it installs into the directory, in the
# version and with the hashes that the role airflow_core has.
set -euo pipefail

collection=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
pins=$collection/roles/airflow_core/vars/main.yml

if command -v uv; then exit; fi

if [[ ! -x "$1/bin/uv" ]]; then
  if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    echo "uv.sh: there is neither uv nor a python3 with venv that could install it; install either on the runner." >&2
    exit 1
  fi
  version=$(sed -n 's/^ *file: uv-\([0-9.]*\)-.*/\1/p' "$pins" | head -n 1)
  python3 -m venv "$1"
  {
    printf 'uv==%s' "$version"
    sed -n 's/^ *sha256: \([0-9a-f]\{64\}\)$/ --hash=sha256:\1/p' "$pins" | tr -d '\n'
  } >"$1/requirements.txt"
  "$1/bin/pip" install --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
    --requirement "$1/requirements.txt" >&2
fi
printf '%s\n' "$1/bin/uv"
