#!/usr/bin/env bash
# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

# gate.sh [OPTION...]: at the root of a DAG repository, judges the DAGs that are checked out with the core that the platform
# runs: the locked Airflow and the collection's own package. OPTIONs go to python -m airflow_backbone.gate. Parameters:
#   DAGS_SOURCE        the source's name in airflow_dag_sources
#   DAGS_SUBDIRECTORY  where in the repository its DAGs are; . for all of it
#   DAGS_QUEUES        its queues, with commas
#   DAGS_POOLS         the Airflow pools that there are, with commas; empty: not looked at
#   DAGS_IMAGE         the image of the core by its digest, as core.lock.yml has it; empty: the core is installed from its lock
#   DAGS_AIRFLOW       airflow_version of the platform; not looked at where there is an image
#   DAGS_PYTHON        the version of the core's Python, such as 3.13; likewise
# Ends with 0 if nothing is wrong, 1 if something is wrong with the DAGs, 2 if they could not be judged.
set -euo pipefail

readonly WORK=$PWD/.airstack
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
core=$here/../../roles/airflow_core/files
problems=()

# A job that runs in the image has no git, and a checkout that nobody else has worked in.
is_in_image() { [[ -n "${DAGS_IMAGE:-}" && -x /opt/airflow/bin/python ]]; }

for name in DAGS_SOURCE DAGS_SUBDIRECTORY DAGS_QUEUES; do
  if [[ -z "${!name:-}" ]]; then problems+=("the parameter $name is not given"); fi
done
if [[ -n "${DAGS_IMAGE:-}" ]]; then
  if [[ ! "$DAGS_IMAGE" =~ ^[^[:space:]@]+@sha256:[0-9a-f]{64}$ ]]; then
    problems+=("DAGS_IMAGE is $DAGS_IMAGE, which is no image by its digest, such as registry.example.com/airflow@sha256:0a1b...")
  fi
  if ! is_in_image && ! engine=$(command -v podman || command -v docker); then
    problems+=("the runner has neither podman nor docker to run $DAGS_IMAGE with")
  fi
else
  for name in DAGS_AIRFLOW DAGS_PYTHON; do
    if [[ -z "${!name:-}" ]]; then problems+=("the parameter $name is not given"); fi
  done
  lock=$core/locks/airflow-${DAGS_AIRFLOW:-}-python-${DAGS_PYTHON:-}.txt
  if [[ -n "${DAGS_AIRFLOW:-}" && -n "${DAGS_PYTHON:-}" && ! -f "$lock" ]]; then
    problems+=("the collection has no ${lock##*/}; it has: $(cd "$core/locks" && echo airflow-*-python-*.txt)")
  fi
fi
if is_in_image; then
  if [[ -n "${DAGS_SUBDIRECTORY:-}" && ! -d "$DAGS_SUBDIRECTORY" ]]; then
    problems+=("the repository has no file under $DAGS_SUBDIRECTORY")
  fi
elif [[ "$(git rev-parse --show-toplevel 2>/dev/null)" != "$(pwd -P)" ]]; then
  problems+=("$PWD is not the root of a git repository")
elif [[ -n "${DAGS_SUBDIRECTORY:-}" && -z "$(git ls-files -- "$DAGS_SUBDIRECTORY" 2>/dev/null | head -c 1)" ]]; then
  problems+=("the repository has no file under $DAGS_SUBDIRECTORY")
fi
if ((${#problems[@]})); then
  printf 'gate: %s\n' "${problems[@]}" >&2
  exit 2
fi

# Installs the core from its lock.
install_core() {
  local uv
  # A repository's own uv.toml or pyproject.toml has no say in what is installed.
  # The gate judges as nobody, who cannot run a Python that uv keeps in the home of root.
  export UV_NO_CONFIG=1 UV_CACHE_DIR=$WORK/uv-cache UV_PYTHON_INSTALL_DIR=$WORK/python
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
}

# Prints an archive of what git has, and of nothing that another step of the pipeline left behind.
content() {
  if is_in_image; then
    tar --create --exclude-vcs --exclude=.airstack -- "./$DAGS_SUBDIRECTORY"
  else
    git ls-files -z --recurse-submodules -- "$DAGS_SUBDIRECTORY" | tar --create --no-recursion --null --files-from=-
  fi
}

mkdir -p "$WORK"
echo '*' >"$WORK/.gitignore"
if [[ -z "${DAGS_IMAGE:-}" ]]; then install_core; fi
rm -rf "$WORK/content"
mkdir "$WORK/content"
content | tar --extract --directory="$WORK/content"

arguments=(-P -m airflow_backbone.gate --source "$DAGS_SOURCE=$DAGS_SUBDIRECTORY" --queues "$DAGS_SOURCE=$DAGS_QUEUES")
if [[ -n "${DAGS_POOLS:-}" ]]; then arguments+=(--pools "$DAGS_POOLS"); fi
cd "$WORK/content"
if [[ -z "${DAGS_IMAGE:-}" ]]; then exec "$WORK/core/bin/python" "${arguments[@]}" "$@"; fi

echo "gate: the core of $DAGS_IMAGE"
if is_in_image; then exec /opt/airflow/bin/python "${arguments[@]}" "$@"; fi
# Its user is nobody of this machine.
chmod -R a+rX .
"$engine" run --rm --network none --read-only --tmpfs /tmp --cap-drop all --security-opt no-new-privileges \
  --security-opt label=disable --volume "$PWD:/dags:ro" --workdir /dags "$DAGS_IMAGE" python "${arguments[@]}" "$@" || code=$?
if ((${code:-0} > 2)); then
  echo "gate: the image cannot be run, for the reason above, so nothing was judged." >&2
  exit 2
fi
exit "${code:-0}"
