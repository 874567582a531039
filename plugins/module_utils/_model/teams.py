# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Airflow's own teams (AIP-67, experimental in Airflow 3.3), out of the sources, queues and pools that tasks are routed by.

Pools that share a queue or a source, directly or through others, are one team with all of their sources: their tasks may
run beside each other, and a DAG bundle of Airflow's is one team's. A pool may say its team, which joins it with the others
that say the same; else the team has the name of its first pool.

Airflow reads a team's settings from sections and variables of their own, and falls back to no common ones: what is set for
all has to be said again for each team.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .description import Description, Pool
from .problems import Problem
from .routing import Routing

FEWEST = 3
"""Characters of a team's name (Airflow, cli/commands/team_command.py)."""

EXECUTOR = "CeleryExecutor"

AUTH_MANAGER = "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager"
"""The only one that Airflow brings and that knows teams; FAB's (3.10.2) ends the API server with multi_team."""

PASSWORDS = "simple_auth_manager_passwords"
"""The credential that holds the passwords of its users."""

OWN_SECTIONS = ("celery", "operators")
"""How the sections begin that a Celery executor and a worker read for their team."""

OWN_LOGGING = ("celery_logging_level", "json_logs", "logging_level")
"""What a worker reads for its team of the section logging (apache-airflow-providers-celery, celery_command.py)."""

CELERY = "AIRFLOW__CELERY__"
"""How the variables begin that do so."""


@dataclass(frozen=True)
class Team:
    """A team: its pools in the description's order, and the sources that these read."""

    name: str
    pools: tuple[str, ...]
    sources: tuple[str, ...]


def of(described: Description, routing: Routing) -> list[Team]:
    """The teams in the order of their first pools; none where Airflow shall not know of any."""
    if not described.multi_team:
        return []
    named: dict[str, list[Pool]] = {}
    for pools in _joined(described.worker_pools, routing):
        named.setdefault(_name(pools), []).extend(pools)
    return [
        Team(
            name,
            tuple(pool.name for pool in pools),
            tuple(sorted({source for pool in pools for source in routing.sources_of(pool)})),
        )
        for name, pools in named.items()
    ]


def users(described: Description) -> list[dict[str, Any]]:
    """Who may log in: name, role, teams (an admin needs none) and the name of the password among the secrets.

    None where FAB keeps the users, whose first one setup makes.
    """
    if not described.multi_team:
        return []
    admin = {"name": described.admin_user, "role": "admin", "teams": [], "secret": "admin"}
    return [
        admin,
        *(
            {"name": user.name, "role": user.role, "teams": list(user.teams), "secret": f"user_{user.name}"}
            for user in described.team_users
        ),
    ]


def problems(described: Description, routing: Routing, sections: Sequence[str]) -> list[Problem]:
    """What keeps the description from having teams.

    sections: Airflow's own, as far as they are known. A team's variable would read as a key of one that has its name, which
    Airflow (3.3.2, getsection) fails at.
    """
    if not described.multi_team:
        names = [user.name for user in described.team_users]
        return [Problem("airflow_team_users", names, _WITHOUT_TEAMS)] if names else []
    groups = _joined(described.worker_pools, routing)
    at = {pool.name: f"airflow_worker_pools[{index}]" for index, pool in enumerate(described.worker_pools)}
    return [
        *(problem for pools in groups for problem in _of_group(pools, at, sections)),
        *_of_users(described, {_name(pools) for pools in groups}),
    ]


_WITHOUT_TEAMS = "left out: they go with airflow_multi_team: true; without it users are made in the UI"


def _of_group(pools: Sequence[Pool], at: Mapping[str, str], sections: Sequence[str]) -> Iterator[Problem]:
    saying = [pool for pool in pools if pool.team]
    for pool in saying[1:]:
        if pool.team != saying[0].team:
            first = saying[0]
            right = f"{first.team}, as {at[first.name]} ({first.name}) says: their tasks share a source or a queue"
            yield Problem(f"{at[pool.name]}.team", pool.team, right)
    name, where = _name(pools), f"{at[(saying or pools)[0].name]}.{'team' if saying else 'name'}"
    if not saying and len(name) < FEWEST:
        right = f"a name of {FEWEST} characters or more, as Airflow's teams have, or one with a team beside it"
        yield Problem(where, name, f"{right} (team: {name}_team)")
    elif name in sections:
        right = f"another one: {name} is a section of Airflow's configuration"
        yield Problem(where, name, right if saying else f"{right}; or a team beside it (team: {name}_team)")


