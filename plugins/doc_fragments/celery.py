# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The options with which a module reaches Celery's workers."""

from __future__ import annotations


class ModuleDocFragment:
    """For modules that use airstack.backbone's module_utils/_celery.py."""

    DOCUMENTATION = r"""
options:
  broker_url:
    description:
      - The broker as Celery reads it, such as V(amqp://user:password@host:5672/vhost) or V(redis://:password@host:6379/0).
      - The user needs the scheduler's rights, to send remote control commands and to count the queues' messages.
      - Either this or O(broker_url_file) is required.
    type: str
  broker_url_file:
    description:
      - A file on the target that holds the URL, as the roles write it for the scheduler.
      - No part of it is printed.
    type: path
  control_exchange:
    description:
      - Celery's setting of this name, as whoever may command all workers has it.
      - The pools' own exchanges of airstack.backbone are bound to the default.
    type: str
    default: celery
  transport_options:
    description:
      - Celery's C(broker_transport_options), such as V(master_name) of a Redis Sentinel.
      - A Redis is used as airstack.backbone's scheduler does, with C(priority_steps) V([0]) and keys whose names begin with
        C(scheduler.), unless these say otherwise. Sentinels are logged in to as the servers behind them are.
    type: dict
    default: {}
  validate_certs:
    description: Whether the certificate of a broker with TLS is verified, and whether it names the broker's address.
    type: bool
    default: true
  ca_path:
    description: A file with the certificates of the authorities to trust, where the system's own do not do.
    type: path
  tls:
    description: Whether a V(sentinel) URL stands for TLS, to the Sentinels and to the servers. V(amqps) and V(rediss) say it.
    type: bool
    default: false
  expected_workers:
    description:
      - Names of workers that must answer, as Celery knows them, V(etl@host1).
      - Where the broker counts consumers, as RabbitMQ does, these alone are asked, which takes no longer than they need.
        Otherwise, and without any, all workers are asked and O(answer_timeout) is waited for.
    type: list
    elements: str
    default: []
  answer_timeout:
    description:
      - Seconds without an answer after which no further worker is waited for, where it is not known how many there are.
      - A worker that is busy with starting tasks may need more than the default, and one whose clock is more than this
        behind or ahead does not answer.
    type: float
    default: 1
  timeout:
    description: Seconds in which all has to be done.
    type: float
    default: 20
requirements:
  - celery in the Python that runs the module; on hosts of this collection that is the core's, so set
    C(ansible_python_interpreter) to V(/opt/airflow/core/current/bin/python)
  - redis in the same Python for a Redis broker
notes:
  - Clocks of this host and of the workers have to agree to less than O(answer_timeout), since a worker leaves a command
    alone that is older.
  - SQS has no remote control. Its URL is refused.
"""
