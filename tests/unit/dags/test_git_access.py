# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Addresses, keys and tokens of git repositories: what opens one, where it goes, and what is said when it does not."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.git.access import (
    Address,
    GitAccess,
    parse_address,
    resolve,
)
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.git.errors import GitFailed, explain
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.git.origin import GitOrigin
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.origin import NOTHING
from ansible_collections.airstack.backbone.plugins.module_utils._dags.tree import SourceProblems
from ansible_collections.airstack.backbone.tests.unit import needs
from ansible_collections.airstack.backbone.tests.unit.dags.git_contents import problems_of, published
from ansible_collections.airstack.backbone.tests.unit.dags.git_servers import (
    Silent,
    Site,
    Ssh,
    Upstream,
    free_port,
    git,
    serving,
    ssh,
    web,
)

TOKEN = "secret-token-%\"'\\ $(x)"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://git.example.com/etl/dags.git", ("https", "git.example.com", 443)),
        ("https://Git.Example.com:8443/x", ("https", "git.example.com", 8443)),
        ("http://[::1]:80/x", ("http", "::1", 80)),
        ("ssh://git@host:2222/x", ("ssh", "host", 2222)),
        ("ssh://host/x", ("ssh", "host", 22)),
        ("git://host/x", ("git", "host", 9418)),
        ("git@host:team/x.git", ("ssh", "host", 22)),
        ("host:x", ("ssh", "host", 22)),
        ("git@[::1]:x", ("ssh", "::1", 22)),
        ("git@host:team/a@b", ("ssh", "host", 22)),
        ("/srv/git/x y.git", ("file", "", 0)),
        ("file:///srv/git/x.git", ("file", "", 0)),
    ],
)
def test_an_address_tells_whom_a_secret_is_for(text: str, expected: tuple[str, str, int]) -> None:
    address = parse_address(text)
    assert address.endpoint == expected
    assert address.text == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is empty"),
        ("https://host/a\nb", "holds a control character"),
        ("-oProxyCommand=x:y", "would have git run a program"),
        ("--upload-pack=x", "would have git run a program"),
        ("ext::sh -c x", "would have git run a program"),
        ("fd::17/x", "would have git run a program"),
        ("https://host/ext::x", "would have git run a program"),
        ("srv/git/x.git", "is neither a URL"),
        ("./x:y", "is neither a URL"),
        ("~/x.git", "is neither a URL"),
        ("host:", "is neither a URL"),
        ("HTTPS://host/x", "is of none of the protocols"),
        ("ftp://host/x", "is of none of the protocols https, http, ssh, git and file"),
        ("file://host/x", "is not of the form file:///path"),
        ("https://host:port/x", "its host or port cannot be read"),
        ("https:///x", "has no host"),
        ("ssh://-oProxyCommand=x/y", "has no host"),
        ("ssh://-x@host/y", "has no host"),
        ("https://host/x?private_token=hush", "holds a ?, a # or a backslash"),
        ("https://good#@evil/x", "holds a ?, a # or a backslash"),
        ("https://good\\@evil/x", "holds a ?, a # or a backslash"),
        ("https://user:hush@host/x", "holds a password"),
        ("ssh://user:hush@host/x", "holds a password"),
        ("user:hush@host:x", "holds a password"),
        ("https://hush@host/x", "holds a user name"),
    ],
)
def test_an_address_is_refused_without_being_shown(text: str, expected: str) -> None:
    with pytest.raises(SourceProblems) as refused:
        parse_address(text)
    [problem] = refused.value.problems
    assert problem.startswith("the repository's address ")
    assert expected in problem
    assert "hush" not in problem


@given(st.text("ab:/@[].-?#%\\", max_size=12) | st.text("ab:/@[]-", max_size=12).map("https://{}".format))
def test_an_address_is_read_or_refused(text: str) -> None:
    try:
        address = parse_address(text)
    except SourceProblems:
        return
    assert (address.scheme == "file") == (not address.host)
    assert not address.host.startswith("-")


