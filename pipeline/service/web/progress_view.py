"""What a job's progress snapshot says, in the shape that pages show it.

A snapshot lies in the output's store, where others may write: what does not look like one is None here, and numbers
that no run has come out as nothing. Its format is `pipeline.service.progress`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

MAX_SHARDS = 100_000
MAX_LISTED = 1_000
LEAST_SECONDS = 0.1
"""Snapshots have tenths of seconds: a rate from less says nothing."""
Seconds = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, lt=2**63)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Step(_Part):
    """How far the present step of a meeting is."""

    stage: str
    phase: str
    done: Count
    tasks: Count


class StageDrops(_Part):
    stage: str
    dropped: Count = 0
    failed: Count = 0
    seconds: Seconds = 0.0


class Failure(_Part):
    shard: str
    said: str


class Outcome(_Part):
    state: str
    said: str | None = None


class Snapshot(_Part):
    """The newest that the driver wrote."""

    phase: str = "planning"
    after: str | None = None
    shards: Count = 0
    shards_done: Count = 0
    """Those that will not be read again, also because they could not be."""
    states: Annotated[str, Field(max_length=MAX_SHARDS)] = ""
    read: Count = 0
    kept: Count = 0
    dropped: Count = 0
    failed: Count = 0
    rate: Seconds | None = None
    seconds_left: Seconds | None = None
    step: Step | None = None
    stages: Annotated[Sequence[StageDrops], Field(max_length=MAX_LISTED)] = ()
    failures: Annotated[Sequence[Failure], Field(max_length=MAX_LISTED)] = ()
    alarms: Annotated[Sequence[str], Field(max_length=MAX_LISTED)] = ()
    bytes: Count = 0
    outcome: Outcome | None = None

    @property
    def share_done(self) -> float | None:
        """Of the shards, 0 to 1; of a step where one is going on. None where it is not known."""
        if self.step is not None and self.step.tasks:
            return min(1.0, self.step.done / self.step.tasks)
        return min(1.0, self.shards_done / self.shards) if self.shards else None

    @property
    def kept_share(self) -> float | None:
        return self.kept / self.read if self.read else None

    @property
    def said(self) -> str:
        """The phase, for people."""
        if self.step is not None and self.step.tasks:
            return f"{self.step.stage}: {self.step.phase}"
        if self.phase == "shards":
            return "reading shards" if self.after is None else f"going on after {self.after}"
        return {"data": "writing data", "over": "over"}.get(self.phase, self.phase)


def read_snapshot(progress: Mapping[str, Any] | None) -> Snapshot | None:
    """None where there is none, or none that can be read."""
    if progress is None:
        return None
    try:
        return Snapshot.model_validate(progress)
    except ValidationError:
        return None


@dataclass(frozen=True)
class FunnelRow:
    """A stage: records that came, left and went on, and how many it saw in a second of its own (None: not measured)."""

    stage: str
    coming: int
    dropped: int
    failed: int
    rate: float | None

    @property
    def out(self) -> int:
        return self.coming - self.dropped - self.failed


def funnel(snapshot: Snapshot) -> list[FunnelRow]:
    """The stages in the order of the recipe. While shards are read, what is still inside counts as having gone on."""
    rows, coming = [], snapshot.read
    for stage in snapshot.stages:
        rate = coming / stage.seconds if stage.seconds >= LEAST_SECONDS else None
        rows.append(FunnelRow(stage.stage, coming, stage.dropped, stage.failed, rate))
        coming = max(0, rows[-1].out)
    return rows


MILESTONES = ("planning", "shards", "meetings", "data", "over")
"""What a run goes through; meetings only where its recipe has some, and after each of them shards again."""


def milestone(snapshot: Snapshot) -> str:
    """Which of MILESTONES a snapshot is at."""
    return snapshot.phase if snapshot.phase in MILESTONES else "meetings"
