"""Parts of a file, wherever it lies: behind https://, in an object store, on disk.

`JoinedRanges` streams chosen stretches of one file in a row, with few requests; `SeekableParts` is what a Parquet
reader wants. Which stretches, and what they hold, is for others to know.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from pipeline.budget import Budget
from pipeline.faults import InputError, blaming
from pipeline.http import BUFFER, HTTP, HttpFile
from pipeline.patience import TERMS, Terms
from pipeline.places import BLOCK
from pipeline.store import local, remote

GAP = 128 * 2**10
"""Bytes between two stretches that are read and thrown away rather than asked around: four records of a crawl's average
(1 GB, 35,000 pages), against a request, of which a job may make two a second.
"""
TAIL = 64 * 2**10
"""Bytes that pyarrow reads first, from a Parquet file's end."""

Range = tuple[int, int]
"""First byte, and the byte to stop before."""


class Parts(Protocol):
    """One file to read anywhere. Every method raises InputError."""

    def read(self, start: int, stop: int) -> bytes:
        """The bytes from `start` up to `stop`, fewer where the file ends before."""

    def tail(self, count: int) -> tuple[int, bytes]:
        """The size of the file, and its last `count` bytes, or all where it has fewer."""

    def close(self) -> None: ...


def open_parts(place: str, budget: Budget, terms: Terms = TERMS) -> Parts:
    """A local path or a URL. Raises InputError, at once or while reading."""
    if place.startswith(HTTP):
        return HttpFile(place, budget, terms)
    with blaming(place, InputError):
        path = local(place)
        return _ObjectParts(place) if path is None else _DiskParts(path)


class _DiskParts:
    def __init__(self, path: Path) -> None:
        self._path, self._file = path, io.FileIO(path)

    def read(self, start: int, stop: int) -> bytes:
        with blaming(str(self._path), InputError):
            self._file.seek(start)
            return b"".join(iter(lambda: self._file.read(stop - self._file.tell()), b""))

    def tail(self, count: int) -> tuple[int, bytes]:
        with blaming(str(self._path), InputError):
            size = self._file.seek(0, io.SEEK_END)
        return size, self.read(max(0, size - count), size)

    def close(self) -> None:
        self._file.close()


class _ObjectParts:
    def __init__(self, place: str) -> None:
        self._place, (self._driver, self._key) = place, remote(place)
        self._size = int(self._driver.info(self._key)["size"])

    def read(self, start: int, stop: int) -> bytes:
        stop = min(stop, self._size)
        if start >= stop:  # S3 would answer 416
            return b""
        with blaming(self._place, InputError):
            return bytes(self._driver.cat_file(self._key, start=start, end=stop))

    def tail(self, count: int) -> tuple[int, bytes]:
        return self._size, self.read(max(0, self._size - count), self._size)

    def close(self) -> None:
        pass


class JoinedRanges(io.RawIOBase):
    """Stretches of a file, one behind the other; those behind the file's end are short or empty. Owns `parts`.

    `ranges` ascend and do not overlap, so that nothing is read twice.
    """

    def __init__(self, parts: Parts, ranges: Iterable[Range]) -> None:
        self._parts, self._pieces = parts, _pieces(parts, ranges)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def close(self) -> None:
        if not self.closed:
            self._parts.close()
        super().close()


def open_ranges(place: str, ranges: Iterable[Range], budget: Budget, terms: Terms = TERMS) -> BinaryIO:
    """The bytes of stretches of a file (see JoinedRanges) as a stream. Raises InputError, at once or while reading."""
    return io.BufferedReader(JoinedRanges(open_parts(place, budget, terms), ranges), BUFFER)


def _pieces(parts: Parts, ranges: Iterable[Range]) -> Iterator[memoryview]:
    for group in grouped(ranges):
        first, last = group[0][0], group[-1][1]
        for at in range(first, last, BLOCK):
            wanted = min(at + BLOCK, last)
            data = memoryview(parts.read(at, wanted))
            for start, stop in group:
                yield data[max(0, start - at) : max(0, stop - at)]
            if len(data) < wanted - at:  # the file ends here, so all that follows is behind its end
                return


def grouped(ranges: Iterable[Range]) -> Iterator[list[Range]]:
    """Ranges to read with one request: neighbours at most GAP apart, together at most BLOCK; a longer one is alone."""
    group: list[Range] = []
    for start, stop in ranges:
        if group and (start - group[-1][1] > GAP or stop - group[0][0] > BLOCK):
            yield group
            group = []
        group.append((start, stop))
    if group:
        yield group


class SeekableParts(io.RawIOBase):
    """A file that seeks: each read is one request, but for the file's end, which is asked for once. Owns `parts`.

    Library code that reads through it may lose what goes wrong on the way; `fault` keeps it.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts, self._position = parts, 0
        self.size, self._tail = parts.tail(TAIL)
        self.bytes_read = len(self._tail)
        self.fault: InputError | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        stop = self.size if size is None or size < 0 else min(self.size, self._position + size)
        data = self._between(self._position, stop) if self._position < stop else b""
        self._position += len(data)
        return data

    def _between(self, start: int, stop: int) -> bytes:
        tail = self.size - len(self._tail)
        if start >= tail:
            return self._tail[start - tail : stop - tail]
        try:
            data = self._parts.read(start, stop)
        except InputError as fault:
            self.fault = fault
            raise
        self.bytes_read += len(data)
        return data

    def close(self) -> None:
        if not self.closed:
            self._parts.close()
        super().close()
