"""Kept rows in a fixed random order over all shards: an exchange of rows by the record's own random number."""

from __future__ import annotations

import json
import secrets
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain

import numpy as np
import pyarrow as pa

from pipeline.exchange import Exchange, Hall, Source, Step
from pipeline.keys import record_keys
from pipeline.pack import DATA, part_path, published
from pipeline.store import Store
from pipeline.tasks import ATTEMPTS, DATA_GROUP_ROWS, KEPT, ShardReport
from pipeline.writer import Written, read_batches, write_all

_MADE = pa.schema([pa.field("part", pa.string())])  # Written as JSON
_ORDER = ("key", "shard_number", "offset", "ordinal")


@dataclass(frozen=True)
class _Kept:
    """A shard's kept rows."""

    shard: int
    path: str


def write_shuffled(
    hall: Hall, reports: Sequence[ShardReport], seed: int, shard_bytes: int
) -> Generator[Step, None, list[Written]]:
    """Write the kept rows of all shards into parts of about `shard_bytes`, those of a partition of `data/` among
    themselves. Which row goes where depends on the seed and on its place alone. Raises MeetingFailed.
    """
    made: list[Written] = []
    for number, folder in enumerate(sorted({name for report in reports for name in report.kept_files})):
        kept = [(report.number, report.kept_files[folder]) for report in reports if folder in report.kept_files]
        size, rows = sum(file.bytes for _, file in kept), sum(file.rows for _, file in kept)
        width = -(-(2**64) // max(1, -(-size // shard_bytes)))
        exchange = Exchange(
            name=f"shuffle.{number}",
            emit=partial(_emit, f"shuffle {seed}"),
            decide=partial(_write, folder, width),
            order=_ORDER,
            row_bytes=-(-size // max(1, rows)),
            bounds=tuple(range(width, 2**64, width)),
        )
        found = yield from hall.run(exchange, [Source(_Kept(shard, file.path), file.rows) for shard, file in kept])
        for table in hall.read(found.get("parts", [])):
            made += [Written.of(json.loads(part)) for part in table["part"].to_pylist()]
    return made


def _emit(seed: str, store: Store, kept: _Kept) -> Iterator[pa.Table]:
    for batch in read_batches(store, kept.path):
        numbers = np.full(batch.num_rows, kept.shard, np.uint32)
        table = pa.Table.from_batches([batch]).append_column("key", pa.array(record_keys(batch, seed)))
        yield table.append_column("shard_number", pa.array(numbers))


def _write(folder: str, width: int, store: Store, windows: Iterator[pa.Table]) -> Iterator[tuple[str, pa.Table]]:
    """One part; what is decided is what it is called, and what became of it."""
    first = next(windows)
    path = part_path(folder, first["key"][0].as_py() // width)
    attempt = f"{ATTEMPTS}/{path.replace('/', '.')}.{secrets.token_hex(6)}"
    batches = (batch for table in chain([first], windows) for batch in table.select(KEPT.names).to_batches())
    written = write_all(store, attempt, DATA, DATA_GROUP_ROWS, (published(batch) for batch in batches))
    store.move(attempt, path)
    made = Written(path, written.rows, written.bytes, written.sha256, written.groups)
    yield "parts", pa.table([[json.dumps(asdict(made))]], schema=_MADE)
