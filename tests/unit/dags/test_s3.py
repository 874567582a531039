# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Objects in S3 as sources, at moto's server on this host, which counts what it is asked for."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import io
import os
import socket
import sys
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.airstack.backbone.plugins.module_utils._dags.files import Attributes, Wanted
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins import spool
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.directory import scan
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.origin import NOTHING, Known, Origin
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.s3.client import (
    Address,
    Connection,
    parse_address,
)
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.s3.origin import S3Origin
from ansible_collections.airstack.backbone.plugins.module_utils._dags.tree import SourceProblems
from ansible_collections.airstack.backbone.tests.unit.dags.trees import Link, Tree, before, make, read

SECRET = "wJalrXUtnFEMI/K7MDENG"
Tamper = Callable[[str, bytes], bytes]


class Store:
    """A bucket `dags` at an S3 endpoint.

    asked: method and path of each request, with the query of a listing.
    heeds_conditions: whether it does what the headers If-Match say. page: the most that a listing holds.
    tamper: what becomes of an object's content on its way, by its path.
    """

    def __init__(self, app: Callable[..., Any]) -> None:
        self._app = app
        self.port = 0
        self.client: Any = None
        self.clear()

    def clear(self) -> None:
        self.asked: list[str] = []
        self.heeds_conditions = True
        self.page: int | None = None
        self.tamper: Tamper | None = None

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        query = environ["QUERY_STRING"]
        is_listing = "list-type" in query
        self.asked.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}{'?list' if is_listing else ''}")
        if is_listing and self.page and "delimiter" not in query:
            environ["QUERY_STRING"] = f"{query}&max-keys={self.page}"
        if not self.heeds_conditions:
            environ.pop("HTTP_IF_MATCH", None)
        if not self.tamper or environ["REQUEST_METHOD"] != "GET" or is_listing:
            return list(self._app(environ, start_response))
        begun: list[Any] = []
        whole = b"".join(self._app(environ, lambda *answer: begun.extend(answer)))
        body = self.tamper(environ["PATH_INFO"], whole)
        # What is shorter breaks off; what is longer says so.
        length = str(max(len(whole), len(body)))
        headers = [(name, length if name.lower() == "content-length" else value) for name, value in begun[1]]
        start_response(begun[0], headers)
        return [body]

    @property
    def gets(self) -> list[str]:
        """The objects that were read."""
        return sorted(each[len("GET /dags/") :] for each in self.asked if each.startswith("GET") and "?" not in each)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def connection(self, **changes: Any) -> Connection:
        return Connection(**{"endpoint_url": self.url, "access_key": "AKIA", "secret_key": SECRET, **changes})

    def origin(self, address: str = "s3://dags/etl/", **options: Any) -> S3Origin:
        return S3Origin(parse_address(address), self.connection(), **options)

    @property
    def bucket(self) -> Any:
        """The bucket where moto keeps it: for keys that no way over HTTP leaves alone, and at once."""
        from moto.s3.models import s3_backends  # noqa: PLC0415

        [found] = [each["aws"] for each in s3_backends.values() if "dags" in each["aws"].buckets]
        return found

    def put(self, tree: Mapping[str, bytes]) -> None:
        for key, data in tree.items():
            self.bucket.put_object("dags", key, data)

    def empty(self) -> None:
        self.bucket.buckets["dags"].keys.clear()


@pytest.fixture(scope="module")
def server() -> Iterator[Store]:
    pytest.importorskip("boto3", reason="boto3 is not installed here")
    pytest.importorskip("moto.server", reason="moto's server, which stands for S3, is not installed here")
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app  # noqa: PLC0415
    from werkzeug.serving import WSGIRequestHandler, make_server  # noqa: PLC0415

    class Quiet(WSGIRequestHandler):
        def log(self, *args: object) -> None:
            pass

    store = Store(DomainDispatcherApplication(create_backend_app))
    listening = make_server("127.0.0.1", 0, store, threaded=True, request_handler=Quiet)
    store.port = listening.server_port
    thread = threading.Thread(target=listening.serve_forever)
    thread.start()
    store.client = store.connection().client()
    yield store
    listening.shutdown()
    thread.join()
    listening.server_close()


@pytest.fixture
def store(server: Store) -> Iterator[Store]:
    server.client.create_bucket(Bucket="dags")
    server.clear()
    yield server
    server.clear()
    server.empty()
    server.client.delete_bucket(Bucket="dags")


