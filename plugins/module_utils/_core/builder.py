# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The program that builds images, on this host."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.airstack.backbone.plugins.module_utils._core import images
from ansible_collections.airstack.backbone.plugins.module_utils._core.uv import run

BUILDERS = ("podman", "docker")

_VERSION = {"podman": "{{.Client.Version}}", "docker": "{{.Server.Version}}"}
"""Docker's client is nothing without its server."""

_ENVIRONMENT = {"BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}
"""Without it, what Docker pushes is no image but a list of one and of a note on how it was made, with the time."""


class Builder:
    """A builder. Public attributes `name`, and `path`: where it is; None where the host has none of that name."""

    def __init__(self, module: AnsibleModule, name: str) -> None:
        self.name = name
        self.path: str | None = module.get_bin_path(name)
        self._module = module

    def version(self) -> str:
        """Its version.

        :raises CoreError: it does not run
        """
        return self.run("tell its version", "version", "--format", _VERSION[self.name]).strip()

    def image(self, name: str) -> images.Image | None:
        """An image of this host; None where there is none of this name."""
        code, out, _err = self._module.run_command([str(self.path), "image", "inspect", name])
        return images.inspected(out) if code == 0 else None

    def newest(self, repository: str) -> list[str]:
        """The names of the images of the core that a repository has on this host, the newest first."""
        out = self.run(
            "list its images",
            *("image", "ls", "--filter", f"label={images.INPUTS}", "--filter", f"reference={repository}"),
            *("--format", "{{.Repository}}:{{.Tag}}"),
        )
        return list(images.names(out))

    def run(self, purpose: str, *arguments: str, stdin: str | None = None) -> str:
        """What the builder printed.

        :raises CoreError: it failed
        """
        return run(self._module, purpose, [str(self.path), *arguments], _ENVIRONMENT, stdin)
