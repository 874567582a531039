# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a lab's directory holds: SSH keys, and podman's settings for this machine."""

from __future__ import annotations

NETWORKS = "/etc/containers/networks"
"""Where root's podman keeps its networks, and looks for them when a person stops a container by hand: kept elsewhere, they
are not found then, and the container's address stays taken until the machine's next start."""

CAP_SYS_RESOURCE = 24
"""Bit of the capability that raises limits, from include/uapi/linux/capability.h."""

KEYS = ("ssh_key", "ssh_key.pub", "host_key", "host_key.pub", "known_hosts")
"""What the lab's directory holds beside containers.conf."""


def containers_conf(unified_cgroups: bool, may_raise_limits: bool, systemd: bool) -> str:
    """podman's settings for labs on this machine, so that those in /etc/containers need no change.

    unified_cgroups: the machine has cgroups v2 alone; with others crun refuses to start systemd.
    may_raise_limits: we have CAP_SYS_RESOURCE; without it podman's own default limits cannot be set.
    systemd: it is the machine's first process and can make the containers' cgroups.
    """
    containers = ['base_hosts_file = "none"', "pids_limit = 0"]
    if not may_raise_limits:
        containers.append('default_ulimits = ["nofile=8192:8192", "nproc=8192:8192"]')
    engine = []
    if not unified_cgroups:
        engine.append('runtime = "runc"')
    if not systemd:
        engine.append('cgroup_manager = "cgroupfs"')
    sections = (("containers", containers), ("engine", engine), ("network", ['network_backend = "netavark"']))
    return "\n".join("\n".join((f"[{name}]", *settings, "")) for name, settings in sections)
