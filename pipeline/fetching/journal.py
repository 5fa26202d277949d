"""What came of every URL that was asked, kept as it comes, so that nobody is asked twice though the run be killed.

So is what makes a host one to be left in peace, for a while or for good: it holds for later rounds, and for a run that
goes on. It decides what is asked, never what stored visits come to.

Hosts are dealt into `BINS` by their key, for good: a bin is what one task works on, and its journal is what that task
reads and writes. A journal is chunks: a file of bodies under `fetch/` and, written after it and atomically, a file
under `.work/fetch/` that names it and has a row for each visit. That a chunk has its rows is what "stored" means; a
chunk that was torn has none, and costs its own visits. Object stores cannot append, so no chunk grows once it is
closed.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

import pyarrow as pa

from pipeline.faults import StoreError
from pipeline.fetching.bodies import BodyPlace, body_member
from pipeline.store import Store
from pipeline.tasks import ATTEMPTS
from pipeline.writer import Written

BIN_BITS = 8
BINS = 2**BIN_BITS
JOURNAL = ".work/fetch"
FETCH = "fetch"

VISITS = pa.schema(
    [
        pa.field("key", pa.uint64()),  # of the host
        pa.field("check", pa.uint64()),  # of the URL
        pa.field("url", pa.string()),  # of a robots.txt, its origin; of a host, its name
        pa.field("what", pa.string()),  # page | robots | host
        pa.field("round", pa.int32()),
        pa.field("attempts", pa.int32()),  # requests made
        pa.field("status", pa.int32()),
        pa.field("reason", pa.string()),  # stages.fetch.faults.REASONS; null: a body, a redirect, a host that rests
        pa.field("location", pa.string()),
        pa.field("robots", pa.string()),  # the verdict
        pa.field("rules", pa.large_string()),  # of a robots.txt
        pa.field("final_url", pa.string()),  # where another output's body came from
        pa.field("earlier", pa.string()),  # that output
        pa.field("content_type", pa.string()),
        pa.field("bytes", pa.int64()),
        pa.field("sha256", pa.string()),
        pa.field("kind_differs", pa.bool_()),  # fetched, and no PDF
        pa.field("truncated", pa.string()),  # what the PDF's own structure says
        pa.field("seconds", pa.float64()),  # of a host: its rest from fetched_time on
        pa.field("fetched_at", pa.string()),
        pa.field("fetched_time", pa.float64()),  # of a robots.txt and a host: seconds since 1970
        pa.field("body_file", pa.string()),
        pa.field("body_offset", pa.int64()),
        pa.field("body_length", pa.int64()),
    ]
)


@dataclass(frozen=True)
class Chunks:
    """When a chunk is closed: by visits, by bytes of bodies, or by its age in seconds at the next visit."""

    visits: int = 500
    bytes: int = 64 * 2**20
    seconds: float = 30.0


CHUNKS = Chunks()


def bin_of(key: int) -> int:
    """The bin of a host's key."""
    return key >> (64 - BIN_BITS)


def first_keys() -> tuple[int, ...]:
    """Of all bins but the first: the bounds of an exchange whose partitions are bins."""
    return tuple(number << (64 - BIN_BITS) for number in range(1, BINS))


class Journal:
    """One bin's journal, to be written to. Leaving the `with` block by an exception, too, stores what was found."""

    def __init__(self, store: Store, number: int, chunks: Chunks) -> None:
        self._store, self._number, self._chunks = store, number, chunks
        self._rows: list[dict[str, Any]] = []
        self._bodies: _Bodies | None = None
        self._opened = 0.0

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: type[BaseException] | None, *raised: Any) -> None:
        if kind is None:
            self.close()
            return
        with suppress(StoreError):  # what was raised first says more
            self.close()

    def add(self, row: dict[str, Any], body: bytes | None = None) -> None:
        """Append a visit (columns of VISITS; those left out are null), with its body where it brought one worth
        keeping. Raises StoreError.
        """
        if not self._rows:
            self._opened = time.monotonic()
        if body is not None:
            if self._bodies is None:
                self._bodies = _Bodies(self._store, f"{self._number:03d}-{secrets.token_hex(8)}")
            try:
                row = row | asdict(self._bodies.add(row, body))
            except StoreError:  # the file may end in half a body: it is given up, with its visits
                self._rows, self._bodies = [], None
                raise
        self._rows.append(row)
        if len(self._rows) >= self._chunks.visits or (self._bodies and self._bodies.size >= self._chunks.bytes):
            self.close()
        else:
            self.close_if_old()

    def close_if_old(self) -> None:
        """Close the chunk when it has been open long enough."""
        if self._rows and time.monotonic() - self._opened >= self._chunks.seconds:
            self.close()

    def close(self) -> None:
        """Close the chunk, if any: from here on its visits are stored."""
        if not self._rows:
            return
        rows, bodies, self._rows, self._bodies = self._rows, self._bodies, [], None
        written = bodies.close() if bodies is not None else None
        name = bodies.name if bodies is not None else f"{self._number:03d}-{secrets.token_hex(8)}"
        schema = VISITS.with_metadata({"bodies": json.dumps(written and asdict(written))})
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, schema) as writer:
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
        self._store.write_atomic(f"{JOURNAL}/{self._number:03d}/{name}.arrow", sink.getvalue().to_pybytes())


class _Bodies:
    """A file of bodies that is being written."""

    def __init__(self, store: Store, name: str) -> None:
        self.name, self.size = name, 0
        self._store, self._rows, self._digest = store, 0, hashlib.sha256()
        self._attempt = f"{ATTEMPTS}/fetch.{name}.warc.gz"
        self._sink: BinaryIO = store.open_write(self._attempt)

    @property
    def path(self) -> str:
        return f"{FETCH}/bodies-{self.name}.warc.gz"

    def add(self, row: dict[str, Any], body: bytes) -> BodyPlace:
        member = body_member(row.get("final_url") or row["url"], row["fetched_at"], row["content_type"], body)
        self._sink.write(member)
        self._digest.update(member)
        place = BodyPlace(self.path, self.size, len(member))
        self.size += len(member)
        self._rows += 1
        return place

    def close(self) -> Written:
        self._sink.close()
        self._store.move(self._attempt, self.path)
        return Written(self.path, self._rows, self.size, self._digest.hexdigest(), ())


def read_visits(store: Store, number: int, columns: Sequence[str]) -> Iterator[pa.Table]:
    """The visits of a bin that are stored, chunk by chunk."""
    for path in store.list(f"{JOURNAL}/{number:03d}"):
        yield pa.ipc.open_file(pa.BufferReader(store.read_bytes(path))).read_all().select(list(columns))


def stored_bodies(store: Store) -> list[Written]:
    """The files of bodies that are stored."""
    found = []
    for path in store.list(JOURNAL):
        with store.open_read(path) as stream:  # of which its end is enough
            bodies = json.loads(pa.ipc.open_file(stream).schema.metadata[b"bodies"])
        if bodies is not None:
            found.append(Written.of(bodies))
    return sorted(found, key=lambda file: file.path)
