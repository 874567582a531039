# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A question to a registry over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from email.message import Message
from urllib.error import HTTPError

from ansible.module_utils.urls import open_url

from ansible_collections.airstack.backbone.plugins.module_utils._core.errors import CoreError
from ansible_collections.airstack.backbone.plugins.module_utils._core.registry import Answer

_SECONDS = 30


def ask(url: str, headers: Mapping[str, str]) -> Answer:
    """What a server answers, whatever it is.

    :raises CoreError: none does
    """
    try:
        with open_url(url, headers=dict(headers), timeout=_SECONDS) as response:
            return Answer(response.status, _lower(response.headers), response.read())
    except HTTPError as error:
        return Answer(error.code, _lower(error.headers), error.read())
    except Exception as error:  # of many kinds, none of which is a mistake of ours
        raise CoreError(
            f"{url} cannot be asked: {error}. Start the registry, name another one in airflow_core_image, or set"
            " airflow_core_registry_tls to false for one without TLS."
        ) from error


def _lower(headers: Message) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
