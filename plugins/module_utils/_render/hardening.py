# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What systemd keeps from each kind of component (systemd.exec), by the unit file's own keys."""

from __future__ import annotations

COMMON = {
    "NoNewPrivileges": "yes",
    "CapabilityBoundingSet": "",
    "LockPersonality": "yes",
    "PrivateDevices": "yes",
    "PrivateTmp": "yes",
    "ProtectClock": "yes",
    "ProtectControlGroups": "yes",
    "ProtectHome": "yes",
    "ProtectHostname": "yes",
    "ProtectKernelLogs": "yes",
    "ProtectKernelModules": "yes",
    "ProtectKernelTunables": "yes",
    "ProtectProc": "invisible",
    "ProtectSystem": "strict",
    "RemoveIPC": "yes",
    "RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6",
    "RestrictNamespaces": "yes",
    "RestrictRealtime": "yes",
    "RestrictSUIDSGID": "yes",
    "SystemCallArchitectures": "native",
    "SystemCallFilter": "@system-service",
    "SystemCallErrorNumber": "EPERM",
    "UMask": "0027",
}

OF_KIND = {
    "worker": {
        # A task's supervisor forbids that its memory is read (PR_SET_DUMPABLE), which a task inherits: where processes are
        # hidden, it would not find the task that it has just started.
        "ProtectProc": "default",
        # Tasks are anybody's programs: they may ask the kernel for interfaces and routes, as Java and iproute2 do.
        "RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6 AF_NETLINK",
    },
}


def of(kind: str) -> dict[str, str]:
    """The hardening of one kind of component."""
    return {**COMMON, **OF_KIND.get(kind, {})}
