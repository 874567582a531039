#!/usr/bin/env bash
# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

# What the scripts of this folder share: they source it, and set before what pipelines/shared/deployment.sh asks for.

# shellcheck source=pipelines/shared/deployment.sh
. "$(dirname "${BASH_SOURCE[0]}")/../shared/deployment.sh"

# What core.yml writes beside the lock is the runner's alone.
# shellcheck disable=SC2034 # for the scripts that source this
core=(-e "airflow_core_image_directory=$WORK/core" -e "airflow_core_image_sbom=$WORK/core.sbom.json")

# note_wrong_place INVENTORY...
note_wrong_place() {
  local inventory
  if ! is_root_of_repository "$PLATFORM"; then
    problems+=("$PLATFORM is not the root of a git repository")
    return
  fi
  for inventory in "$@"; do
    if [[ -n "$inventory" && ! -e "$PLATFORM/$inventory" ]]; then problems+=("the repository has no $inventory"); fi
  done
}

# Refuses to look at acceptance's core where that cannot be done.
require_acceptance() {
  need_parameters ACCEPTANCE_INVENTORY
  need_programs git awk grep
  note_wrong_place "${ACCEPTANCE_INVENTORY:-}"
  refuse_problems
}

ignore_work() {
  mkdir -p "$WORK"
  echo '*' >"$WORK/.gitignore"
}

# changes_but_records FROM TO: whether two commits differ in anything but what was deployed.
changes_but_records() {
  git -C "$PLATFORM" diff --name-only "$1" "$2" | grep --quiet --invert-match --extended-regexp '(^|/)(core|dags)\.lock\.yml$'
}

# Reads a lock and prints the commit that described its core, or nothing. The files are always of the form that the collection writes.
locked_commit() { awk '$1 == "commit:" { gsub(/[\047"]/, "", $2); print $2; exit }'; }

# is_deployed COMMIT: whether acceptance has its core already: nothing but records came after the commit that its lock says. What a
# job that failed left behind in the working tree is no record.
is_deployed() {
  local accepted lock
  lock=$(lock_of "$ACCEPTANCE_INVENTORY" core.lock.yml)
  accepted=$(git -C "$PLATFORM" show "$1:$lock" 2>/dev/null | locked_commit) || true
  [[ -n "$accepted" ]] && git -C "$PLATFORM" cat-file -e "$accepted^{commit}" 2>/dev/null && ! changes_but_records "$accepted" "$1"
}