@pytest.mark.parametrize(
    ("url", "parent", "expected"),
    [
        ("https://other/x", "https://host/a/b", "https://other/x"),
        ("x", "https://host/a/b", "x"),
        ("../x.git", "https://host/a/b.git", "https://host/a/x.git"),
        ("../../c/x", "https://host/a/b/", "https://host/c/x"),
        ("./x", "https://host/a", "https://host/a/x"),
        (".././../x/", "https://host/a/b", "https://host/x"),
        ("../x", "git@host:a/b", "git@host:a/x"),
        ("../../x", "git@host:a/b", "git@host:x"),
        ("../x", "git@host:b", "git@host:x"),
        ("../x", "/srv/a.git", "/srv/x"),
        ("../../x", "/srv/a.git", "/x"),
        ("../x", "file:///a", "file:///x"),
        ("../../x", "https://host/a", None),
        ("../../../evil/x", "https://host:8443/a", None),
        ("../../x", "ssh://git@host:22/a", None),
        ("../../x", "git@host:b", None),
        ("../../x", "/a", None),
    ],
)
def test_a_relative_address_stays_on_the_host(url: str, parent: str, expected: str | None) -> None:
    if expected is not None:
        assert resolve(url, parent) == expected
        return
    with pytest.raises(SourceProblems, match="climbs beyond the host"):
        resolve(url, parent)


def test_secrets_are_not_in_what_python_prints(cache: Path) -> None:
    access = GitAccess(ssh_key="hush-key", token="hush-token", username="me", known_hosts="hush-hosts")
    assert "hush" not in repr(access)
    assert "hush" not in repr(GitOrigin("https://host/x", cache, access=access))


HTTPS = Address("https://host/x", "https", "host", 443)
SSH = Address("git@host:x", "ssh", "host", 22)


@pytest.mark.parametrize(
    ("output", "address", "access", "expected"),
    [
        (
            "remote: Repository not found.\nfatal: repository 'https://host/x/' not found\n",
            HTTPS,
            GitAccess(),
            "there is no repository https://host/x, or host does not show it to whoever asks",
        ),
        (
            "fatal: could not read Username for 'https://host': terminal prompts disabled\n",
            HTTPS,
            GitAccess(ssh_key="k"),
            (
                "host asks for credentials: give token, which is sent to the repository's own host alone;"
                " the ssh_key that was given is not for this protocol (a description says credential: token)"
            ),
        ),
        (
            (
                "git@host: Permission denied (publickey).\nfatal: Could not read from remote repository.\n\n"
                "Please make sure you have the correct access rights\nand the repository exists.\n"
            ),
            SSH,
            GitAccess(ssh_key="k"),
            "host refuses the ssh_key that was given, or it does not open this repository",
        ),
        (
            (
                "remote: \nremote: ====\nremote: \nremote: ERROR: The project you were looking for could not be found or"
                " you don't have permission to view it.\nfatal: Could not read from remote repository.\n"
            ),
            SSH,
            GitAccess(),
            "there is no repository git@host:x, or host does not show it to whoever asks",
        ),
        (
            "fatal: unable to access 'https://host/x/': Could not resolve host: host\n",
            HTTPS,
            GitAccess(),
            "host cannot be reached: unable to access 'https://host/x/': Could not resolve host: host",
        ),
        (
            "error: unable to write file: No space left on device\nfatal: unpack-objects failed\n",
            HTTPS,
            GitAccess(),
            "the cache of git repositories has no space left (unpack-objects failed)",
        ),
        (
            "remote: fatal: No space left on device\nfatal: protocol error\n",
            HTTPS,
            GitAccess(),
            "git failed with host: protocol error",
        ),
        (
            "Receiving objects:  50% (1/2)\rReceiving objects: 100% (2/2)\rfatal: \x1bbad\nhint: x\n",
            HTTPS,
            GitAccess(),
            "git failed with host: bad",
        ),
        ("", HTTPS, GitAccess(), "git failed with host: git gave no reason"),
        ("fatal: hush\n", HTTPS, GitAccess(token=" hush\n"), "git failed with host: ***"),
    ],
)
def test_what_git_says_is_told_in_one_line(output: str, address: Address, access: GitAccess, expected: str) -> None:
    assert explain(output, address, access).problems == [expected]


