#!/usr/bin/env bash
# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

# build.sh: at the root of the platform's repository, builds the core that acceptance's description asks for and tries it. It is
# not pushed, nothing is written down, and no secret is needed. Parameters:
#   ACCEPTANCE_INVENTORY   in the platform's repository
set -euo pipefail

readonly PROGRAM=build WORK=$PWD/.airstack PLATFORM=$PWD
# shellcheck source=pipelines/core/playing.sh
. "$(dirname "${BASH_SOURCE[0]}")/playing.sh"

require_acceptance

ignore_work
if is_deployed HEAD; then
  say "nothing but records came after the commit that acceptance's core is of, so there is nothing to build."
  exit
fi
prepare_ansible
play core -i "$ACCEPTANCE_INVENTORY" "${core[@]}" -e airflow_core_image=localhost/airflow -e "airflow_core_lock_file=$WORK/core.lock.yml"
