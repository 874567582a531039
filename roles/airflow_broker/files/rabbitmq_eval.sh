#!/bin/sh
# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

# rabbitmq_eval.sh FILE: waits until RabbitMQ has started in this pod, and has it evaluate the expression in a file beside this one.
set -eu
PATH=/opt/rabbitmq/sbin:/usr/lib/rabbitmq/bin:$PATH
attempts=30

# A file that is there may be of the container before.
until [ -s "$RABBITMQ_PID_FILE" ] && rabbitmqctl --silent --timeout 120 wait "$RABBITMQ_PID_FILE" >&2; do
  attempts=$((attempts - 1))
  if [ "$attempts" -eq 0 ]; then
    echo "RabbitMQ did not start." >&2
    exit 1
  fi
  sleep 2
done

exec timeout "$ANSWER_SECONDS" rabbitmqctl --silent eval "$(cat "/etc/airstack/$1")"
