#!/bin/sh
# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

# Runs PostgreSQL in a pod, on its volume: the image's newest release, with the configuration beside this file. The roles and the
# database are brought to what they shall be at each start, before anybody can connect.
set -eu
for programs in /usr/lib/postgresql/*/bin; do
  PATH=$programs:$PATH
done
readonly files=/etc/airstack
readonly data=/var/lib/airstack/postgresql
# One that was killed recovers first; what looks whether it takes connections is as patient.
export PGHOST=/tmp PGUSER=postgres PGDATABASE=postgres PGCTLTIMEOUT=280

release=$(postgres --version | sed 's/^[^0-9]*\([0-9]*\).*/\1/')
if [ "$release" -lt "$OLDEST_RELEASE" ]; then
  echo "The image has PostgreSQL $release. Needed is $OLDEST_RELEASE or newer: name another one in airflow_database_kubernetes.image." >&2
  exit 1
fi

if [ -e "$data" ]; then
  found=$(cat "$data/PG_VERSION")
  if [ "$found" != "$release" ]; then
    echo "The volume has the data of PostgreSQL $found, and the image has $release: take an image of $found, or begin with an empty volume." >&2
    exit 1
  fi
  # A cluster may have given its group a right to the volume, which PostgreSQL does not take.
  chmod 0700 "$data"
  # Of one that was killed. A claim has one pod.
  rm -f "$data/postmaster.pid"
else
  # What was cut short begins anew.
  rm -rf "$data.new"
  # shellcheck disable=SC2086 # several options
  initdb --pgdata "$data.new" --username "$PGUSER" $INITDB_OPTIONS
  mv "$data.new" "$data"
fi

set -- -c "config_file=$files/postgresql.conf" -c "hba_file=$files/pg_hba.conf" -c "ident_file=$files/pg_ident.conf" \
  -c "unix_socket_directories=$PGHOST"

pg_ctl --pgdata "$data" --wait --silent --options "$* -c listen_addresses=" start
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --file /run/secrets/airstack/roles.sql
pg_ctl --pgdata "$data" --wait --silent --mode fast stop

postgres -D "$data" "$@" &
server=$!
# TERM would have it wait until all clients have gone.
trap 'kill -INT "$server"' TERM INT
code=0
wait "$server" || code=$?
while kill -0 "$server" 2>/dev/null; do
  code=0
  wait "$server" || code=$?
done
exit "$code"