def problems_of(origin: Origin, known: Mapping[str, Known] | None = None) -> list[str]:
    with pytest.raises(SourceProblems) as refused, origin.open(before(known or {})):
        pass
    return refused.value.problems


def contents(origin: S3Origin) -> dict[str, bytes | None]:
    with origin.open(NOTHING) as content:
        return {entry.path: content.read(entry) for entry in content.entries}


def known_of(origin: S3Origin) -> dict[str, Known]:
    """What a publisher remembers of it."""
    with origin.open(NOTHING) as content:
        return {content.marks[each.path]: Known(each.digest, each.size) for each in content.entries}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3://dags/", Address("dags", "")),
        ("s3://dags/etl/", Address("dags", "etl/")),
        ("s3://my.dags_1/etl/v 1/etl.tar.gz", Address("my.dags_1", "etl/v 1/etl.tar.gz")),
        ("s3://dags/é?x=1#y", Address("dags", "é?x=1#y")),
    ],
)
def test_an_address_is_read(text: str, expected: Address) -> None:
    assert parse_address(text) == expected
    assert str(expected) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", " is no address of S3; write s3://bucket/prefix/ for all that is beneath it, or "),
        ("https://dags.example.com/etl/", "https://dags.example.com/etl/ is no address of S3; "),
        ("dags/etl/", "dags/etl/ is no address of S3; "),
        ("s3:///etl/", "s3:///etl/ names no bucket that can be; "),
        ("s3://da gs/etl/", "s3://da gs/etl/ names no bucket that can be; "),
        ("s3://../etl/", "s3://../etl/ names no bucket that can be; "),
        ("s3://key:secret@dags/", "s3://key:secret@dags/ names no bucket that can be; "),
        ("s3://dags", "s3://dags is a bucket alone; s3://dags/ stands for all that is in it"),
        ("s3://dags//", "s3://dags// has a key with empty parts, dots or control characters; "),
        ("s3://dags/etl//", "s3://dags/etl// has a key with "),
        ("s3://dags//etl/", "s3://dags//etl/ has a key with "),
        ("s3://dags/etl/../x", "s3://dags/etl/../x has a key with "),
        ("s3://dags/a\nb/", "'s3://dags/a\\nb/' has a key with "),
    ],
)
def test_what_is_no_address_is_refused(text: str, expected: str) -> None:
    with pytest.raises(SourceProblems) as refused:
        parse_address(text)
    assert len(refused.value.problems) == 1
    assert refused.value.problems[0].startswith(expected)


@given(st.text())
def test_an_address_is_read_or_refused(text: str) -> None:
    try:
        address = parse_address(f"s3://{text}")
    except SourceProblems:
        return
    assert str(address) == f"s3://{text}"
    assert ".." not in address.key.split("/")


KEYS = st.sampled_from(["a", "b/c.py", "b/d e", "é/+x&y.py", "f%20g", "h/i/j?k=l", "<m>", "n#o"])


def test_objects_come_out_as_a_directory_would(store: Store) -> None:
    @settings(max_examples=10, deadline=None)
    @given(st.dictionaries(KEYS, st.sampled_from([b"", b"x", b"y" * 5000]), min_size=1))
    def comes_out(tree: Mapping[str, bytes]) -> None:
        store.empty()
        store.put({f"etl/{path}": data for path, data in tree.items()})
        store.put({"etl.py": b"", "etl-more/x": b"", "other": b""})
        with tempfile.TemporaryDirectory() as directory, store.origin().open(NOTHING) as content:
            found = make(Path(directory) / "found", tree)
            assert content.entries == scan(found)
            assert written(content, Path(directory) / "written") == tree

    comes_out()


def written(content: Any, root: Path) -> Tree:
    wanted: dict[str, list[Wanted]] = {}
    for entry in content.entries:
        (root / entry.path).parent.mkdir(parents=True, exist_ok=True)
        wanted.setdefault(entry.digest, []).append(Wanted(root / entry.path, entry))
    with ThreadPoolExecutor(4) as pool:
        content.write(pool, wanted, Attributes(os.geteuid(), os.getegid()))
    return read(root)


def test_what_did_not_change_is_not_read(store: Store) -> None:
    store.put({f"etl/{number}.py": bytes([number]) for number in range(20)})
    known = known_of(store.origin())
    revision = store.origin().revision()
    store.asked.clear()
    origin = store.origin()
    assert origin.revision() == revision
    with origin.open(before(known)) as content:
        assert {entry.path: entry.digest for entry in content.entries} == {
            f"{number}.py": hashlib.sha256(bytes([number])).hexdigest() for number in range(20)
        }
    assert store.asked == ["GET /dags?list"]

    store.put({"etl/7.py": b"changed"})
    store.asked.clear()
    assert store.origin().revision() != revision
    with store.origin().open(before(known)) as content:
        assert store.gets == ["etl/7.py"]
        assert {entry.path: content.read(entry) for entry in content.entries}["7.py"] == b"changed"


