#!/usr/bin/env bash
# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

# deploy.sh acceptance|production: at the root of the platform's repository. Acceptance gets the core that the commit describes
# which is checked out: built, tried, pushed, deployed. Production builds nothing. It gets acceptance's core, and is refused where
# that is not of the commit that is checked out, or where the branch has got another description since. What was deployed is
# recorded in the environment's core.lock.yml. Parameters:
#   ACCEPTANCE_INVENTORY   in the platform's repository
#   PRODUCTION_INVENTORY   likewise
#   PLATFORM_BRANCH        whose pushes go to acceptance, and which records what was deployed
#   PLATFORM_PUSH_URL      where that is pushed to
# Secrets, each the text itself or the path of a file with it:
#   DEPLOY_SSH_KEY         the key that opens the environment's hosts
#   DEPLOY_KNOWN_HOSTS     what ssh-keyscan says of these hosts and of the git server, compared by a person
#   DEPLOY_VAULT_PASSWORD  of the inventory's Ansible Vault; empty where there is none
#   PLATFORM_SSH_KEY       the key that may push to the platform's repository
set -euo pipefail

readonly PROGRAM=deploy DEPLOYED="The core is" ENVIRONMENT=${1:-}
readonly WORK=$PWD/.airstack PLATFORM=$PWD
readonly TAGS=airflow_core,airflow_components,airflow_verify
# shellcheck source=pipelines/core/playing.sh
. "$(dirname "${BASH_SOURCE[0]}")/playing.sh"

# Goes to the end of the branch, where the lock of this commit's acceptance is, unless anything but such records came after it.
follow_records() {
  platform_git fetch --quiet "$PLATFORM_PUSH_URL" "refs/heads/$PLATFORM_BRANCH" ||
    fail "$PLATFORM_BRANCH cannot be fetched from $PLATFORM_PUSH_URL, for the reason above. Nothing was deployed."
  if ! platform_git merge-base --is-ancestor "$commit" FETCH_HEAD || changes_but_records "$commit" FETCH_HEAD; then
    fail "$PLATFORM_BRANCH is not what this pipeline's commit $commit is, which alone acceptance tried. Nothing was deployed." \
      "Use the pipeline of its newest commit."
  fi
  platform_git checkout --quiet --force --detach FETCH_HEAD
}

# Production is what acceptance tried.
require_accepted() {
  local accepted
  [[ -f "$PLATFORM/$1" ]] || fail "there is no $1, so acceptance has no core; deploy to acceptance first."
  accepted=$(locked_commit <"$PLATFORM/$1")
  [[ "$accepted" == "$commit" ]] || fail "$1 has the core of the commit ${accepted:-null}, and this pipeline is for $commit." \
    "Nothing was deployed. Deploy this one to acceptance first."
}

case $ENVIRONMENT in
acceptance) inventory=${ACCEPTANCE_INVENTORY:-} ;;
production) inventory=${PRODUCTION_INVENTORY:-} ;;
*) problems+=("'$ENVIRONMENT' is not an environment; it is acceptance or production") ;;
esac
need_parameters ACCEPTANCE_INVENTORY PRODUCTION_INVENTORY PLATFORM_BRANCH PLATFORM_PUSH_URL
need_secrets DEPLOY_SSH_KEY DEPLOY_KNOWN_HOSTS PLATFORM_SSH_KEY
need_programs git ssh awk grep
note_wrong_place "${ACCEPTANCE_INVENTORY:-}" "${inventory:-}"
refuse_problems

ignore_work
commit=$(git rev-parse HEAD)
if is_deployed "$commit"; then
  say "nothing but records came after the commit that acceptance's core is of, so there is nothing to deploy."
  exit
fi
take_secrets
require_push
if [[ "$ENVIRONMENT" == production ]]; then
  follow_records
  require_accepted "$(lock_of "$ACCEPTANCE_INVENTORY" core.lock.yml)"
fi
prepare_ansible_for_hosts
say "the core of commit $commit, to $ENVIRONMENT"
lock=$(lock_of "$inventory" core.lock.yml)
if [[ "$ENVIRONMENT" == acceptance ]]; then
  play core -i "$inventory" "${core[@]}"
  if [[ ! -f "$lock" || "$(locked_commit <"$lock")" != "$commit" ]]; then
    fail "no core that others can have was made, so nothing was deployed: say in airflow_core_image which registry keeps the image."
  fi
else
  play core -i "$inventory" -e "airflow_core_promote_from=$(lock_of "$ACCEPTANCE_INVENTORY" core.lock.yml)"
  play parity -e "airflow_parity_from=$(lock_of "$ACCEPTANCE_INVENTORY" core.lock.yml)" -e "airflow_parity_to=$lock" \
    -e airflow_parity_required=true
fi
play site -i "$inventory" --tags "$TAGS"
record "$lock" "core in $ENVIRONMENT: ${commit:0:12}"