def test_a_certificate_that_is_not_trusted_is_told_with_what_to_do() -> None:
    output = (
        "fatal: unable to access 'https://host/x/': server certificate verification failed. CAfile: none CRLfile: none"
    )
    [problem] = explain(output, HTTPS, GitAccess()).problems
    assert problem.startswith("the certificate of host is not one that this host trusts (unable to access")
    assert "update-ca-certificates" in problem


def test_a_commit_that_is_not_sent_by_its_name_is_asked_for_in_another_way() -> None:
    """Also where the server hangs up on that."""
    said = "error: Server does not allow request for unadvertised object\nfatal: the remote end hung up unexpectedly\n"
    assert isinstance(explain(said, HTTPS, GitAccess()), GitFailed)
    assert not isinstance(explain("fatal: the remote end hung up unexpectedly\n", HTTPS, GitAccess()), GitFailed)


@pytest.fixture
def site(upstream: Upstream) -> Site:
    upstream.commit({"a": b"a"})
    return Site(upstream.bare.parent, token=TOKEN)


@pytest.mark.parametrize(
    ("access", "expected"),
    [
        (GitAccess(), "asks for credentials: give token, which is sent to the repository's own host alone"),
        (GitAccess(token="wrong"), "refuses the token that was given, or it does not open this repository"),
        (GitAccess(token="a\nb"), "the user name or the token holds a line break or another control character"),
    ],
)
def test_a_token_that_does_not_open_is_told(site: Site, cache: Path, access: GitAccess, expected: str) -> None:
    with web(site) as address:
        [problem] = problems_of(GitOrigin(f"{address}/etl.git", cache, access=access))
    assert expected in problem
    assert list(cache.glob(".scratch-*")) == []


def test_a_token_is_sent_with_a_user_name(site: Site, cache: Path) -> None:
    with web(site) as address:
        origin = GitOrigin(f"{address}/etl.git", cache, access=GitAccess(token=f"{TOKEN}\n", username="me"))
        assert published(origin) == {"a": b"a"}


@pytest.mark.parametrize("asks_first", [True, False])
def test_a_redirect_to_another_host_does_not_get_the_token(site: Site, cache: Path, asks_first: bool) -> None:
    other = Site(site.root, token="another")
    site.token = TOKEN if asks_first else None
    with web(site) as address, web(other) as elsewhere:
        site.redirect = elsewhere
        [problem] = problems_of(GitOrigin(f"{address}/etl.git", cache, access=GitAccess(token=TOKEN)))
    assert other.asked
    assert other.authorizations == []
    assert ("refuses the token" if asks_first else "sends git on to another host") in problem
    assert TOKEN not in problem


def test_a_submodule_on_another_host_does_not_get_the_token(upstream: Upstream, site: Site, cache: Path) -> None:
    other = Site(site.root)
    lib = Upstream.make(site.root, "lib")
    commit = lib.commit({"l": b"l"})
    with web(site) as address, web(other) as elsewhere:
        upstream.add_module("same", "../lib.git", commit)
        upstream.add_module("other", f"{elsewhere}/lib.git", commit)
        upstream.commit_index()
        origin = GitOrigin(f"{address}/etl.git", cache, submodules=True, access=GitAccess(token=TOKEN))
        assert list(published(origin)) == [".gitmodules", "a", "other/l", "same/l"]
        assert site.authorizations
        assert other.authorizations == []
        other.token = TOKEN
        upstream.add_module("other", f"{elsewhere}/etl.git", commit)
        upstream.commit_index()
        [problem] = problems_of(GitOrigin(f"{address}/etl.git", cache, submodules=True, access=GitAccess(token=TOKEN)))
        assert problem.startswith("submodule other: ")
        assert "asks for credentials: give token, which is sent to the repository's own host alone (" in problem
    assert other.authorizations == []


