#!/bin/sh
# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

# Runs RabbitMQ in a pod, on its volume, with the configuration beside this file.
set -eu
PATH=/opt/rabbitmq/sbin:/usr/lib/rabbitmq/bin:$PATH

# By this the programs in the pod know each other. Each of them would make one where there is none, and not the same.
cookie=$HOME/.erlang.cookie
if [ ! -s "$cookie" ]; then
  umask 077
  od -An -N16 -tx1 /dev/urandom | tr -d ' \n' >"$cookie"
  chmod 0400 "$cookie"
  umask 022
fi

exec rabbitmq-server
