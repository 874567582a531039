# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A role's public variables stand in its defaults, its argument_specs and its README alike."""

from __future__ import annotations

import pathlib
import re
import typing as t

import pytest
import yaml

ROLES = sorted(path.parent.parent for path in pathlib.Path(__file__).parents[2].glob("roles/*/meta/main.yml"))

_HEADING = re.compile(r"^(#+)\s+(.*)$")
# A row of a table, an item of a list or a heading that begins with a variable's name
_VARIABLE = re.compile(r"^\s*(?:\||[-*]|#+)\s*`(\w+)`")


def load(path: pathlib.Path) -> dict[str, t.Any]:
    """A YAML file's dictionary, with Ansible's own tags (!vault, !unsafe) as plain text; {} where there is no file."""

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_multi_constructor("!", lambda loader, _suffix, node: loader.construct_scalar(node))
    return (yaml.load(path.read_text(encoding="utf-8"), Loader) if path.is_file() else None) or {}


def specified(role: pathlib.Path) -> dict[str, dict[str, t.Any]]:
    """The options of all entry points; required where every entry point that has one requires it."""
    options: dict[str, dict[str, t.Any]] = {}
    for entry_point in load(role / "meta" / "argument_specs.yml").get("argument_specs", {}).values():
        for name, option in (entry_point.get("options") or {}).items():
            known = options.get(name, option)
            required = bool(known.get("required")) and bool(option.get("required"))
            options[name] = {**option, **known, "required": required}
    return options


def documented(readme: str) -> set[str]:
    """The names that begin a row, an item or a heading of README's sections on variables, outside code blocks."""
    names = set()
    section_level = 0
    in_code = False
    for line in readme.splitlines():
        if line.lstrip().startswith("```"):
            in_code = not in_code
        if in_code:
            continue
        heading = _HEADING.match(line)
        if heading and (not section_level or len(heading[1]) <= section_level):
            section_level = len(heading[1]) if "variable" in heading[2].lower() else 0
        variable = _VARIABLE.match(line)
        if section_level and variable:
            names.add(variable[1])
    return names


@pytest.fixture(name="role", params=ROLES, ids=lambda role: role.name)
def each_role(request: pytest.FixtureRequest) -> pathlib.Path:
    return t.cast("pathlib.Path", request.param)


def test_there_are_roles() -> None:
    assert ROLES


def test_defaults_hold_what_is_specified_and_not_required(role: pathlib.Path) -> None:
    optional = {name for name, option in specified(role).items() if not option["required"]}
    assert set(load(role / "defaults" / "main.yml")) == optional


def test_readme_documents_what_is_specified(role: pathlib.Path) -> None:
    assert documented((role / "README.md").read_text(encoding="utf-8")) == set(specified(role))


def test_specified_defaults_are_the_real_ones(role: pathlib.Path) -> None:
    defaults = load(role / "defaults" / "main.yml")
    stated = {name: option["default"] for name, option in specified(role).items() if "default" in option}
    assert stated == {name: defaults.get(name) for name in stated}


def test_every_option_is_described_and_typed(role: pathlib.Path) -> None:
    lacking: list[str] = []

    def walk(path: str, options: dict[str, dict[str, t.Any]]) -> None:
        for name, option in options.items():
            if not {"description", "type"} <= set(option):
                lacking.append(f"{path}{name}")
            walk(f"{path}{name}.", option.get("options") or {})

    walk("", specified(role))
    assert not lacking


def test_documented_reads_only_the_sections_on_variables() -> None:
    readme = """
# airflow_x
- `airflow_x_elsewhere` is no documentation
## Variables
| Variable | Default |
|---|---|
| `airflow_x_one` | 1, see `airflow_x_mentioned` |
### `airflow_x_two`
- `airflow_x_three`: text
```yaml
- `airflow_x_in_code`
```
## Endpoint
| `airflow_x_endpoint` | |
"""
    assert documented(readme) == {"airflow_x_one", "airflow_x_two", "airflow_x_three"}


def test_what_e_gives_as_text_counts_as_what_it_says(role: pathlib.Path) -> None:
    """`-e name=false` is the text "false", which is true, and `-e name=100` is no number."""
    kinds = {name: option.get("type") for name, option in specified(role).items()}
    files = [path for folder in ("tasks", "vars", "handlers") for path in role.glob(f"{folder}/*.yml")]
    used = [
        (path.name, line.strip(), name)
        for path in files
        for line in path.read_text(encoding="utf-8").splitlines()
        for name, kind in kinds.items()
        if (kind == "bool" and re.search(rf"(when:.*|if |and |or |not )\b{name}\b(?! \| bool)", line))
        or (kind == "int" and re.search(rf"\b{name} [-+*/]", line))
    ]
    assert used == []
