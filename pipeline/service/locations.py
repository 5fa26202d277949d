"""Places as jobs and operators name them, taken apart so that one can be told to lie below another.

Exact and suspicious: hosts, buckets and folders are compared whole and letter by letter, and whatever two programs
could read in two ways (`..`, percent-encodings, credentials, chains of file systems) is no place at all. But for
`Location.real`, nothing here looks at a disk.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

MAX_PLACE = 2_048
"""Characters; a path of Common Crawl has 140, a key of S3 1,024 bytes at most."""
DISK = "file"
WEB = ("http", "https")
MAGIC = re.compile(r"[*?\[]")
"""What patterns are made of (`glob`)."""

_URL = re.compile(r"([a-z][a-z0-9+.-]*)://([^/]*)(?:/(.*))?")
_AUTHORITY = re.compile(r"[A-Za-z0-9._-]+(?::[0-9]{1,5})?|\[[0-9a-f:.]+\](?::[0-9]{1,5})?")
_NEVER = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\\\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Location:
    """A place. scheme: `file` on disk; authority: bucket or host, none on disk; parts: folders and name below."""

    scheme: str
    authority: str
    parts: tuple[str, ...]

    def __str__(self) -> str:
        path = "/".join(self.parts)
        return f"/{path}" if self.scheme == DISK else f"{self.scheme}://{self.authority}/{path}"

    def below(self, other: Location) -> bool:
        """Whether this is `other`, or lies in it."""
        same = (self.scheme, self.authority) == (other.scheme, other.authority)
        return same and self.parts[: len(other.parts)] == other.parts

    @property
    def fixed(self) -> Location:
        """The folder that all that matches this pattern lies in."""
        plain = next((at for at, part in enumerate(self.parts) if MAGIC.search(part)), len(self.parts))
        return Location(self.scheme, self.authority, self.parts[:plain])

    @property
    def real(self) -> Location:
        """On disk, where symbolic links lead; elsewhere the same."""
        return on_disk(Path(os.path.realpath(str(self)))) if self.scheme == DISK else self


def on_disk(path: Path) -> Location:
    """The location of an absolute path."""
    return Location(DISK, "", tuple(part for part in str(path).split("/") if part))


def locate(place: str, start: Location | None = None) -> Location:
    """Where a path or a URL leads; relative paths begin at `start`. Raises ValueError with what is wrong."""
    if not place or place != place.strip():
        raise ValueError("empty, or with white space around it")
    if len(place) > MAX_PLACE:
        raise ValueError(f"longer than {MAX_PLACE} characters")
    if _NEVER.search(place):
        raise ValueError("holds a backslash, or a character that is none")
    if "::" in place:
        raise ValueError("holds ::, which chains file systems")
    if "://" not in place:
        return _local(place, start)
    url = _URL.fullmatch(place)
    if url is None:
        raise ValueError("no URL; the scheme is written in small letters")
    scheme, authority, path = url[1], url[2], url[3] or ""
    if scheme == DISK:
        if authority or not path:
            raise ValueError("a file:// URL needs an absolute path, as in file:///data/a.warc.gz")
        return _local(f"/{path}", None)
    if "@" in authority:
        raise ValueError("holds a user or a password")
    if not _AUTHORITY.fullmatch(authority):
        raise ValueError("names no host or bucket")
    if "%" in place:
        raise ValueError("percent-encoded")
    if scheme in WEB and re.search(r"[?#]", path):
        raise ValueError("holds a query or a fragment")
    parts = tuple(path.removesuffix("/").split("/")) if path else ()
    if any(part in ("", ".", "..") for part in parts):
        raise ValueError("not in its plainest form (//, . or ..)")
    return Location(scheme, authority, parts)


def _local(path: str, start: Location | None) -> Location:
    parts = tuple(part for part in path.split("/") if part not in ("", "."))
    if ".." in parts:
        raise ValueError("goes up with ..")
    if path.startswith("/"):
        return Location(DISK, "", parts)
    if start is None:
        raise ValueError("not an absolute path")
    return Location(DISK, "", start.parts + parts)


def overlap(one: str, other: str) -> bool:
    """Whether of two places, as jobs have them once they are accepted, one lies in the other."""
    a, b = locate(one), locate(other)
    return a.below(b) or b.below(a)
