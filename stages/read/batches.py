"""Records in batches: from a reader's events, or from Parquet rows, to RECORD's columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from stages.read.events import Damage, Event, Skipped, WarcRecord
from stages.read.media import media_of, pdf_truncation
from stages.stage import RECORD

MAX_ROWS = 256
MAX_BYTES = 32 * 2**20


@dataclass(frozen=True)
class Read:
    """Some records in order, and what lay between them.

    `faults` [rows] names why a payload could not be decoded (see WarcRecord.fault), None where it could.
    """

    batch: pa.RecordBatch
    faults: list[str | None]
    skipped: Counter[str] = field(default_factory=Counter)
    damage: list[Damage] = field(default_factory=list)


def warc_batches(events: Iterable[Event], shard: str, dump: str) -> Iterator[Read]:
    """Batches of at most MAX_ROWS records, fewer where payloads are large."""
    rows: list[dict[str, Any]] = []
    faults: list[str | None] = []
    skipped: Counter[str] = Counter()
    damage: list[Damage] = []
    size = 0
    for event in events:
        if isinstance(event, Skipped):
            skipped[event.type] += 1
        elif isinstance(event, Damage):
            damage.append(event)
        else:
            rows.append(_row(event, shard, dump))
            faults.append(event.fault)
            size += len(event.payload)
        if len(rows) >= MAX_ROWS or size >= MAX_BYTES or len(damage) >= MAX_ROWS:
            yield Read(pa.RecordBatch.from_pylist(rows, schema=RECORD), faults, skipped, damage)
            rows, faults, skipped, damage, size = [], [], Counter(), [], 0
    if rows or skipped or damage:
        yield Read(pa.RecordBatch.from_pylist(rows, schema=RECORD), faults, skipped, damage)


def _row(record: WarcRecord, shard: str, dump: str) -> dict[str, Any]:
    media, mime = media_of(record)
    text = record.payload.decode("utf-8", "replace") if media == "text" else None
    return {
        "id": record.id,
        "url": record.url,
        "date": record.date,
        "dump": dump,
        "shard": shard,
        "offset": record.offset,
        "ordinal": record.ordinal,
        "media": media,
        "mime": mime,
        "status": record.status,
        "truncated": (record.truncated or pdf_truncation(record.payload)) if media == "pdf" else None,
        "charset": record.charset,
        "payload": None if text is not None else record.payload,
        "text": text,
    }
