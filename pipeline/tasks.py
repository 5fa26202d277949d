"""What is to be done with one input, and what became of it: the task of a worker, and the report that it leaves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from pipeline import assets
from pipeline.inputs import Input
from pipeline.spec import ParquetSource
from pipeline.store import Store
from pipeline.writer import Written
from stages.stage import RECORD, Stage

KEPT = pa.schema([f for f in RECORD if f.name != "payload"])
DATA_GROUP_ROWS = 1_000
REPORTS = ".work/shards"
ATTEMPTS = ".work/attempts"
MEETINGS = ".work/meetings"


@dataclass(frozen=True)
class Segment:
    """The stages `recipe[start:stop]`, of which the last is a meeting or the recipe's last; `reports` is the folder
    where their shards' reports lie.
    """

    start: int
    stop: int
    reports: str = REPORTS


@dataclass(frozen=True)
class ShardTask:
    """All that a worker needs to process one input."""

    number: int
    input: Input
    recipe: tuple[Stage, ...]
    pins: tuple[assets.Pin, ...]
    store: Store
    parquet: ParquetSource | None
    dropped_text: str
    partition_by: tuple[str, ...]
    segment: Segment
    before: ShardReport | None = None
    verdicts: str | None = None
    """What the meeting before this segment decided of this shard."""


@dataclass(frozen=True)
class ShardReport:
    """What became of one input. Where `unreadable` is set it could not be read to its end, and nothing of it counts.

    files: Written by kind (ledger, signals, dropped, and emitted where a meeting follows); kept_files: Written by
    partition, "" where there are none.
    """

    number: int
    shard: str
    bytes: int
    sha256: str = ""
    read: int = 0
    kept: int = 0
    dropped: int = 0
    failed: int = 0
    text_bytes: int = 0
    tokens: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)
    drops: list[list[Any]] = field(default_factory=list)
    languages: Mapping[str, list[int]] = field(default_factory=dict)
    hosts: Mapping[str, list[int]] = field(default_factory=dict)
    duplicates: Mapping[str, int] = field(default_factory=dict)
    damage: list[list[Any]] = field(default_factory=list)
    bytes_lost: int = 0
    files: Mapping[str, Written] = field(default_factory=dict)
    kept_files: Mapping[str, Written] = field(default_factory=dict)
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory: int = 0
    stage_seconds: Mapping[str, float] = field(default_factory=dict)
    unreadable: str | None = None


def read_report(store: Store, path: str) -> ShardReport:
    """The report of a shard that is done."""
    content = json.loads(store.read_bytes(path))
    for name in ("files", "kept_files"):
        content[name] = {kind: Written.of(file) for kind, file in content[name].items()}
    return ShardReport(**content)
