#!/usr/bin/env bash
# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

# gate.sh [OPTION...]: at the root of a DAG repository, judges the DAGs that are checked out with the core that the platform
# runs: the locked Airflow and the collection's own package. OPTIONs go to python -m airflow_backbone.gate. Parameters:
#   DAGS_SOURCE        the source's name in airflow_dag_sources
#   DAGS_SUBDIRECTORY  where in the repository its DAGs are; . for all of it
#   DAGS_QUEUES        its queues, with commas
#   DAGS_POOLS         the Airflow pools that there are, with commas; empty: not looked at
#   DAGS_AIRFLOW       airflow_version of the platform
#   DAGS_PYTHON        the version of the core's Python, such as 3.13
# Ends with 0 if nothing is wrong, 1 if something is wrong with the DAGs, 2 if they could not be judged.
set -euo pipefail

readonly WORK=$PWD/.airstack
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
core=$here/../../roles/airflow_core/files
problems=()

for name in DAGS_SOURCE DAGS_SUBDIRECTORY DAGS_QUEUES DAGS_AIRFLOW DAGS_PYTHON; do
  if [[ -z "${!name:-}" ]]; then problems+=("the parameter $name is not given"); fi
done
lock=$core/locks/airflow-${DAGS_AIRFLOW:-}-python-${DAGS_PYTHON:-}.txt
if [[ -n "${DAGS_AIRFLOW:-}" && -n "${DAGS_PYTHON:-}" && ! -f "$lock" ]]; then
  problems+=("the collection has no ${lock##*/}; it has: $(cd "$core/locks" && echo airflow-*-python-*.txt)")
fi
if [[ "$(git rev-parse --show-toplevel 2>/dev/null)" != "$(pwd -P)" ]]; then
  problems+=("$PWD is not the root of a git repository")
elif [[ -n "${DAGS_SUBDIRECTORY:-}" && -z "$(git ls-files -- "$DAGS_SUBDIRECTORY" 2>/dev/null | head -c 1)" ]]; then
  problems+=("the repository has no file under $DAGS_SUBDIRECTORY")
fi
if ((${#problems[@]})); then
  printf 'gate: %s\n' "${problems[@]}" >&2
  exit 2
fi

# A repository's own uv.toml or pyproject.toml has no say in what is installed.
# The gate judges as nobody, who cannot run a Python that uv keeps in the home of root.
export UV_NO_CONFIG=1 UV_CACHE_DIR=$WORK/uv-cache UV_PYTHON_INSTALL_DIR=$WORK/python
mkdir -p "$WORK"
echo '*' >"$WORK/.gitignore"
uv=$("$here/../shared/uv.sh" "$WORK/uv")

echo "gate: the core of ${lock##*/}"
if ! {
  "$uv" venv --quiet --clear --no-project --python "$DAGS_PYTHON" "$WORK/core" &&
    "$uv" pip sync --quiet --python "$WORK/core" --require-hashes --no-build "$lock" &&
    "$uv" pip install --quiet --python "$WORK/core" --no-cache --no-index --no-deps "$core/airflow_backbone"
}; then
  echo "gate: the core cannot be installed, for the reason above, so nothing was judged." >&2
  exit 2
fi

# What git has, and nothing that another step of the pipeline left behind
rm -rf "$WORK/content"
mkdir "$WORK/content"
git ls-files -z --recurse-submodules -- "$DAGS_SUBDIRECTORY" |
  tar --create --no-recursion --null --files-from=- | tar --extract --directory="$WORK/content"

arguments=(--source "$DAGS_SOURCE=$DAGS_SUBDIRECTORY" --queues "$DAGS_SOURCE=$DAGS_QUEUES")
if [[ -n "${DAGS_POOLS:-}" ]]; then arguments+=(--pools "$DAGS_POOLS"); fi
cd "$WORK/content"
exec "$WORK/core/bin/python" -P -m airflow_backbone.gate "${arguments[@]}" "$@"