def _of_users(described: Description, known: set[str]) -> Iterator[Problem]:
    for index, user in enumerate(described.team_users):
        where = f"airflow_team_users[{index}]"
        if user.name == described.admin_user:
            yield Problem(f"{where}.name", user.name, "another one: airflow_admin_user has it")
        for number, team in enumerate(user.teams):
            if team not in known:
                yield Problem(f"{where}.teams[{number}]", team, "a team: " + ", ".join(sorted(known)))


def _name(pools: Sequence[Pool]) -> str:
    return next((pool.team for pool in pools if pool.team), pools[0].name)


def _joined(pools: Sequence[Pool], routing: Routing) -> list[list[Pool]]:
    """The pools in groups that share nothing with each other, all in the description's order."""
    groups: list[tuple[set[tuple[str, str]], list[Pool]]] = []
    for pool in pools:
        ties = {("queue", queue) for queue in pool.queues} | {("source", name) for name in routing.sources_of(pool)}
        if pool.team:
            ties.add(("team", pool.team))
        near = [group for group in groups if group[0] & ties]
        rest = [group for group in groups if not group[0] & ties]
        members = [member for _ties, others in near for member in others]
        groups = [*rest, (ties.union(*(others for others, _members in near)), [*members, pool])]
    order = {pool.name: index for index, pool in enumerate(pools)}
    sorted_groups = [sorted(members, key=lambda pool: order[pool.name]) for _ties, members in groups]
    return sorted(sorted_groups, key=lambda members: order[members[0].name])


def served(kind: str, team: str | None, plan: Mapping[str, Any]) -> list[str]:
    """The teams that a component has a Celery application for: a scheduler for all of them, a worker for its own."""
    if kind == "scheduler":
        return [each["name"] for each in plan["teams"]]
    return [team] if kind == "worker" and team else []


def executors(names: Sequence[str]) -> str:
    """[core] executor: the common one, which Airflow wants first, then one of each team's."""
    return ";".join([EXECUTOR, *(f"{name}={EXECUTOR}" for name in names)])


def common(plan: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """What every component of a platform with teams is told."""
    return {"core": {"multi_team": "True", "auth_manager": AUTH_MANAGER}} if plan["teams"] else {}


def log_in(plan: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """What the API server is told of its users, their passwords apart."""
    if not plan["teams"]:
        return {}
    listed = [":".join([user["name"], user["role"], *_listed(user["teams"])]) for user in plan["api"]["users"]]
    return {"core": {"simple_auth_manager_users": ",".join(listed), "simple_auth_manager_all_admins": "False"}}


def _listed(names: Sequence[str]) -> list[str]:
    return ["|".join(names)] if names else []


def repeated(settings: Mapping[str, Mapping[str, str]], names: Sequence[str]) -> dict[str, dict[str, str]]:
    """The settings that Airflow reads for a team, said again for each in a section of its own."""
    own = {section: dict(keys) for section, keys in settings.items() if section.startswith(OWN_SECTIONS)}
    logging = {key: value for key, value in settings.get("logging", {}).items() if key in OWN_LOGGING}
    if logging:
        own["logging"] = logging
    return {f"{name}={section}": dict(keys) for name in names for section, keys in own.items()}


def connect(component: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The component with what it needs to reach the broker on behalf of teams, secrets by a command that prints them.

    A team's commands Airflow takes from the environment alone.
    """
    secrets = [
        (key, credential)
        for setting, credential in component["secret_settings"].items()
        for section, _dot, key in [setting.partition(".")]
        if section == "celery"
    ]
    files = {name: source for name, source in component["environment_files"].items() if name.startswith(CELERY)}
    return {
        **component,
        "secret_commands": {f"{_variable(team, key)}_CMD": credential for team in names for key, credential in secrets},
        "environment_files": {
            **component["environment_files"],
            **{_variable(team, name.removeprefix(CELERY)): source for team in names for name, source in files.items()},
        },
    }


def _variable(team: str, key: str) -> str:
    """The variable of a team's Celery setting."""
    return f"AIRFLOW__{team.upper()}___CELERY__{key.upper()}"
