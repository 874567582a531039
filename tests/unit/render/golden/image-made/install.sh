#!/bin/sh
# Rendered by Ansible (airstack.backbone).
# Installs the wheelhouse and nothing else: no index is asked, and nothing is compiled but bytecode.
set -eu
umask 022
export UV_OFFLINE=1 UV_NO_CONFIG=1 UV_NO_CACHE=1 UV_LINK_MODE=copy UV_NO_PROGRESS=1 UV_PYTHON_DOWNLOADS=never
# What uv notes of an installation has the time of the wheel's file in it.
export UV_NO_INSTALLER_METADATA=1
export PYTHONDONTWRITEBYTECODE=1
python=/opt/airflow/bin/python

/context/uv venv --quiet --no-project --python python3.11 /opt/airflow
/context/uv pip install --quiet --python "$python" --no-index --find-links /context/wheels --no-deps --require-hashes \
  --requirement /context/wheels/requirements.txt
/context/uv pip check --python "$python"

# Bytecode that is the same each time: one file after the other, sets in one order, and no time of a source in it. Who uses
# it does not look at the source, which cannot change. What does not compile are templates, and files for other Pythons.
PYTHONHASHSEED=0 "$python" -m compileall -qq --invalidation-mode unchecked-hash /opt/airflow/lib || true

# An image's history has a hash over the times, too.
find /opt/airflow -exec touch --no-dereference --date=@0 {} +
