# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where people read the commit of a release: the template of the links that Airflow's UI shows at a run's version."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

COMMIT = "{commit}"

RELEASE_COMMIT = "{version!s:.12}"
"""A bundle's version is its release, <first 12 digits of the commit>-<tree>; Airflow fills it in with str.format.
`!s`: a version that Airflow keeps from before the bundle had versions is None, and formatting None fails the API's
whole answer with status 500."""

_LINKS = {
    "github.com": "https://github.com/{path}/commit/",
    "ssh.github.com": "https://github.com/{path}/commit/",
    "gitlab.com": "https://gitlab.com/{path}/-/commit/",
    "altssh.gitlab.com": "https://gitlab.com/{path}/-/commit/",
    "bitbucket.org": "https://bitbucket.org/{path}/commits/",
    "altssh.bitbucket.org": "https://bitbucket.org/{path}/commits/",
}
"""Pages of a commit by the host that git talks to; the vendors' SSH over port 443 has hosts of its own."""

_SCHEMES = ("https", "http", "ssh")
_SCP = re.compile(r"(?:[^@/:]+@)?(?P<host>[^@/:]+):(?!//)(?P<path>.+)")
_PATH = re.compile(r"[\w.~-]+(?:/[\w.~-]+)+", re.ASCII)
_NOT_IN_URLS = re.compile(r"[\x00-\x20\x7f]")


def view_url_template(repository: str | None, given: str | None) -> str | None:
    """The bundle's `view_url_template`, or None where there is no page to link to.

    repository: as git takes it. given: the user's own template with {commit}, which wins.
    Without one, github.com, gitlab.com and bitbucket.org are known.

    :raises ValueError: what is wrong with the user's template
    """
    if given is not None:
        return _checked(given).replace(COMMIT, RELEASE_COMMIT)
    return _derived(repository) if repository else None


def _checked(given: str) -> str:
    if _NOT_IN_URLS.search(given) or not re.match(r"https?://[^/]", given):
        raise ValueError("Airflow shows only links that begin with http:// or https:// and contain no blanks")
    if COMMIT not in given:
        raise ValueError(f"it does not say where the commit goes: write {COMMIT} there")
    if re.search("[{}]", given.replace(COMMIT, "")):
        raise ValueError(f"{COMMIT} is the only thing in braces that is filled in; write %7B and %7D for braces")
    return given


def _derived(repository: str) -> str | None:
    host, path = _place(repository)
    path = path.strip("/").removesuffix(".git")
    link = _LINKS.get(host.lower())
    return link.format(path=path) + RELEASE_COMMIT if link and _PATH.fullmatch(path) else None


def _place(repository: str) -> tuple[str, str]:
    """Host and path of an address, without users, passwords and ports."""
    scp = _SCP.fullmatch(repository)
    if scp:
        return scp["host"], scp["path"]
    try:
        url = urlsplit(repository)
    except ValueError:
        return "", ""
    return (url.hostname or "", url.path) if url.scheme in _SCHEMES else ("", "")
