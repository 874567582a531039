# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The objects of a bucket: which there are, and their contents as they were when they were listed."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, NamedTuple

from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.s3.client import (
    ATTEMPTS,
    CHANGED,
    GONE,
    Address,
    Connection,
    asking,
    error_code,
)
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.selection import (
    FILES,
    LISTED_NAMES,
    Selection,
    misplaced,
    shown,
    unfit,
)
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.spool import Spool, WrongSize
from ansible_collections.airstack.backbone.plugins.module_utils._dags.tree import (
    Entry,
    SourceProblems,
    check,
    excluded_all,
)


class Object(NamedTuple):
    """An object as the bucket lists it.

    path: in the release.
    etag: what changes with its content, without quotes: mostly an MD5, of one that came in parts another sum with their
        number behind it. Empty where the endpoint has none.
    size: in bytes.
    """

    path: str
    key: str
    etag: str
    size: int

    @property
    def mark(self) -> str | None:
        return f"{self.etag}:{self.size}" if self.etag else None


@dataclass(frozen=True)
class Bucket:
    """A bucket at an endpoint, by boto3's client of it."""

    client: Any
    connection: Connection
    name: str

    def objects(self, address: Address, selection: Selection) -> list[Object]:
        """Return what is published of all that is beneath an address, in order of the paths.

        :raises SourceProblems: with everything that its names keep from being published, or there is nothing
        """
        found, problems, seen = [], [], 0
        with asking(self.connection, address):
            pages = self.client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self.name, Prefix=address.key + selection.prefix):
                for each in page.get("Contents", ()):
                    seen += 1
                    name = each["Key"][len(address.key) :]
                    if name.endswith("/") or not name:
                        continue
                    problem = misplaced(name)
                    path = None if problem else selection.place(name)
                    problem = problem or (unfit(path) if path is not None else None)
                    if problem:
                        problems.append(problem)
                    elif path is not None:
                        found.append(Object(path, each["Key"], each.get("ETag", "").strip('"'), each["Size"]))
                if seen > FILES:
                    raise SourceProblems([f"{address} has more than {FILES} objects"])
        problems += check(Entry(each.path, "f", "", each.size) for each in found)
        if not found and not problems:
            reason = excluded_all(selection.covered) or self._nearby(address, selection)
            problems.append(f"{address}{selection.prefix} holds no object to publish{reason}")
        if problems:
            raise SourceProblems(problems)
        return sorted(found)

    def _nearby(self, address: Address, selection: Selection) -> str:
        """Name what there is where something was expected, or else at the top of the bucket."""
        above = (address.key + selection.prefix).rstrip("/").rpartition("/")
        for prefix in dict.fromkeys(("".join(above[:2]), "")):
            with asking(self.connection, address):
                page = self.client.list_objects_v2(Bucket=self.name, Prefix=prefix, Delimiter="/", MaxKeys=LISTED_NAMES)
            found = [each["Prefix"] for each in page.get("CommonPrefixes", ())]
            if found:
                there = ", ".join(shown(str(Address(self.name, each))) for each in found)
                return f"; there is {there}{', ...' if page.get('IsTruncated') else ''}"
        return ""

    def object(self, key: str) -> tuple[Object, Mapping[str, Any]]:
        """Return one object, and what the endpoint says of it besides.

        :raises SourceProblems: there is none
        """
        address = Address(self.name, key)
        with asking(self.connection, address):
            from botocore.exceptions import ClientError

            try:
                answer = self.client.head_object(Bucket=self.name, Key=key)
            except ClientError as error:
                if error_code(error) not in GONE:
                    raise
            else:
                return Object(key, key, answer.get("ETag", "").strip('"'), answer["ContentLength"]), answer
            beneath = self.client.list_objects_v2(Bucket=self.name, Prefix=f"{key}/", MaxKeys=1)
        hint = f"; {address}/ stands for all that is beneath it" if beneath.get("KeyCount") else ""
        raise SourceProblems([f"there is no object {address}{hint}"])

    def fetch(self, wanted: Object, spool: Spool) -> str:
        """Read an object into a spool, and return its SHA-256.

        :raises SourceProblems: it is not what was listed any more, or cannot be read
        """
        address = Address(self.name, wanted.key)
        changed = SourceProblems([f"{shown(str(address))} changed while it was read; publish again"])
        attempts_left = ATTEMPTS
        with asking(self.connection, address):
            from botocore.exceptions import BotoCoreError

            while True:
                answer = self._get(wanted)
                # Not every endpoint heeds the condition.
                if answer is None or answer.get("ETag", "").strip('"') != wanted.etag:
                    raise changed
                try:
                    with closing(answer["Body"]) as body:
                        return spool.add(body, wanted.size)
                except WrongSize:
                    raise changed from None
                except BotoCoreError:  # boto3 itself tries again until the body begins
                    attempts_left -= 1
                    if not attempts_left:
                        raise

    def _get(self, wanted: Object) -> Mapping[str, Any] | None:
        """Return the answer whose body is the object, or None where it is another one by now."""
        from botocore.exceptions import ClientError

        condition = {"IfMatch": f'"{wanted.etag}"'} if wanted.etag else {}
        try:
            return self.client.get_object(Bucket=self.name, Key=wanted.key, **condition)
        except ClientError as error:
            if error_code(error) in CHANGED | GONE:
                return None
            raise