def seen_by_others() -> bytes:
    """Return what `ps` and /proc show of all processes but this one: their arguments and environments."""
    seen = b""
    for process in Path("/proc").glob("[0-9]*"):
        if int(process.name) != os.getpid():
            for name in ("cmdline", "environ"):
                with suppress(OSError):
                    seen += (process / name).read_bytes() + b"\0"
    return seen


def test_a_token_is_nowhere_to_be_seen_while_git_runs(site: Site, cache: Path) -> None:
    seen: list[bytes] = []
    with web(site) as address:
        site.on_request = lambda: seen.append(seen_by_others())
        published(GitOrigin(f"{address}/etl.git", cache, access=GitAccess(token=TOKEN)))
    assert any(b"remote-http" in each for each in seen)
    assert not any(TOKEN.encode() in each for each in seen)
    assert list(cache.glob(".scratch-*")) == []


def test_the_scratch_directory_is_private_and_goes_with_its_owner(site: Site, cache: Path) -> None:
    left, recent = cache / ".scratch-left", cache / ".scratch-recent"
    for each in (left, recent):
        each.mkdir(parents=True)
        (each / "key").write_text("hush")
    os.utime(left, (time.time() - 60,) * 2)
    os.utime(recent, (time.time() + 600,) * 2)
    cache.chmod(0o755)
    found: list[list[Path]] = []
    site.on_request = lambda: found.append(list(cache.glob(".scratch-*/*/answer")))
    with web(site) as address, GitOrigin(f"{address}/etl.git", cache, access=GitAccess(token=TOKEN)).open(NOTHING):
        [scratch] = set(cache.glob(".scratch-*")) - {recent}
        assert {each.stat().st_mode & 0o777 for each in (cache, scratch)} == {0o700}
        assert {each.stat().st_mode & 0o777 for each in scratch.rglob("*") if each.is_file()} == {0o600}
        assert not left.exists()
    assert any(found)
    assert list(cache.glob(".scratch-*")) == [recent]


@pytest.fixture
def server(upstream: Upstream, tmp_path: Path) -> Iterator[Ssh]:
    upstream.commit({"a": b"a"})
    with ssh(upstream.bare.parent, tmp_path / "sshd") as server:
        yield server


@needs.sshd
def test_a_key_that_does_not_open_is_told(server: Ssh, cache: Path) -> None:
    changed = server.known_hosts.replace("AAAA", "AAAA", 1).rstrip()[:-4] + "AAAA"
    host = server.address.split("@")[1].split("/")[0]
    scan = f"ssh-keyscan -p {host.split(':')[1]} 127.0.0.1"
    table = {
        GitAccess(known_hosts=server.known_hosts): f"{host} asks for credentials: give ssh_key, which is sent to",
        GitAccess(other_key(cache), known_hosts=server.known_hosts): f"{host} refuses the ssh_key that was given, or",
        GitAccess("no key", known_hosts=server.known_hosts): "ssh cannot read the ssh_key: it is no private key, or",
        GitAccess(
            server.key, known_hosts=""
        ): f"the host key of {host} is not in known_hosts: add what `{scan}` prints",
        GitAccess(server.key): f"the host key of {host} is not in known_hosts: add what `{scan}` prints",
        GitAccess(server.key, known_hosts=changed): f"the host key of {host} is another than known_hosts says: if its",
    }
    for access, expected in table.items():
        [problem] = problems_of(GitOrigin(f"{server.address}/etl.git", cache, access=access))
        assert problem.startswith(expected)
    assert list(cache.glob(".scratch-*")) == []


