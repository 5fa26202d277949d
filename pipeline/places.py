"""The two kinds of storage behind `pipeline.store`: this machine's disk, and object stores through an fsspec driver.

Here is how each makes a file appear, moves it and lists it. Paths are absolute and trusted, and errors are the system's
or the driver's own: checking paths and wording errors is the store's business.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Protocol, cast

from pipeline.conditional import create_object

BLOCK = 8 * 2**20
"""Bytes that one request to an object store brings, and the size of an uploaded part (S3 wants 5 MiB or more)."""
PARTIAL = ".partial"


class Place(Protocol):
    """What a store needs of a kind of storage."""

    def size(self, at: str) -> int | None:
        """Bytes of the file; None where there is none."""

    def files(self, at: str) -> Iterator[str]:
        """Every file below a folder, in any order."""

    def open_write(self, at: str) -> BinaryIO: ...
    def write_atomic(self, at: str, data: bytes) -> None: ...
    def create(self, at: str, data: bytes) -> bool: ...
    def move(self, source: str, at: str) -> None: ...
    def remove(self, at: str) -> None: ...
    def remove_tree(self, at: str) -> None: ...


def is_partial(path: str) -> bool:
    """Is this the name of a file that `write_atomic` did not live to finish? Dataset readers skip names with a dot."""
    name = path.rpartition("/")[2]
    return name.startswith(".") and name.endswith(PARTIAL)


class Disk:
    """A local file system. What is written, renamed or made is synced, so a power cut takes back nothing announced."""

    def size(self, at: str) -> int | None:
        try:
            status = os.stat(at)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    def files(self, at: str) -> Iterator[str]:
        for folder, _, names in os.walk(at, onerror=_raise_unless_gone):
            yield from (os.path.join(folder, name) for name in names)

    def open_write(self, at: str) -> BinaryIO:
        _make_folder(Path(at).parent)
        return io.BufferedWriter(_SyncedFile(at, "wb"))

    def write_atomic(self, at: str, data: bytes) -> None:
        with _partial(at, data) as partial:
            os.replace(partial, at)
        _sync_folder(os.path.dirname(at))

    def create(self, at: str, data: bytes) -> bool:
        with _partial(at, data) as partial:
            try:
                os.link(partial, at)
                ours = True
            except FileExistsError:
                ours = os.stat(partial).st_nlink == 2  # NFS may lose the answer and ask twice: open(2), at O_EXCL
            except OSError as error:
                if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
                    raise
                raise OSError("this file system has no hard links, so no file can be created exclusively") from error
        _sync_folder(os.path.dirname(at))
        return ours

    def move(self, source: str, at: str) -> None:
        _make_folder(Path(at).parent)
        os.replace(source, at)
        _sync_folder(os.path.dirname(at))
        _sync_folder(os.path.dirname(source))

    def remove(self, at: str) -> None:
        os.unlink(at)

    def remove_tree(self, at: str) -> None:
        shutil.rmtree(at)


@contextlib.contextmanager
def _partial(at: str, data: bytes) -> Iterator[str]:
    """A synced file with this content beside `at`, under a name that goes away at the end."""
    folder, name = os.path.split(at)
    _make_folder(Path(folder))
    partial = os.path.join(folder, _partial_name(name))
    try:
        with _SyncedFile(partial, "xb") as file:
            rest = memoryview(data)
            while rest:
                rest = rest[file.write(rest) :]
        yield partial
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(partial)


def _partial_name(name: str) -> str:
    """For the finished file `name`; several hosts may write it at once."""
    return f".{name[:200]}.{secrets.token_hex(8)}{PARTIAL}"


class _SyncedFile(io.FileIO):
    def close(self) -> None:
        try:
            if not self.closed:
                os.fsync(self.fileno())
        finally:
            super().close()


def _make_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: str | Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _raise_unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


class Objects:
    """An object store: no folders, no renames, and a file is there once its last byte is."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver

    def size(self, at: str) -> int | None:
        try:
            found = self._driver.info(at)
        except FileNotFoundError:
            return None
        return int(found["size"]) if found["type"] == "file" else None

    def files(self, at: str) -> Iterator[str]:
        try:
            yield from (path for path in self._driver.find(at) if not path.endswith("/"))
        except FileNotFoundError:
            need_bucket(self._driver, at)

    def open_write(self, at: str) -> BinaryIO:
        self._make_folder(at)
        return cast(BinaryIO, _Upload(self._driver, at))

    def write_atomic(self, at: str, data: bytes) -> None:
        self._make_folder(at)
        self._driver.pipe_file(at, data)

    def create(self, at: str, data: bytes) -> bool:
        self._make_folder(at)
        folder, _, name = at.rpartition("/")
        return create_object(self._driver, at, data, probe=f"{folder}/{_partial_name(name)}")

    def move(self, source: str, at: str) -> None:
        self._make_folder(at)
        self._driver.cp_file(source, at)
        self._driver.rm_file(source)

    def remove(self, at: str) -> None:
        self._driver.rm_file(at)

    def remove_tree(self, at: str) -> None:
        self._driver.rm(at, recursive=True)

    def _make_folder(self, at: str) -> None:
        """SFTP and HDFS want real folders; S3 would ask for the right to make buckets."""
        if "s3" not in self._driver.protocol:
            self._driver.makedirs(at.rpartition("/")[0], exist_ok=True)


def need_bucket(driver: Any, at: str) -> None:
    """Raise FileNotFoundError where nothing was found at `at` because its bucket does not exist."""
    bucket = at.partition("/")[0]
    try:
        if bucket:
            driver.info(bucket)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"there is no bucket {bucket}") from error


class _Upload(io.RawIOBase):
    """Collects a file and sends it when closed; drivers' own streams publish a torn file when an error closes them."""

    def __init__(self, driver: Any, at: str) -> None:
        self._driver, self._at = driver, at
        # Unlinked from the start where it outgrows memory: a killed process leaves nothing.
        self._spool = tempfile.SpooledTemporaryFile(max_size=2 * BLOCK)  # noqa: SIM115  (closed with the stream)

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._spool.tell()

    def write(self, data: Any) -> int:
        return self._spool.write(data)

    def close(self) -> None:
        if self.closed:
            return
        try:
            self._spool.seek(0)
            stream = self._driver.open(self._at, "wb", block_size=BLOCK)
            try:
                shutil.copyfileobj(self._spool, stream, BLOCK)
                stream.close()
            except BaseException:
                stream.discard()
                stream.closed = True
                raise
        finally:
            self._abandon()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self._abandon()

    def __del__(self) -> None:
        self._abandon()

    def _abandon(self) -> None:
        self._spool.close()
        super().close()
