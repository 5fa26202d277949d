"""What a run tells while it works: frozen values that the command line prints, a service stores and tests collect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipeline.tasks import ShardReport


@dataclass(frozen=True)
class Started:
    """A segment of the recipe begins: how many shards there are, and the reports of those that an earlier attempt
    finished.
    """

    shards: int
    done: tuple[ShardReport, ...]
    after: str | None
    """The stage whose meeting came before."""


@dataclass(frozen=True)
class ShardDone:
    report: ShardReport


@dataclass(frozen=True)
class Working:
    """(records read, records kept) of shards that are being processed."""

    shards: dict[int, tuple[int, int]]


@dataclass(frozen=True)
class Exchanging:
    """A stage's meeting: tasks done of a phase."""

    stage: str
    phase: str
    done: int
    tasks: int


@dataclass(frozen=True)
class Packing:
    """Data parts written, of how many."""

    done: int
    parts: int


@dataclass(frozen=True)
class Finished:
    manifest: dict[str, Any]


Event = Started | ShardDone | Working | Exchanging | Packing | Finished
