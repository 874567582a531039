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
readonly PUSHES=5
environment=${1:-}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
collection=$(cd "$here/../.." && pwd)
problems=()

say() { printf 'deploy: %s\n' "$*"; }

fail() {
  say "$@" >&2
  exit 1
}

# Where an inventory's lock lies: beside it.
lock_of() { if [[ -d "$PLATFORM/$1" ]]; then echo "$1/dags.lock.yml"; else echo "$(dirname "$1")/dags.lock.yml"; fi; }

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

# write_secret NAME FILE: writes what the variable holds, or the file that it names, for this user alone.
write_secret() {
  (
    umask 077
    if [[ -f "${!1}" ]]; then cat "${!1}"; else printf '%s\n' "${!1}"; fi | tr -d '\r' >"$2"
  )
}

install_ansible() {
  local uv requirements=$collection/requirements/controller.txt
  if [[ ! -f "$requirements" ]]; then
    command -v ansible-playbook >/dev/null || fail "there is neither ansible-playbook nor $requirements to install it from."
    return
  fi
  uv=$("$here/uv.sh" "$WORK/uv")
  export UV_NO_CONFIG=1 UV_CACHE_DIR=$WORK/uv-cache
  "$uv" venv --quiet --clear --no-project --python '>=3.12' "$WORK/ansible"
  "$uv" pip install --quiet --python "$WORK/ansible" --requirement "$requirements"
  export PATH=$WORK/ansible/bin:$PATH
}

# Ansible with the collection that this script is part of, the platform's own settings, and the keys that it was given.
prepare_ansible() {
  mkdir -p "$WORK/collections/ansible_collections/airstack"
  ln -sfn "$collection" "$WORK/collections/ansible_collections/airstack/backbone"
  export ANSIBLE_COLLECTIONS_PATH=$WORK/collections:$PLATFORM/collections
  export ANSIBLE_INJECT_FACT_VARS=false
  export ANSIBLE_HOST_KEY_CHECKING=true
  export ANSIBLE_PRIVATE_KEY_FILE=$secrets/hosts_key
  export ANSIBLE_SSH_COMMON_ARGS="-o IdentitiesOnly=yes -o UserKnownHostsFile=$secrets/known_hosts"
  export ANSIBLE_SSH_CONTROL_PATH_DIR=$secrets/cp
  if [[ -f "$PLATFORM/ansible.cfg" ]]; then export ANSIBLE_CONFIG=$PLATFORM/ansible.cfg; fi
  if [[ -s "$secrets/vault" ]]; then export ANSIBLE_VAULT_PASSWORD_FILE=$secrets/vault; fi
}

play() { (cd "$PLATFORM" && ansible-playbook "airstack.backbone.$1" "${@:2}"); }

# Git for the platform's repository: no hooks and no settings of this machine's, but the key.
platform_git() {
  GIT_SSH_COMMAND="ssh -i '$secrets/platform_key' -o IdentitiesOnly=yes -o BatchMode=yes -o StrictHostKeyChecking=yes \
-o UserKnownHostsFile='$secrets/known_hosts'" git -C "$PLATFORM" -c core.hooksPath=/dev/null -c commit.gpgSign=false "$@"
}

# record LOCK: commits and pushes it, after the commits of those who were faster.
record() {
  local attempt
  [[ -f "$PLATFORM/$1" ]] || fail "the playbook wrote no $1, so nothing can be recorded."
  platform_git add -- "$1"
  if platform_git diff --cached --quiet -- "$1"; then
    say "$environment has had this already; $1 is unchanged."
    return
  fi
  platform_git commit --quiet --message "$DAGS_SOURCE in $environment: ${commit:0:12}" -- "$1"
  for ((attempt = 1; attempt <= PUSHES; attempt++)); do
    if platform_git push --quiet "$PLATFORM_PUSH_URL" "HEAD:refs/heads/$PLATFORM_BRANCH"; then
      say "$1 is recorded in $PLATFORM_BRANCH."
      return
    fi
    platform_git fetch --quiet "$PLATFORM_PUSH_URL" "refs/heads/$PLATFORM_BRANCH" || break
    if platform_git merge-base --is-ancestor FETCH_HEAD HEAD; then break; fi
    say "somebody else pushed to $PLATFORM_BRANCH meanwhile; once more on top of that."
    if ! platform_git rebase --quiet FETCH_HEAD; then
      platform_git rebase --abort
      fail "$1 changed in the same place meanwhile. The DAGs are deployed and not recorded: run this job again, which" \
        "deploys nothing twice and records it."
    fi
  done
  fail "$1 cannot be pushed to $PLATFORM_PUSH_URL, for the reason above. The DAGs are deployed and not recorded: run this" \
    "job again when that is mended."
}

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