def test_what_is_known_and_wanted_after_all_is_read(store: Store, tmp_path: Path) -> None:
    """Of a release whose file was edited in place, for instance."""
    store.put({"etl/a.py": b"a", "etl/b.py": b"b", "etl/copy.py": b"b"})
    with store.origin().open(before(known_of(store.origin()))) as content:
        store.asked.clear()
        assert content.read(content.entries[0]) == b"a"
        assert written(content, tmp_path / "written") == {"a.py": b"a", "b.py": b"b", "copy.py": b"b"}
        assert len(store.gets) == 2


def test_what_is_known_falsely_is_not_published(store: Store, tmp_path: Path) -> None:
    store.put({"etl/a.py": b"a"})
    known = {mark: each._replace(digest="0" * 64) for mark, each in known_of(store.origin()).items()}
    with store.origin().open(before(known)) as content:
        with pytest.raises(SourceProblems) as refused:
            written(content, tmp_path / "written")
        assert refused.value.problems == ["the content of a.py is not what was read before"]


@pytest.mark.parametrize("heeds_conditions", [True, False])
@pytest.mark.parametrize("change", ["other content", "other size", "gone"])
def test_what_changes_after_it_was_listed_is_noticed(store: Store, heeds_conditions: bool, change: str) -> None:
    store.put({f"etl/{name}": b"before" for name in "abc"})
    origin = store.origin()
    origin.revision()
    store.heeds_conditions = heeds_conditions
    if change == "gone":
        store.client.delete_object(Bucket="dags", Key="etl/b")
    else:
        store.put({"etl/b": b"after!" if change == "other content" else b"after"})
    store.put({"etl/new": b""})
    assert problems_of(origin) == ["s3://dags/etl/b changed while it was read; publish again"]
    origin.revision()
    assert "new" in contents(origin)


def test_the_revision_is_of_what_is_published(store: Store) -> None:
    store.put({"etl/a.py": b"a", "etl/x.md": b"x", "etl/sub/b.py": b"b"})
    first = store.origin(exclude=["*.md"]).revision()
    assert first is not None
    assert {**first, "listing": "?"} == {
        "s3": "s3://dags/etl/",
        "endpoint_url": store.url,
        "listing": "?",
        "subdirectory": None,
        "exclude": ["*.md"],
    }
    part = store.origin(subdirectory="./sub/").revision()
    assert part is not None
    assert part["subdirectory"] == "sub"
    store.put({"etl/x.md": b"changed"})
    assert store.origin(exclude=["*.md"]).revision() == first
    store.put({"etl/c.py": b""})
    assert store.origin(exclude=["*.md"]).revision() != first
    assert store.origin(subdirectory="sub").revision() == part


def test_a_listing_of_many_pages_is_whole(store: Store) -> None:
    tree = {f"{number:02}": bytes([number]) for number in range(11)}
    store.put({f"etl/{path}": data for path, data in tree.items()})
    store.page = 3
    assert contents(store.origin()) == tree
    assert store.asked.count("GET /dags?list") == 4


def test_a_part_is_published(store: Store) -> None:
    store.put({"etl/dags/a.py": b"", "etl/dags/tests/t.py": b"", "etl/dags/__pycache__/a.pyc": b"", "etl/b.py": b""})
    # Markers of folders, which consoles make
    store.put({"etl/": b"", "etl/dags/": b"", "etl/dags/empty/": b""})
    assert list(contents(store.origin(subdirectory="dags", exclude=["tests/"]))) == ["a.py"]
    assert store.gets == ["etl/dags/a.py"]
    assert list(contents(store.origin())) == ["b.py", "dags/a.py", "dags/tests/t.py"]
    assert problems_of(store.origin(subdirectory="../other")) == [
        "the subdirectory ../other is outside of s3://dags/etl/"
    ]


