#!/usr/bin/env bash
# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

# deploy.sh acceptance|production: at the root of a DAG repository, with the platform's repository in .airstack/platform.
# Acceptance gets the commit that is checked out. Production gets what acceptance's lock says, and is refused where that is
# not the commit that is checked out, or another one with the same content. What was deployed is recorded in the platform's
# repository, in the environment's dags.lock.yml. Parameters:
#   DAGS_SOURCE            the source's name in airflow_dag_sources
#   DAGS_SUBDIRECTORY      where in the repository its DAGs are; . for all of it
#   ACCEPTANCE_INVENTORY   in the platform's repository
#   PRODUCTION_INVENTORY   likewise
#   PLATFORM_BRANCH        the branch of the platform's repository that records what was deployed
#   PLATFORM_PUSH_URL      where that is pushed to
# Secrets, each the text itself or the path of a file with it:
#   DEPLOY_SSH_KEY         the key that opens the environment's hosts
#   DEPLOY_KNOWN_HOSTS     what ssh-keyscan says of these hosts and of the git server, compared by a person
#   DEPLOY_VAULT_PASSWORD  of the inventory's Ansible Vault; empty where there is none
#   PLATFORM_SSH_KEY       the key that may push to the platform's repository
set -euo pipefail

readonly WORK=$PWD/.airstack
readonly PLATFORM=$WORK/platform
readonly PROGRAM=deploy DEPLOYED="The DAGs are" ENVIRONMENT=${1:-}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=pipelines/shared/deployment.sh
. "$here/../shared/deployment.sh"

# The commit that a lock has of the source, or nothing. The files are always of the form that the collection writes.
locked_commit() {
  awk -v source="$DAGS_SOURCE" '
    /^ *sources:/ { column = match($0, /[^ ]/) + 2; next }
    column && match($0, /[^ ]/) == column { name = $1; gsub(/[\047":]/, "", name) }
    name == source && $1 == "commit:" { gsub(/[\047"]/, "", $2); print $2; exit }
  ' "$PLATFORM/$1"
}

# The name that git has for the DAGs of a commit: the same for the same content. Nothing where the commit is not here.
content_of() { git rev-parse --quiet --verify "$1:${DAGS_SUBDIRECTORY#.}" 2>/dev/null || true; }

# Production is what acceptance tried. Another commit may have got there between this pipeline's acceptance and its approval.
require_accepted() {
  local accepted
  [[ -f "$PLATFORM/$1" ]] || fail "there is no $1, so acceptance has deployed nothing; deploy to acceptance first."
  accepted=$(locked_commit "$1")
  [[ -n "$accepted" ]] || fail "$1 has no commit of $DAGS_SOURCE; deploy it to acceptance first."
  if [[ "$accepted" == "$commit" ]]; then return; fi
  if [[ -n "$(content_of "$commit")" && "$(content_of "$commit")" == "$(content_of "$accepted")" ]]; then return; fi
  fail "acceptance has the commit $accepted of $DAGS_SOURCE, and this pipeline is for $commit, whose DAGs are others or not" \
    "known here. Nothing was deployed. Use the pipeline of that commit, or deploy this one to acceptance first."
}

case $ENVIRONMENT in
acceptance) inventory=${ACCEPTANCE_INVENTORY:-} ;;
production) inventory=${PRODUCTION_INVENTORY:-} ;;
*) problems+=("'$ENVIRONMENT' is not an environment; it is acceptance or production") ;;
esac
need_parameters DAGS_SOURCE DAGS_SUBDIRECTORY ACCEPTANCE_INVENTORY PRODUCTION_INVENTORY PLATFORM_BRANCH PLATFORM_PUSH_URL
need_secrets DEPLOY_SSH_KEY DEPLOY_KNOWN_HOSTS PLATFORM_SSH_KEY
if [[ -n "${DAGS_SOURCE:-}" && ! "$DAGS_SOURCE" =~ ^[a-z][a-z0-9_]*$ ]]; then
  problems+=("DAGS_SOURCE is '$DAGS_SOURCE', which is no source's name: lower-case letters, digits and underscores")
fi
need_programs git ssh awk
if ! is_root_of_repository "$PWD"; then problems+=("$PWD is not the root of a git repository"); fi
if ! is_root_of_repository "$PLATFORM"; then
  problems+=("$PLATFORM is not the root of a git repository: check the platform's out there")
elif [[ -n "${inventory:-}" && ! -e "$PLATFORM/$inventory" ]]; then
  problems+=("the platform's repository has no $inventory")
fi
refuse_problems

echo '*' >"$WORK/.gitignore"
commit=$(git rev-parse HEAD)
if [[ "$ENVIRONMENT" == production ]]; then require_accepted "$(lock_of "$ACCEPTANCE_INVENTORY" dags.lock.yml)"; fi

take_secrets
require_push
prepare_ansible_for_hosts
say "$DAGS_SOURCE, commit $commit, to $ENVIRONMENT"
lock=$(lock_of "$inventory" dags.lock.yml)
message="$DAGS_SOURCE in $ENVIRONMENT: ${commit:0:12}"
arguments=(-i "$inventory" -e "airflow_dags_only=$DAGS_SOURCE")
if [[ "$ENVIRONMENT" == acceptance ]]; then
  play dags "${arguments[@]}" -e "{\"airflow_dags_versions\": {\"$DAGS_SOURCE\": \"$commit\"}}"
  record "$lock" "$message"
else
  play dags "${arguments[@]}"
  same=true
  play parity -e "airflow_parity_from=$(lock_of "$ACCEPTANCE_INVENTORY" dags.lock.yml)" -e "airflow_parity_to=$lock" \
    -e airflow_parity_required=true -e "airflow_dags_only=$DAGS_SOURCE" || same=false
  record "$lock" "$message"
  $same || fail "production does not hold what acceptance does, as the comparison above says."
fi