case $environment in
acceptance) inventory=${ACCEPTANCE_INVENTORY:-} ;;
production) inventory=${PRODUCTION_INVENTORY:-} ;;
*) problems+=("'$environment' is not an environment; it is acceptance or production") ;;
esac
for name in DAGS_SOURCE DAGS_SUBDIRECTORY ACCEPTANCE_INVENTORY PRODUCTION_INVENTORY PLATFORM_BRANCH PLATFORM_PUSH_URL; do
  if [[ -z "${!name:-}" ]]; then problems+=("the parameter $name is not given"); fi
done
for name in DEPLOY_SSH_KEY DEPLOY_KNOWN_HOSTS PLATFORM_SSH_KEY; do
  if [[ -z "${!name:-}" ]]; then problems+=("the secret $name is not given"); fi
done
if [[ -n "${DAGS_SOURCE:-}" && ! "$DAGS_SOURCE" =~ ^[a-z][a-z0-9_]*$ ]]; then
  problems+=("DAGS_SOURCE is '$DAGS_SOURCE', which is no source's name: lower-case letters, digits and underscores")
fi
for name in git ssh awk; do
  if ! command -v "$name" >/dev/null; then problems+=("the runner has no program $name"); fi
done
if [[ "$(git rev-parse --show-toplevel 2>/dev/null)" != "$(pwd -P)" ]]; then
  problems+=("$PWD is not the root of a git repository")
fi
if [[ "$(git -C "$PLATFORM" rev-parse --show-toplevel 2>/dev/null)" != "$(cd "$PLATFORM" 2>/dev/null && pwd -P)" ]]; then
  problems+=("$PLATFORM is not the root of a git repository: check the platform's out there")
elif [[ -n "${inventory:-}" && ! -e "$PLATFORM/$inventory" ]]; then
  problems+=("the platform's repository has no $inventory")
fi
if ((${#problems[@]})); then
  for problem in "${problems[@]}"; do say "$problem" >&2; done
  exit 1
fi

echo '*' >"$WORK/.gitignore"
commit=$(git rev-parse HEAD)
if [[ "$environment" == production ]]; then require_accepted "$(lock_of "$ACCEPTANCE_INVENTORY")"; fi

secrets=$(mktemp -d)
trap 'rm -rf "$secrets"' EXIT
write_secret DEPLOY_SSH_KEY "$secrets/hosts_key"
write_secret DEPLOY_KNOWN_HOSTS "$secrets/known_hosts"
write_secret PLATFORM_SSH_KEY "$secrets/platform_key"
if [[ -n "${DEPLOY_VAULT_PASSWORD:-}" ]]; then write_secret DEPLOY_VAULT_PASSWORD "$secrets/vault"; fi
unset DEPLOY_SSH_KEY DEPLOY_KNOWN_HOSTS PLATFORM_SSH_KEY DEPLOY_VAULT_PASSWORD
export GIT_AUTHOR_NAME=${GIT_AUTHOR_NAME:-airstack.backbone} GIT_AUTHOR_EMAIL=${GIT_AUTHOR_EMAIL:-backbone@localhost}
export GIT_COMMITTER_NAME=$GIT_AUTHOR_NAME GIT_COMMITTER_EMAIL=$GIT_AUTHOR_EMAIL

# Nothing that could not be recorded is deployed. Nobody has a ref of this name, so it is never behind another one.
platform_git push --quiet --dry-run "$PLATFORM_PUSH_URL" HEAD:refs/airstack/none ||
  fail "$PLATFORM_PUSH_URL cannot be pushed to, for the reason above, so nothing was deployed."

install_ansible
prepare_ansible
say "$DAGS_SOURCE, commit $commit, to $environment"
arguments=(-i "$inventory" -e "airflow_dags_only=$DAGS_SOURCE")
if [[ "$environment" == acceptance ]]; then
  play dags "${arguments[@]}" -e "{\"airflow_dags_versions\": {\"$DAGS_SOURCE\": \"$commit\"}}"
  record "$(lock_of "$inventory")"
else
  play dags "${arguments[@]}"
  same=true
  play parity -e "airflow_parity_from=$(lock_of "$ACCEPTANCE_INVENTORY")" -e "airflow_parity_to=$(lock_of "$inventory")" \
    -e airflow_parity_required=true -e "airflow_dags_only=$DAGS_SOURCE" || same=false
  record "$(lock_of "$inventory")"
  $same || fail "production does not hold what acceptance does, as the comparison above says."
fi