def test_everything_wrong_is_said_at_once_and_before_anything_is_read(store: Store) -> None:
    evil = ["fine", "a//b", "a/../../b", "/root", "./c", "line\nbreak", "n" * 300, ".release.json", "file", "file/x"]
    store.put({f"etl/{key}": b"" for key in evil})
    assert sorted(problems_of(store.origin())) == sorted(
        [
            "'a//b' is not a plain relative path",
            "a/../../b is a path that climbs",
            "/root is an absolute path",
            "'./c' is not a plain relative path",
            "'line\\nbreak' has a control character in its name, or is not UTF-8",
            f"{'n' * 300} has a name of more than 255 bytes",
            ".release.json is a name that a release keeps for itself",
            "file/x is beneath something that is not a directory",
        ]
    )
    assert store.gets == []


@pytest.mark.parametrize(
    ("address", "subdirectory", "expected"),
    [
        ("s3://gone/etl/", None, "there is no bucket gone at {url}"),
        ("s3://gone/etl.tar", None, "there is no bucket gone at {url}"),
        (
            "s3://dags/team/etx/",
            None,
            "s3://dags/team/etx/ holds no object to publish; there is s3://dags/team/etl/, s3://dags/team/ml/",
        ),
        ("s3://dags/x/y/z/", None, "s3://dags/x/y/z/ holds no object to publish; there is s3://dags/team/"),
        (
            "s3://dags/team/",
            "etx",
            "s3://dags/team/etx/ holds no object to publish; there is s3://dags/team/etl/, s3://dags/team/ml/",
        ),
        ("s3://dags/team/etx.tar", None, "there is no object s3://dags/team/etx.tar"),
        (
            "s3://dags/team/etl",
            None,
            "there is no object s3://dags/team/etl; s3://dags/team/etl/ stands for all that is beneath it",
        ),
        ("s3://dags/team/etl/a.py", None, "s3://dags/team/etl/a.py is neither a tar archive, "),
    ],
)
def test_what_is_not_there_is_named(store: Store, address: str, subdirectory: str | None, expected: str) -> None:
    store.put({"team/etl/a.py": b"", "team/ml/a.py": b"", "team/ml/b.py": b"", "readme": b""})
    problems = problems_of(store.origin(address, subdirectory=subdirectory))
    assert len(problems) == 1
    assert problems[0].startswith(expected.format(url=store.url))


def test_what_is_excluded_altogether_is_said_to_be(store: Store) -> None:
    store.put({"etl/a.md": b"", "etl/dags/b.md": b"", "etl/__pycache__/c.md": b"", "ml/a.md": b""})
    expected = "s3://dags/etl/ holds no object to publish: exclude covers all 2 files that are there"
    assert problems_of(store.origin("s3://dags/etl/", exclude=["*.md"])) == [expected]


