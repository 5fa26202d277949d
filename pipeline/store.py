"""The one place that opens storage: this machine's disk, or whatever fsspec can reach (s3://, gs://, memory://).

`Store` is an output folder; `open_place` opens one file anywhere for reading. This module lists no inputs
(`pipeline.inputs`), speaks no HTTP (`pipeline.http`), and does not decide what is finished.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, cast

import fsspec

from pipeline.faults import StoreError, blaming
from pipeline.places import BLOCK, Disk, Objects, Place, is_partial

BUFFER = 2**18
Paths = list[str]


def local(place: str) -> Path | None:
    """The absolute path of a local place (a path, or file:// and a path, taken word for word); None for other URLs."""
    path = place.removeprefix("file://")
    if "://" in path:
        return None
    if path != place and not path.startswith("/"):
        raise ValueError(f"{place}: a file:// URL needs an absolute path, as in file:///data/crawl.warc.gz")
    if "\0" in path:
        raise ValueError(f"{place!r}: a path cannot hold a NUL")
    return Path(os.path.abspath(path))


def remote(url: str) -> tuple[Any, str]:
    """fsspec's driver for a URL, and the path it knows the place by. Listings are never cached: others write too."""
    return cast(tuple[Any, str], fsspec.url_to_fs(url, use_listings_cache=False))


def open_place(place: str, kind: type[StoreError] = StoreError) -> BinaryIO:
    """Open a local path or an fsspec URL for reading; seekable. Faults at opening and while reading are of `kind`."""
    with blaming(place, kind):
        path = local(place)
        if path is not None:
            return _buffered(open(path, "rb", buffering=0), place, kind)
        fs, key = remote(place)
        return _buffered(fs.open(key, "rb", block_size=BLOCK, cache_type="readahead"), place, kind)


def _buffered(stream: Any, place: str, kind: type[StoreError]) -> BinaryIO:
    return io.BufferedReader(_Reading(stream, place, kind), BUFFER)


class _Reading(io.RawIOBase):
    """A stream whose faults say where, and which stays dead after one: going on would skip bytes unseen."""

    def __init__(self, stream: Any, place: str, kind: type[StoreError]) -> None:
        self._stream, self._place, self._kind = stream, place, kind
        self._fault: StoreError | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return bool(self._stream.seekable())

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return int(self._stream.seek(offset, whence))

    def tell(self) -> int:
        return int(self._stream.tell())

    def readinto(self, buffer: Any) -> int:
        if self._fault is not None:
            raise self._fault
        try:
            with blaming(self._place, self._kind):
                return int(self._stream.readinto(buffer))
        except StoreError as fault:
            self._fault = fault
            raise

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()


class _Writing(io.RawIOBase):
    """A stream whose faults say where. Forgotten without a close, it finishes nothing."""

    def __init__(self, stream: BinaryIO, place: str) -> None:
        self._stream, self._place = stream, place

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._stream.tell()

    def write(self, data: Any) -> int:
        with blaming(self._place):
            return self._stream.write(data)

    def close(self) -> None:
        self.__exit__(None, None, None)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with blaming(self._place):
                self._stream.__exit__(kind, error, trace)
        finally:
            super().close()

    def __del__(self) -> None:  # io's own would close, and so publish
        pass


@dataclass(frozen=True)
class Store:
    """An output folder. Paths are relative to it and use "/". Only `root` is pickled.

    Every method raises StoreError, and ValueError for a path that is absolute, empty or not in its plainest form.
    """

    root: str
    """An absolute path, or a URL without a slash at its end."""

    def __post_init__(self) -> None:
        path = local(self.root)
        object.__setattr__(self, "root", str(path) if path is not None else self.root.rstrip("/"))

    def exists(self, path: str) -> bool:
        """Is there a file (not a folder) at `path`?"""
        with self._at(path) as (place, at):
            return place.size(at) is not None

    def size(self, path: str) -> int:
        """Bytes of a file."""
        with self._at(path) as (place, at):
            size = place.size(at)
            if size is None:
                raise FileNotFoundError(path)
            return size

    def sha256(self, path: str) -> str:
        """Digest of a file's bytes, in hex."""
        with self.open_read(path) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]

    def list(self, folder: str = "") -> Paths:
        """Finished files under `folder`, at any depth, sorted, relative to the root; none where there is no folder."""
        return [path for path in self._files(folder) if not is_partial(path)]

    def partials(self, folder: str = "") -> Paths:
        """What a `write_atomic` that was killed left behind."""
        return [path for path in self._files(folder) if is_partial(path)]

    def read_bytes(self, path: str) -> bytes:
        with self.open_read(path) as stream:
            return stream.read()

    def open_read(self, path: str) -> BinaryIO:
        """A seekable binary stream."""
        _checked(path)
        return open_place(f"{self.root}/{path}")

    def open_write(self, path: str) -> BinaryIO:
        """A binary stream. On disk the file grows in sight and is safe on disk once closed.

        In an object store it appears when closed, whole, or not at all: it is collected in this machine's temporary
        folder first, and leaving a `with` block by an exception throws it away.
        """
        with self._at(path) as (place, at):
            return cast(BinaryIO, _Writing(place.open_write(at), f"{self.root}/{path}"))

    def write_atomic(self, path: str, data: bytes) -> None:
        """Write or replace a file so that readers see the old or the new bytes, also after a crash."""
        with self._at(path) as (place, at):
            place.write_atomic(at, data)

    def create(self, path: str, data: bytes) -> bool:
        """Write a file unless there is one: of all who try, from whatever machine, one gets True, the others False.

        It appears whole, and is safe on disk then. Where an answer is lost on its way from an object store and the
        driver asks again, even the one who made the file gets False: where that matters, `data` must tell who wrote it.
        Storage that cannot decide this (memory://, S3 servers without conditional writes) is a StoreError.
        """
        with self._at(path) as (place, at):
            return place.create(at, data)

    def move(self, source: str, target: str) -> None:
        """Rename, replacing. At once on disk; elsewhere a copy and then a removal, so a crash may leave both."""
        with self._at(target, f"{_checked(source)} to {target}") as (place, at):
            place.move(f"{self._base()}/{source}", at)

    def remove(self, path: str) -> None:
        """Remove a file; one that is gone already is fine."""
        with self._at(path) as (place, at), contextlib.suppress(FileNotFoundError):
            place.remove(at)

    def remove_tree(self, folder: str) -> None:
        """Remove a folder and what is in it; one that is gone already is fine. Never the root itself."""
        with self._at(folder) as (place, at), contextlib.suppress(FileNotFoundError):
            place.remove_tree(at)

    def local_path(self, path: str) -> Path | None:
        """Where the file lies on this machine's disk; None in an object store."""
        _checked(path)
        return Path(self.root, path) if local(self.root) is not None else None

    def _files(self, folder: str) -> Paths:
        if folder:
            _checked(folder)
        with blaming(f"{self.root}/{folder}"):
            at = f"{self._base()}/{folder}" if folder else self._base()
            return sorted(str(Path(found).relative_to(self._base())) for found in self._place().files(at))

    def _place(self) -> Place:
        return Disk() if local(self.root) is not None else Objects(remote(self.root)[0])

    def _base(self) -> str:
        return self.root if local(self.root) is not None else str(remote(self.root)[1]).rstrip("/")

    @contextlib.contextmanager
    def _at(self, path: str, shown: str = "") -> Iterator[tuple[Place, str]]:
        _checked(path)
        with blaming(f"{self.root}/{shown or path}"):
            yield self._place(), f"{self._base()}/{path}"


def _checked(path: str) -> str:
    """A relative path in its plainest form; object stores would take "a//b" and "a/./b" for other names than "a/b"."""
    if "\0" in path or any(part in ("", ".", "..") for part in path.split("/")):
        raise ValueError(f"{path!r}: write a relative path inside the folder, as in data/part-00000.parquet")
    return path
