"""What the service answers, as its clients read it: frozen, checked, and open to fields of newer services."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict

OVER = frozenset({"complete", "failed", "cancelled"})


class _Answer(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)


class Step(_Answer):
    stage: str
    phase: str
    done: int
    tasks: int


class StageCount(_Answer):
    stage: str
    dropped: int = 0
    failed: int = 0
    seconds: float = 0.0


class Failure(_Answer):
    shard: str
    said: str


class Progress(_Answer):
    """A snapshot that a job's driver wrote; what its fields mean stands in `pipeline.service.progress`."""

    phase: str = ""
    after: str | None = None
    shards: int = 0
    shards_done: int = 0
    shards_failed: int = 0
    read: int = 0
    kept: int = 0
    dropped: int = 0
    failed: int = 0
    rate: float | None = None
    seconds_left: float | None = None
    step: Step | None = None
    stages: tuple[StageCount, ...] = ()
    failures: tuple[Failure, ...] = ()
    alarms: tuple[str, ...] = ()


class Job(_Answer):
    id: str
    name: str
    state: str
    output: str
    team: str = ""
    priority: int = 0
    attempt: int = 0
    created_at: AwareDatetime
    created_by: str = ""
    changed_at: AwareDatetime
    started_at: AwareDatetime | None = None
    finished_at: AwareDatetime | None = None
    said: str | None = None
    progress: Progress | None = None

    @property
    def over(self) -> bool:
        return self.state in OVER


class JobPage(_Answer):
    jobs: tuple[Job, ...]
    next: str | None = None


class JobEvent(_Answer):
    """kind: the state that was reached, or `note`."""

    at: AwareDatetime
    kind: str
    said: str = ""


class Awaited(_Answer):
    """A snapshot that is due, but not published where the job reads it. said: what is looked for and not found."""

    occasion: str
    said: str = ""


class Schedule(_Answer):
    name: str
    team: str = ""
    trigger: Mapping[str, Any]
    catch_up: bool = False
    retries: int = 0
    retry_seconds: int = 0
    priority: int = 0
    paused: bool = False
    waiting: int = 0
    """Its runs that wait for a person."""
    awaited: Awaited | None = None
    next: AwareDatetime | None = None
    spec: Mapping[str, Any] = {}


class ScheduleRun(_Answer):
    """One occasion of a schedule. state: active, complete, failed (is tried again), waiting (for a person), skipped."""

    occasion: str
    state: str
    attempts: int = 0
    job_id: str | None = None
    started_at: AwareDatetime | None = None
    ended_at: AwareDatetime | None = None
    said: str | None = None


class Snapshot(_Answer):
    """seen_at: None where it was there before anybody looked; schedules: by name what became of it."""

    id: str
    crawled_from: AwareDatetime | None = None
    crawled_to: AwareDatetime | None = None
    seen_at: AwareDatetime | None = None
    schedules: Mapping[str, str] = {}


class Feed(_Answer):
    """How asking for the list of snapshots went; failures: one after the other."""

    failures: int = 0
    said: str | None = None


class SnapshotPage(_Answer):
    base: str
    feed: Feed | None = None
    snapshots: tuple[Snapshot, ...]
