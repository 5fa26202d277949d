"""The inputs of a source: which files, and a stream of the bytes of each.

Listing finds what is wrong before any work is done (a pattern that matches nothing, a file that cannot be opened) and
says so in one line. Files behind https:// are only looked at when their turn comes: a request for each of 90,000 would
spend the budget. The sizes of files that a snapshot names in a bucket are not asked for either.
This module parses nothing but paths.
"""

from __future__ import annotations

import glob
import hashlib
import io
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal, Protocol

from pipeline.budget import Budget
from pipeline.faults import InputError, blaming
from pipeline.http import HTTP, fetch_bytes, open_url
from pipeline.patience import TERMS, Terms
from pipeline.places import need_bucket
from pipeline.store import local, open_place, remote
from stages.read.commoncrawl import BUCKET, MAX_PACKED, parse_paths, parse_slice, paths_list, snapshot_of

Kind = Literal["warc", "parquet"]
CHUNK = 2**20
Found = tuple[str, int | None, str]
"""Path to open, bytes, name in the ledger."""


@dataclass(frozen=True)
class Rows:
    """Where a selection (`pipeline.selection`) has the records of one file."""

    first: int
    count: int


@dataclass(frozen=True)
class Input:
    """One file to read, or chosen records of it, which becomes one shard."""

    path: str
    """What `open_input` takes: an absolute path or a URL."""
    kind: Kind
    bytes: int | None
    """Size, of chosen records their lengths together; None where asking would cost a request."""
    dump: str
    """Crawl snapshot, "" where nothing tells."""
    shard: str
    """What records and ledger call it: the path as the job wrote it, wherever the job runs."""
    chosen: Rows | None = None
    """The records to read of it; None: all."""


class Files(Protocol):
    """A source of kind "warc" or "parquet"."""

    @property
    def kind(self) -> Kind: ...
    @property
    def paths(self) -> Sequence[str]: ...


class Snapshot(Protocol):
    """A source of kind "commoncrawl"."""

    @property
    def kind(self) -> Literal["commoncrawl"]: ...
    @property
    def snapshot(self) -> str: ...
    @property
    def files(self) -> str | None: ...
    @property
    def base(self) -> str: ...


def list_inputs(source: Files | Snapshot, budget: Budget, terms: Terms = TERMS) -> list[Input]:
    """The inputs of a source, sorted by `shard`, each file once, however many patterns match it. Raises InputError."""
    if source.kind == "commoncrawl":
        found: Iterable[Input] = _of_snapshot(source, budget, terms)
    else:
        if not source.paths:
            raise InputError("source.paths: empty; name a file or a pattern, as in crawl/*.warc.gz")
        found = (each for pattern in source.paths for each in _matching(pattern, source.kind))
    once: dict[str, Input] = {}
    for each in found:
        once.setdefault(each.path, each)
    return sorted(once.values(), key=lambda each: each.shard)


def open_input(path: str, budget: Budget, terms: Terms = TERMS) -> BinaryIO:
    """The bytes of an input; seekable unless it comes by HTTP. Raises InputError, at once or while reading."""
    return open_url(path, budget, terms) if path.startswith(HTTP) else open_place(path, InputError)


class HashingStream(io.RawIOBase):
    """A stream that knows the sha256 of what was read through it. Not seekable; owns the stream beneath."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._digest = stream, hashlib.sha256()
        self.bytes_read = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        data = self._stream.read(-1 if size is None else size)
        self._digest.update(data)
        self.bytes_read += len(data)
        return data

    def readall(self) -> bytes:
        return self.read()

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def drain(self) -> None:
        """Read to the end, so that the digest is the file's."""
        while self.read(CHUNK):
            pass

    def hexdigest(self) -> str:
        """Of the bytes read so far."""
        return self._digest.hexdigest()

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()


def _matching(pattern: str, kind: Kind) -> Iterator[Input]:
    if pattern.startswith(HTTP):
        yield _at_url(pattern, kind)
        return
    with blaming(pattern, InputError):
        found = _in_store(pattern) if local(pattern) is None else _on_disk(pattern.removeprefix("file://"))
        if not found:
            raise InputError(
                f"{pattern}: matches no file (looked from {os.getcwd()}); ** goes into folders of any depth"
            )
    for place, size, shard in found:
        if shard != shard.encode("utf-8", "replace").decode():
            raise InputError(f"{shard!a}: a name that is not UTF-8 cannot be written into the dataset; rename the file")
        yield Input(place, kind, size, snapshot_of(shard), shard)


def _at_url(url: str, kind: Kind) -> Input:
    if kind == "parquet":
        raise InputError(f"{url}: Parquet is not read over http; copy it here, or give an s3:// path")
    if "*" in url:
        raise InputError(f"{url}: a website cannot list its files; name each one, or use an s3:// pattern")
    if re.match(r"https?://[^/?#]*@", url):
        raise InputError(
            f"{url.split('//')[0]}//…: a password in a path would be published in every record; leave it out"
        )
    return Input(url, kind, None, snapshot_of(url), url)


def _on_disk(pattern: str) -> list[Found]:
    """A name with brackets that exists is meant word for word; folders that a pattern matches are passed over."""
    if os.path.lexists(pattern) or not glob.has_magic(pattern):
        names = [pattern]
    else:
        names = [name for name in glob.glob(pattern, recursive=True) if not os.path.isdir(name)]
    return [(os.path.abspath(name), _size(name), os.path.normpath(name)) for name in names]


def _size(path: str) -> int:
    with blaming(path, InputError):
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise InputError(f"{path}: a folder; write {path}/*.warc.gz, or {path}/**/*.warc.gz for its folders too")
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for somebody to write
            raise InputError(f"{path}: not a regular file; name a file that can be read again")
        with open(path, "rb"):
            return status.st_size


def _in_store(pattern: str) -> list[Found]:
    driver, key = remote(pattern)
    if glob.has_magic(key):
        infos = list(driver.glob(key, detail=True).values())
        if not infos:
            need_bucket(driver, key)
    else:
        infos = [driver.info(key)]
        if infos[0]["type"] != "file":
            raise InputError(f"{pattern}: a folder; write {pattern.rstrip('/')}/*.warc.gz")
    places = [(driver.unstrip_protocol(each["name"]), each["size"]) for each in infos if each["type"] == "file"]
    return [(place, size, place) for place, size in places]


def _of_snapshot(source: Snapshot, budget: Budget, terms: Terms) -> Iterator[Input]:
    try:
        wanted = parse_slice(source.files) if source.files is not None else slice(None)
    except ValueError as error:
        raise InputError(f"source.files: {error}") from error
    base = source.base.rstrip("/") + "/"
    try:
        at = base + paths_list(source.snapshot)
        packed = fetch_bytes(at, budget, MAX_PACKED, terms) if base.startswith(HTTP) else _small_file(at)
        paths = parse_paths(packed)
    except (ValueError, InputError) as error:
        names = "names are at https://index.commoncrawl.org/collinfo.json"
        raise InputError(f"source.snapshot {source.snapshot}: {error} ({names})") from error
    chosen = paths[wanted]
    if not chosen:
        raise InputError(
            f"source.files: {source.files or 'all'} takes none of the {len(paths)} files of {source.snapshot}"
        )
    mirror = local(base)
    for path in chosen:
        place, size = (base + path, None) if mirror is None else (str(mirror / path), _size(str(mirror / path)))
        yield Input(place, "warc", size, source.snapshot, BUCKET + path)


def _small_file(place: str) -> bytes:
    with open_place(place, InputError) as stream:
        return stream.read(MAX_PACKED + 1)
