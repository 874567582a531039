#!/usr/bin/env bash
# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

# changed.sh: at the root of the platform's repository, prints true where the commit that is checked out is anything but records of
# what was deployed after the commit that acceptance's core is of, else false. Parameters:
#   ACCEPTANCE_INVENTORY   in the platform's repository
set -euo pipefail

readonly PROGRAM=changed WORK=$PWD/.airstack PLATFORM=$PWD
# shellcheck source=pipelines/core/playing.sh
. "$(dirname "${BASH_SOURCE[0]}")/playing.sh"

require_acceptance
if is_deployed HEAD; then echo false; else echo true; fi