def other_key(cache: Path) -> str:
    """Return a private key that no server knows."""
    new = cache.parent / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(new)], check=True)
    return new.read_text()


@needs.sshd
def test_a_key_is_nowhere_to_be_seen_and_not_for_submodules_elsewhere(upstream: Upstream, tmp_path: Path) -> None:
    """The other server would take the same key, which is not offered to it."""
    cache = tmp_path / "cache with a space"
    commit = upstream.commit({"a": b"a"})
    seen: list[bytes] = []
    root = upstream.bare.parent
    with ssh(root, tmp_path / "one", lambda: seen.append(seen_by_others())) as one, ssh(root, tmp_path / "two") as two:
        (tmp_path / "two" / "user.pub").write_text((tmp_path / "one" / "user.pub").read_text())
        access = GitAccess(one.key.replace("\n", "\r\n"), known_hosts=one.known_hosts + two.known_hosts)
        upstream.add_module("same", "../etl.git", commit)
        upstream.commit_index()
        origin = GitOrigin(f"{one.address}/etl.git", cache, submodules=True, access=access)
        assert list(published(origin)) == [".gitmodules", "a", "same/a"]
        upstream.add_module("other", f"{two.address}/etl.git", commit)
        upstream.commit_index()
        [problem] = problems_of(GitOrigin(f"{one.address}/etl.git", cache, submodules=True, access=access))
        assert problem.startswith("submodule other: ")
        assert "asks for credentials: give ssh_key" in problem
    assert any(b"\0-oIdentitiesOnly=yes\0" in each or b"IdentitiesOnly=yes" in each for each in seen)
    assert not any(line.encode() in each for each in seen for line in one.key.split("\n") if len(line) > 30)
    assert list(cache.glob(".scratch-*")) == []


@needs.sshd
def test_a_submodule_by_ssh_of_a_host_that_was_asked_by_http_gets_the_key(
    upstream: Upstream, site: Site, server: Ssh, cache: Path
) -> None:
    commit = git(upstream.work, "rev-parse", "HEAD")
    upstream.add_module("lib", f"{server.address}/etl.git", commit)
    upstream.commit_index()
    access = GitAccess(ssh_key=server.key, token=TOKEN, known_hosts=server.known_hosts)
    with web(site) as address:
        origin = GitOrigin(f"{address}/etl.git", cache, submodules=True, access=access)
        assert list(published(origin)) == [".gitmodules", "a", "lib/a"]


@pytest.mark.parametrize("scheme", ["git", "http", "ssh"])
def test_a_server_that_accepts_and_never_answers_is_given_up(cache: Path, scheme: str) -> None:
    with serving(Silent()) as port:
        [problem] = problems_of(GitOrigin(f"{scheme}://127.0.0.1:{port}/x", cache, timeout=0.3))
    assert problem == f"127.0.0.1:{port} has not answered for 0.3 s"
    assert list(cache.glob(".scratch-*")) == []


@pytest.mark.parametrize("scheme", ["git", "http", "ssh"])
def test_a_server_that_is_not_there_is_named(cache: Path, scheme: str) -> None:
    port = free_port()
    [problem] = problems_of(GitOrigin(f"{scheme}://127.0.0.1:{port}/x", cache))
    assert problem.startswith(f"127.0.0.1:{port} cannot be reached: ")


@needs.root
def test_a_local_repository_may_be_another_users(upstream: Upstream, cache: Path) -> None:
    upstream.commit({"a": b"a"})
    for each in (upstream.bare, *upstream.bare.rglob("*")):
        os.chown(each, 12345, 12345)
    assert published(GitOrigin(str(upstream.bare), cache)) == {"a": b"a"}
    git(upstream.bare, "config", "uploadpack.packObjectsHook", "false")
    assert published(GitOrigin(f"file://{upstream.bare}", cache)) == {"a": b"a"}
