"""What the API answers about schedules and snapshots. Field by field what the database has; no SQL here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from pipeline.service.api.views import json_safe
from pipeline.service.scheduling.cron import Cron
from pipeline.service.scheduling.publication import Awaited
from pipeline.service.scheduling.scheduler import upcoming
from pipeline.service.scheduling.schedules import Stored
from pipeline.service.scheduling.snapshots import Listed


class _View(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class AwaitedView(_View):
    """A snapshot that is due, but not published where the job reads it."""

    occasion: str
    said: str = Field(description="what is looked for and not found")


class ScheduleSummary(_View):
    """A schedule, in a list of them."""

    name: str
    team: str
    trigger: dict[str, str | None] = Field(description="cron and zone; or snapshots and since")
    since: datetime = Field(description="what came before it does not count, unless the trigger says since when")
    next: datetime | None = Field(description="when it is due next, where that is known")
    waiting: int = Field(description="its runs that wait for a person")
    awaited: AwaitedView | None = Field(description="the snapshot that it waits for, and starts nothing before")
    paused: bool
    catch_up: bool
    retries: int
    retry_seconds: int
    priority: int
    created_at: datetime
    created_by: str

    @classmethod
    def of(cls, schedule: Stored, now: datetime, waiting: int, awaited: Awaited | None) -> Self:
        return cls.model_validate(_facts(schedule, now, waiting) | {"awaited": awaited})


class ScheduleDetail(ScheduleSummary):
    """A schedule with its job, as it was sent."""

    spec: dict[str, JsonValue]


class SchedulePage(_View):
    schedules: list[ScheduleSummary] = Field(description="by name")


class RunView(_View):
    """What a schedule made of an occasion."""

    occasion: str
    state: str = Field(description="active, complete, failed (tried again), waiting (for a person) or skipped")
    attempts: int
    job_id: str | None = Field(description="of the last attempt")
    started_at: datetime
    ended_at: datetime | None
    said: str | None = Field(description="why it has no job, waits, or was skipped")


class RunPage(_View):
    runs: list[RunView] = Field(description="the last begun first")


class FeedView(_View):
    """How asking for the list of snapshots went."""

    asked_at: datetime | None
    answered_at: datetime | None
    not_before: datetime | None
    failures: int
    said: str | None


class SnapshotView(_View):
    """A crawl snapshot. seen_at: null where it was there before anybody looked."""

    id: str
    name: str
    crawled_from: datetime | None
    crawled_to: datetime | None
    seen_at: datetime | None
    schedules: dict[str, str] = Field(description="by a schedule's name the state of its run, `due` or `missed`")

    @classmethod
    def of(cls, snapshot: Listed, standing: Mapping[str, str]) -> Self:
        return cls.model_validate({**vars(snapshot), "schedules": dict(standing)})


class SnapshotPage(_View):
    base: str
    feed: FeedView | None = Field(description="null before the first time")
    snapshots: list[SnapshotView] = Field(description="newest first")


def _facts(schedule: Stored, now: datetime, waiting: int) -> dict[str, Any]:
    trigger = schedule.trigger
    if isinstance(trigger, Cron):
        said: dict[str, str | None] = {"cron": trigger.expression, "zone": trigger.zone}
    else:
        said = {"snapshots": trigger.base, "since": trigger.since}
    due = None if schedule.paused else next(iter(upcoming(schedule, now, 1)), None)
    facts = {**vars(schedule), "trigger": said, "next": due, "waiting": waiting}
    return facts | {"spec": json_safe(schedule.spec)}
