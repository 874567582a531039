# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every filter, by the function that it is, which is imported when it is used.

Ansible imports all Python files of this directory, and compiles what they import, in each process that uses any filter
of the collection: once for a task and a host. So what is here imports nothing of the collection's.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from typing import Any

PLUGINS = "ansible_collections.airstack.backbone.plugins"

FILTERS = {
    "broker_certificate_problems": "module_utils._services.certificates:problems",
    "component_differences": "plugin_utils.filters.kubernetes:component_differences",
    "component_files": "plugin_utils.filters.components:component_files",
    "component_leftovers": "plugin_utils.filters.kubernetes:component_leftovers",
    "component_manifests": "plugin_utils.filters.kubernetes:component_manifests",
    "component_progress": "plugin_utils.filters.kubernetes:component_progress",
    "component_queue_files": "plugin_utils.filters.components:component_queue_files",
    "component_search": "plugin_utils.filters.kubernetes:component_search",
    "component_setup_files": "plugin_utils.filters.components:component_setup_files",
    "component_stack": "plugin_utils.filters.components:component_stack",
    "component_steps": "plugin_utils.filters.components:component_steps",
    "component_units": "plugin_utils.filters.components:component_units",
    "component_waits": "plugin_utils.filters.kubernetes:component_waits",
    "core_differing": "plugin_utils.filters.core:core_differing",
    "core_image_base": "plugin_utils.filters.core:core_image_base",
    "core_image_context": "plugin_utils.filters.core:core_image_context",
    "core_image_is_shared": "plugin_utils.filters.core:core_image_is_shared",
    "core_image_trial": "plugin_utils.filters.core:core_image_trial",
    "core_lock_problems": "plugin_utils.filters.core:core_lock_problems",
    "core_lock_promoted": "plugin_utils.filters.core:core_lock_promoted",
    "core_lock_refusals": "module_utils._core.deployed:refusals",
    "core_lock_text": "module_utils._core.deployed:text",
    "core_parity": "plugin_utils.filters.core:core_parity",
    "dag_volume": "plugin_utils.filters.kubernetes:dag_volume",
    "dags_differing": "plugin_utils.filters.dags_lock:dags_differing",
    "dags_follow_problems": "plugin_utils.filters.dags_lock:dags_follow_problems",
    "dags_gate_step": "plugin_utils.filters.kubernetes:dags_gate_step",
    "dags_lock_problems": "plugin_utils.filters.dags_lock:dags_lock_problems",
    "dags_lock_text": "plugin_utils.filters.dags_lock:dags_lock_text",
    "dags_not_deployed": "plugin_utils.filters.dags_lock:dags_not_deployed",
    "dags_parity": "plugin_utils.filters.dags_lock:dags_parity",
    "dags_to_gate": "module_utils._dags.wanted:new",
    "dags_to_roll_back": "module_utils._dags.wanted:to_roll_back",
    "dags_to_stage": "plugin_utils.filters.dags:dags_to_stage",
    "dags_to_switch": "module_utils._dags.wanted:staged",
    "host_demands": "plugin_utils.filters.plan:host_demands",
    "lab_hosts": "plugin_utils.filters.lab:lab_hosts",
    "log_store_policies": "module_utils._model.log_store:policies",
    "plan_text": "module_utils._model.explain:text",
    "postgresql_connections": "module_utils._services.postgresql:connections",
    "publisher_manifests": "plugin_utils.filters.kubernetes:publisher_manifests",
    "rabbitmq_external_state": "module_utils._services.rabbitmq:external",
    "rabbitmq_missing_copies": "module_utils._services.rabbitmq:missing_copies",
    "rabbitmq_state": "module_utils._services.rabbitmq:state",
    "rabbitmq_topology": "module_utils._services.rabbitmq:topology",
    "rabbitmq_users": "module_utils._services.rabbitmq:users",
    "redis_connections": "module_utils._services.redis:connections",
    "redis_external_state": "module_utils._services.redis:external",
    "redis_login": "plugin_utils.filters.redis:login",
    "redis_sentinel_users": "module_utils._services.redis:sentinel_acl",
    "redis_settings": "module_utils._services.redis:settings",
    "redis_state": "module_utils._services.redis:state",
    "redis_users": "module_utils._services.redis:acl",
    "scram_sha_256": "plugin_utils.filters.postgresql:scram_sha_256",
    "service_manifests": "plugin_utils.filters.kubernetes:service_manifests",
    "sqs_policies": "module_utils._services.sqs:policies",
    "sqs_queues": "module_utils._services.sqs:queues",
    "sqs_state": "plugin_utils.filters.sqs:sqs_state",
    "swarm_node_problems": "module_utils._swarm.nodes:problems",
    "units_in_state": "plugin_utils.filters.components:units_in_state",
    "worker_assignments": "plugin_utils.filters.components:worker_assignments",
}


def _filter(place: str) -> Callable[..., Any]:
    def filtered(*arguments: Any, **options: Any) -> Any:
        return pkgutil.resolve_name(f"{PLUGINS}.{place}")(*arguments, **options)

    return filtered


class FilterModule:
    """The collection's filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By their names, as roles and playbooks use them."""
        return {name: _filter(place) for name, place in FILTERS.items()}
