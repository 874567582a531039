#!/usr/bin/env bash
# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

# What the scripts of pipelines share that deploy: they source it. They set before:
#   PROGRAM      the script's name, for messages
#   DEPLOYED     what a playbook has deployed, such as "The DAGs are"
#   WORK         a directory that git ignores
#   PLATFORM     where the platform's repository is checked out
#   ENVIRONMENT  acceptance or production
# Parameters:
#   PLATFORM_BRANCH        the branch of the platform's repository that records what was deployed
#   PLATFORM_PUSH_URL      where that is pushed to
# Secrets, each the text itself or the path of a file with it:
#   DEPLOY_SSH_KEY         the key that opens the environment's hosts
#   DEPLOY_KNOWN_HOSTS     what ssh-keyscan says of these hosts and of the git server, compared by a person
#   DEPLOY_VAULT_PASSWORD  of the inventory's Ansible Vault; empty where there is none
#   PLATFORM_SSH_KEY       the key that may push to the platform's repository

readonly PUSHES=5
shared=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
collection=$(cd "$shared/../.." && pwd)
problems=()

say() { printf '%s: %s\n' "$PROGRAM" "$*"; }

fail() {
  say "$@" >&2
  exit 1
}

# need_parameters NAME..., need_secrets NAME..., need_programs NAME...: notes what is missing as a problem.
need_parameters() {
  local name
  for name in "$@"; do
    if [[ -z "${!name:-}" ]]; then problems+=("the parameter $name is not given"); fi
  done
}

need_secrets() {
  local name
  for name in "$@"; do
    if [[ -z "${!name:-}" ]]; then problems+=("the secret $name is not given"); fi
  done
}

need_programs() {
  local name
  for name in "$@"; do
    if ! command -v "$name" >/dev/null; then problems+=("the runner has no program $name"); fi
  done
}

# Says all problems at once, and ends where there is one.
refuse_problems() {
  local problem
  for problem in "${problems[@]}"; do say "$problem" >&2; done
  if ((${#problems[@]})); then exit 1; fi
}

# is_root_of_repository DIRECTORY
is_root_of_repository() {
  [[ -d "$1" && "$(git -C "$1" rev-parse --show-toplevel 2>/dev/null)" == "$(cd "$1" && pwd -P)" ]]
}

# lock_of INVENTORY FILE: where an inventory's lock lies: beside it.
lock_of() { if [[ -d "$PLATFORM/$1" ]]; then echo "$1/$2"; else echo "$(dirname "$1")/$2"; fi; }

# write_secret NAME FILE: writes what the variable holds, or the file that it names, for this user alone.
write_secret() {
  (
    umask 077
    if [[ -f "${!1}" ]]; then cat "${!1}"; else printf '%s\n' "${!1}"; fi | tr -d '\r' >"$2"
  )
}

# Puts the secrets into files that go with this script, and takes them out of the environment.
take_secrets() {
  secrets=$(mktemp -d)
  trap 'rm -rf "$secrets"' EXIT
  write_secret DEPLOY_SSH_KEY "$secrets/hosts_key"
  write_secret DEPLOY_KNOWN_HOSTS "$secrets/known_hosts"
  write_secret PLATFORM_SSH_KEY "$secrets/platform_key"
  if [[ -n "${DEPLOY_VAULT_PASSWORD:-}" ]]; then write_secret DEPLOY_VAULT_PASSWORD "$secrets/vault"; fi
  unset DEPLOY_SSH_KEY DEPLOY_KNOWN_HOSTS PLATFORM_SSH_KEY DEPLOY_VAULT_PASSWORD
}

install_ansible() {
  local uv requirements=$collection/requirements/controller.txt
  if [[ ! -f "$requirements" ]]; then
    command -v ansible-playbook >/dev/null || fail "there is neither ansible-playbook nor $requirements to install it from."
    return
  fi
  uv=$("$shared/uv.sh" "$WORK/uv")
  export UV_NO_CONFIG=1 UV_CACHE_DIR=$WORK/uv-cache
  "$uv" venv --quiet --clear --no-project --python '>=3.12' "$WORK/ansible"
  "$uv" pip install --quiet --python "$WORK/ansible" --requirement "$requirements"
  export PATH=$WORK/ansible/bin:$PATH
}

# Ansible with the collection that this script is part of, and the platform's own settings.
prepare_ansible() {
  install_ansible
  mkdir -p "$WORK/collections/ansible_collections/airstack"
  ln -sfn "$collection" "$WORK/collections/ansible_collections/airstack/backbone"
  export ANSIBLE_COLLECTIONS_PATH=$WORK/collections:$PLATFORM/collections
  export ANSIBLE_INJECT_FACT_VARS=false
  if [[ -f "$PLATFORM/ansible.cfg" ]]; then export ANSIBLE_CONFIG=$PLATFORM/ansible.cfg; fi
}

# Ansible with the keys that were given, too.
prepare_ansible_for_hosts() {
  prepare_ansible
  export ANSIBLE_HOST_KEY_CHECKING=true
  export ANSIBLE_PRIVATE_KEY_FILE=$secrets/hosts_key
  export ANSIBLE_SSH_COMMON_ARGS="-o IdentitiesOnly=yes -o UserKnownHostsFile=$secrets/known_hosts"
  export ANSIBLE_SSH_CONTROL_PATH_DIR=$secrets/cp
  if [[ -s "$secrets/vault" ]]; then export ANSIBLE_VAULT_PASSWORD_FILE=$secrets/vault; fi
}

play() { (cd "$PLATFORM" && ansible-playbook "airstack.backbone.$1" "${@:2}"); }

# Git for the platform's repository: no hooks and no settings of this machine's, but the key.
platform_git() {
  GIT_SSH_COMMAND="ssh -i '$secrets/platform_key' -o IdentitiesOnly=yes -o BatchMode=yes -o StrictHostKeyChecking=yes \
-o UserKnownHostsFile='$secrets/known_hosts'" git -C "$PLATFORM" -c core.hooksPath=/dev/null -c commit.gpgSign=false "$@"
}

# Nothing that could not be recorded is deployed. Nobody has a ref of this name, so it is never behind another one.
require_push() {
  platform_git push --quiet --dry-run "$PLATFORM_PUSH_URL" HEAD:refs/airstack/none ||
    fail "$PLATFORM_PUSH_URL cannot be pushed to, for the reason above, so nothing was deployed."
}

# record LOCK MESSAGE: commits and pushes it, after the commits of those who were faster.
record() {
  local attempt identity=${GIT_AUTHOR_NAME:-airstack.backbone}
  export GIT_AUTHOR_NAME=$identity GIT_AUTHOR_EMAIL=${GIT_AUTHOR_EMAIL:-backbone@localhost}
  export GIT_COMMITTER_NAME=$GIT_AUTHOR_NAME GIT_COMMITTER_EMAIL=$GIT_AUTHOR_EMAIL
  [[ -f "$PLATFORM/$1" ]] || fail "the playbook wrote no $1, so nothing can be recorded."
  platform_git add -- "$1"
  if platform_git diff --cached --quiet -- "$1"; then
    say "$ENVIRONMENT has had this already; $1 is unchanged."
    return
  fi
  platform_git commit --quiet --message "$2" -- "$1"
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
      fail "$1 changed in the same place meanwhile. $DEPLOYED deployed and not recorded: run this job again, which" \
        "deploys nothing twice and records it."
    fi
  done
  fail "$1 cannot be pushed to $PLATFORM_PUSH_URL, for the reason above. $DEPLOYED deployed and not recorded: run this" \
    "job again when that is mended."
}
