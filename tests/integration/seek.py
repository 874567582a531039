# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Looks for secrets on a machine: in all processes' arguments and environments, and in the files and journal it is told.

A program for the Python of the machine (3.9): ``python3 -c "$(cat seek.py)" [PATH|journal]...``, with the secrets as JSON
on standard input. Answers with JSON: the titles of the processes seen, and [place, name of the secret] of each find.
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import re
import subprocess
import sys
import urllib.parse


def main() -> None:
    secrets = json.load(sys.stdin)
    names = {
        form.encode(): name for name, value in secrets.items() for form in (value, urllib.parse.quote(value, safe=""))
    }
    pattern = re.compile(b"|".join(re.escape(form) for form in sorted(names, key=len, reverse=True)))
    found: set[tuple[str, str]] = set()
    titles: set[str] = set()

    def look(place: str, content: bytes) -> None:
        found.update((place, names[match]) for match in pattern.findall(content))

    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            arguments = (process / "cmdline").read_bytes()
            title = arguments.replace(b"\0", b" ").decode(errors="replace")[:80].strip()
            look(f"arguments of {title.split(' ')[0]}", arguments)
            look(f"environment of {title}", (process / "environ").read_bytes())
        except OSError:
            continue
        titles.add(title)
    for place in sys.argv[1:]:
        if place == "journal":
            command = ["journalctl", "--no-pager", "--output=cat"]
            look(place, subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
        else:
            for file in pathlib.Path(place).rglob("*"):
                # One may go meanwhile.
                with contextlib.suppress(FileNotFoundError):
                    if file.is_file():
                        look(str(file), file.read_bytes())
    json.dump({"titles": sorted(titles), "found": sorted(found)}, sys.stdout)


main()
