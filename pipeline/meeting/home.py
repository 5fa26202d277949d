"""Verdicts go home: to files of a few shards each, where the shards find their own."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence

import pyarrow as pa

from pipeline.emission import SHARD_BITS
from pipeline.exchange import Exchange, Hall, Rows, Source, Step, read_rows
from pipeline.meeting.exact import Emitted
from pipeline.store import Store
from stages.dedup.index import FIRST

SHARDS_TOGETHER = 64
"""Whose verdicts share a file, which each of them reads whole."""
PARTS_OF_INDEX = 64


def shard_bounds(emitted: Sequence[Emitted], index: bool = False) -> tuple[int, ...]:
    """First document numbers of partitions: groups of shards, behind them the numbers of an index."""
    last = max((each.shard for each in emitted), default=0)
    shards = [shard << SHARD_BITS for shard in range(SHARDS_TOGETHER, last + 1, SHARDS_TOGETHER)]
    parts = [FIRST + FIRST // PARTS_OF_INDEX * part for part in range(PARTS_OF_INDEX)] if index else []
    return (*shards, *parts)


def send_home(
    hall: Hall, verdicts: Sequence[Rows], emitted: Sequence[Emitted]
) -> Generator[Step, None, dict[int, str]]:
    """Each shard's file of verdicts; shards without one have nobody that was judged."""
    exchange = Exchange(
        name="home", emit=_by_document, decide=_as_they_come, order=("key",), row_bytes=96, bounds=shard_bounds(emitted)
    )
    files = (yield from hall.run(exchange, [Source(each, each.rows) for each in verdicts])).get("verdicts", [])
    homes = {file.partition: file.path for file in files}
    return {
        each.shard: homes[each.shard // SHARDS_TOGETHER] for each in emitted if each.shard // SHARDS_TOGETHER in homes
    }


def _by_document(store: Store, verdicts: Rows) -> Iterator[pa.Table]:
    for table in read_rows(store, verdicts):
        yield table.append_column("key", table["doc"])


def _as_they_come(store: Store, windows: Iterator[pa.Table]) -> Iterator[tuple[str, pa.Table]]:
    for window in windows:
        yield "verdicts", window.drop_columns(["key"])
