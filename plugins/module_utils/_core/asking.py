# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A question to a registry over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

from ansible.module_utils.urls import open_url

from ansible_collections.airstack.backbone.plugins.module_utils._core.errors import CoreError, reason
from ansible_collections.airstack.backbone.plugins.module_utils._core.registry import Answer, Ask, Registry

ARGUMENTS: dict[str, dict[str, Any]] = {
    "tls": {"type": "bool", "default": True},
    "ca_path": {"type": "path"},
    "username": {"type": "str"},
    "password": {"type": "str", "no_log": True},
}
"""The options of a module that asks a registry."""

_SECONDS = 30


def registry(parameters: Mapping[str, Any]) -> Registry:
    """The registry that a module's options name.

    :raises CoreError: the authority's certificate is not there
    """
    ca = parameters["ca_path"]
    try:
        if ca:
            Path(ca).read_bytes()
    except OSError as error:
        raise CoreError(
            f"The certificate of the registry's authority is to be in {ca}, which cannot be read: {reason(error)}."
            " Put it there, or correct airflow_core_registry_ca."
        ) from None
    return Registry(_asker(ca), tls=parameters["tls"], username=parameters["username"], password=parameters["password"])


def _asker(ca: str | None) -> Ask:
    def ask(url: str, headers: Mapping[str, str]) -> Answer:
        try:
            with open_url(url, headers=dict(headers), timeout=_SECONDS, ca_path=ca) as response:
                return Answer(response.status, _lower(response.headers), response.read())
        except HTTPError as error:
            return Answer(error.code, _lower(error.headers), error.read())
        except Exception as error:  # of many kinds, none of which is a mistake of ours
            raise CoreError(
                f"{url} cannot be asked: {error}. Start the registry, name another one in airflow_core_image, set"
                " airflow_core_registry_tls to false for one without TLS, or name the certificate of its authority in"
                " airflow_core_registry_ca."
            ) from error

    return ask


def _lower(headers: Message) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