def packed(tree: Mapping[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for path, data in tree.items():
            member = tarfile.TarInfo(path)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        member = tarfile.TarInfo("dags/l")
        member.type, member.linkname = tarfile.SYMTYPE, "a.py"
        archive.addfile(member)
    return gzip.compress(file.getvalue(), mtime=0)


def test_an_archive_is_published(store: Store, tmp_path: Path) -> None:
    data = packed({"dags/a.py": b"a" * 100_000, "dags/b.py": b"b"})
    store.put({"etl/v1.tar.gz": data})
    origin = store.origin(
        "s3://dags/etl/v1.tar.gz", subdirectory="dags", sha256=hashlib.sha256(data).hexdigest(), scratch=tmp_path
    )
    revision = origin.revision()
    assert revision is not None
    assert (revision["s3"], revision["size"], revision["subdirectory"]) == (str(origin.address), len(data), "dags")
    assert revision["etag"] == hashlib.md5(data).hexdigest()
    assert store.gets == []
    with origin.open(NOTHING) as content:
        assert content.entries == scan(
            make(tmp_path / "tree", {"a.py": b"a" * 100_000, "b.py": b"b", "l": Link("a.py")})
        )
        assert content.read(content.entries[0]) == b"a" * 100_000
    assert store.gets == ["etl/v1.tar.gz"]
    assert os.listdir(tmp_path) == ["tree"]
    assert store.origin("s3://dags/etl/v1.tar.gz", subdirectory="dags").revision() != revision


def test_another_archive_than_was_asked_for_is_refused(store: Store) -> None:
    data = packed({"a.py": b""})
    store.put({"etl.tar.gz": data, "etl/a.py": b""})
    found, wanted = hashlib.sha256(data).hexdigest(), "0" * 64
    assert problems_of(store.origin("s3://dags/etl.tar.gz", sha256=wanted)) == [
        f"s3://dags/etl.tar.gz has the SHA-256 {found}, and {wanted} was asked for"
    ]
    assert problems_of(store.origin("s3://dags/etl/", sha256=wanted)) == [
        "a SHA-256 is given, and s3://dags/etl/ is no archive that could have one"
    ]


def test_an_archive_that_changes_after_it_was_looked_at_is_noticed(store: Store) -> None:
    store.put({"etl.tar.gz": packed({"a.py": b"1"})})
    origin = store.origin("s3://dags/etl.tar.gz")
    revision = origin.revision()
    store.put({"etl.tar.gz": packed({"a.py": b"2"})})
    assert problems_of(origin) == ["s3://dags/etl.tar.gz changed while it was read; publish again"]
    assert origin.revision() != revision


def test_an_object_that_came_in_parts_has_a_mark(store: Store) -> None:
    key = {"Bucket": "dags", "Key": "etl/large"}
    parts = [b"x" * (5 << 20), b"y"]
    upload = store.client.create_multipart_upload(**key)["UploadId"]
    tags = [
        store.client.upload_part(**key, UploadId=upload, PartNumber=number, Body=part)["ETag"]
        for number, part in enumerate(parts, start=1)
    ]
    done = [{"ETag": tag, "PartNumber": number} for number, tag in enumerate(tags, start=1)]
    store.client.complete_multipart_upload(**key, UploadId=upload, MultipartUpload={"Parts": done})
    known = known_of(store.origin())
    assert next(iter(known)).endswith(f"-2:{(5 << 20) + 1}")
    store.asked.clear()
    with store.origin().open(before(known)) as content:
        assert content.entries[0].digest == hashlib.sha256(b"".join(parts)).hexdigest()
    assert store.gets == []


def test_a_connection_that_breaks_off_is_taken_up_again(store: Store) -> None:
    store.put({"etl/a.py": b"a" * 1000})
    broken: list[str] = []

    def tamper(path: str, body: bytes) -> bytes:
        broken.append(path)
        return body[:10] if len(broken) < limit else body

    store.tamper = tamper
    limit = 3
    assert contents(store.origin()) == {"a.py": b"a" * 1000}
    assert len(broken) == 3
    limit = 100
    problems = problems_of(store.origin())
    assert len(problems) == 1
    assert problems[0].startswith(f"s3://dags/etl/a.py cannot be read from {store.url}: ")
    assert len(broken) == 6


def test_a_content_that_is_longer_than_was_listed_is_not_published(store: Store) -> None:
    store.put({"etl/a.py": b"a"})
    store.tamper = lambda path, body: body + b"and more"
    assert problems_of(store.origin()) == ["s3://dags/etl/a.py changed while it was read; publish again"]


def test_a_content_without_room_is_not_read(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put({"etl/a.py": b"a", "etl/b.py": b"b", "etl.tar": packed({})})
    monkeypatch.setattr(spool, "USED_SHARE", 0)
    for address in ("s3://dags/etl/", "s3://dags/etl.tar"):
        [problem] = problems_of(store.origin(address, scratch=tmp_path))
        assert f"and {tmp_path}, where they are kept meanwhile, has room for 0.0 MiB" in problem
    assert "etl/a.py" not in store.gets


class Refusing(http.server.BaseHTTPRequestHandler):
    """Answers everything with a refusal."""

    status = 403
    body = b""
    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        self.send_response(self.status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(self.body)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def refusing(status: int, body: str = "") -> Iterator[str]:
    handler = type("Handler", (Refusing,), {"status": status, "body": body.encode(), "asked": 0})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()
        thread.join()


def error_body(code: str, message: str = "Something") -> str:
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (403, "AccessDenied", "s3://dags/etl/ is denied to these credentials"),
        (403, "InvalidAccessKeyId", "{url} does not know the access key"),
        (403, "SignatureDoesNotMatch", "{url} does not accept the secret key"),
        (400, "ExpiredToken", "the credentials for {url} have expired"),
        (403, "RequestTimeTooSkewed", "the clock of this host is not the one of {url}"),
        (400, "AuthorizationHeaderMalformed", "s3://dags/etl/ is in another region: Something"),
        (404, "NoSuchBucket", "there is no bucket dags at {url}"),
        (418, "Teapot", "{url} answered for s3://dags/etl/: Teapot: Something"),
    ],
)
def test_a_refusal_is_told_in_plain_words(status: int, code: str, expected: str) -> None:
    pytest.importorskip("boto3", reason="boto3 is not installed here")
    with refusing(status, error_body(code)) as url:
        origin = S3Origin(Address("dags", "etl/"), Connection(url, None, "AKIA", SECRET))
        assert problems_of(origin) == [expected.format(url=url)]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (403, "s3://dags/etl.tar is denied to these credentials, or they are wrong"),
        (400, "{url} answered for s3://dags/etl.tar: 400: Bad Request"),
    ],
)
def test_a_refusal_without_words_is_told_too(status: int, expected: str) -> None:
    """As of a HEAD, which has no body."""
    pytest.importorskip("boto3", reason="boto3 is not installed here")
    with refusing(status) as url:
        origin = S3Origin(Address("dags", "etl.tar"), Connection(url, None, "AKIA", SECRET))
        assert problems_of(origin) == [expected.format(url=url)]


def test_no_secret_is_told(store: Store) -> None:
    pytest.importorskip("boto3", reason="boto3 is not installed here")
    message = f"{SECRET} of AKIA123 is wrong\x85"
    with refusing(400, error_body("Odd", message)) as url:
        origin = S3Origin(Address("dags", "etl/"), Connection(url, None, "AKIA123", SECRET))
        [problem] = problems_of(origin)
    assert "is wrong" in problem
    assert problem.isprintable()
    for told in (problem, repr(origin), str(origin)):
        assert SECRET not in told
        assert "AKIA123" not in told
    assert SECRET not in str(store.origin("s3://dags/x/", exclude=["a"]).connection)


def test_an_endpoint_that_does_not_answer_is_named_once() -> None:
    pytest.importorskip("boto3", reason="boto3 is not installed here")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        [problem] = problems_of(S3Origin(Address("dags", "etl/"), Connection(url, None, "AKIA", SECRET)))
    assert problem.startswith(f"s3://dags/etl/ cannot be read from {url}: ")


def test_an_endpoint_that_goes_away_is_not_asked_for_every_object(store: Store) -> None:
    store.put({f"etl/{number}": b"x" for number in range(200)})
    store.tamper = lambda path, body: b""
    [problem] = problems_of(store.origin())
    assert "cannot be read from" in problem
    assert len(store.gets) < 200


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"endpoint_url": "s3.example.com"}, "the endpoint s3.example.com is no address such as https://"),
        ({"endpoint_url": "ftp://s3.example.com"}, "the endpoint ftp://s3.example.com is no address such as https://"),
        (
            {"endpoint_url": f"https://me:{SECRET}@s3.example.com"},
            "the endpoint is given with credentials in its address, which",
        ),
        ({"endpoint_url": "http://[::1"}, "the endpoint http://[::1 is no address such as https://"),
        ({"endpoint_url": "http://a b/"}, "s3://dags/etl/ cannot be read from http://a b/: Invalid endpoint"),
        ({"access_key": None}, "of access key and secret key, one is given without the other"),
        ({"secret_key": None}, "of access key and secret key, one is given without the other"),
        ({"endpoint_url": "https://127.0.0.1:1", "ca_file": "/gone.pem"}, "s3://dags/etl/ cannot be read from"),
        ({"region": "a b"}, "s3://dags/etl/ cannot be read from"),
    ],
)
def test_a_connection_that_cannot_be_is_refused(changes: dict[str, str | None], expected: str) -> None:
    pytest.importorskip("boto3", reason="boto3 is not installed here")
    settled = {"endpoint_url": "http://127.0.0.1:1", "access_key": "AKIA", "secret_key": SECRET, **changes}
    [problem] = problems_of(S3Origin(Address("dags", "etl/"), Connection(**settled)))  # type: ignore[arg-type]
    assert problem.startswith(expected)
    assert SECRET not in problem


def test_without_credentials_it_says_what_to_give(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On a host that is no instance, and whose user has none."""
    pytest.importorskip("boto3", reason="boto3 is not installed here")
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    [problem] = problems_of(S3Origin(Address("dags", "etl/"), Connection("http://127.0.0.1:1")))
    assert problem == (
        "s3://dags/etl/ cannot be read from http://127.0.0.1:1:"
        " there are no credentials; give an access key and a secret key, or the host a role"
    )


def test_credentials_of_the_host_are_used(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    store.put({"etl/a.py": b"a"})
    assert contents(S3Origin(Address("dags", "etl/"), Connection(store.url))) == {"a.py": b"a"}


def test_without_boto3_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    monkeypatch.delitem(sys.modules, "boto3.session", raising=False)
    [problem] = problems_of(S3Origin(Address("dags", "etl/")))
    assert problem == (
        f"a source in S3 needs boto3 where it is read: install python3-boto3, or boto3 with the pip of {sys.executable}"
    )
