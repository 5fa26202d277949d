"""What the API answers, as its OpenAPI document describes it. Field by field what the database has; no SQL here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from pipeline.service import cluster, jobs
from pipeline.service.jobs import State

LONG = ("states", "stages", "failures")
"""What a list of jobs leaves out of their progress: a letter for each shard, and the like."""
MAX_DEPTH = 50


class _View(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class JobSummary(_View):
    """A job, in a list of them."""

    id: str = Field(examples=["k3v9q2m7x1ab"])
    name: str
    team: str
    priority: int
    state: State
    output: str
    attempt: int = Field(description="0 before the first")
    created_at: datetime
    created_by: str = Field(description="the name of the token")
    started_at: datetime | None = Field(description="of the last attempt")
    finished_at: datetime | None
    changed_at: datetime = Field(description="when the state last changed")
    said: str | None = Field(description="why it is in this state, where there is something to say")
    progress: dict[str, JsonValue] | None = Field(
        description="how far it is; without states, stages and failures in a list of jobs"
    )
    progress_at: datetime | None
    run_id: str | None = Field(description="of the schedule's run that it is for")

    @classmethod
    def of(cls, job: jobs.Job) -> Self:
        progress = {name: value for name, value in (job.progress or {}).items() if name not in LONG}
        return cls.model_validate(replace(job, progress=job.progress and json_safe(progress)))


class JobDetail(JobSummary):
    """A job with all that is known of it."""

    spec: dict[str, JsonValue] = Field(description="the job, as it was checked and placed")

    @classmethod
    def whole(cls, job: jobs.Job, spec: Mapping[str, Any]) -> Self:
        return cls.model_validate(vars(job) | {"progress": json_safe(job.progress), "spec": json_safe(spec)})


class JobPage(_View):
    jobs: list[JobSummary] = Field(description="newest first")
    next: str | None = Field(description="the cursor of what follows; null at the end")


class EventView(_View):
    """Something that befell a job."""

    id: int
    at: datetime
    kind: str = Field(description="the state that was reached, or `note`")
    said: str


class EventPage(_View):
    events: list[EventView] = Field(description="oldest first")


class Plan(BaseModel):
    """What `crawlmill plan --json` prints; or, where planning took too long, why there is none."""

    model_config = ConfigDict(extra="allow")
    undecided: str | None = Field(None, description="the job can be submitted all the same")


class RecordPage(_View):
    """Records of a run, each as `crawlmill inspect --json` prints it."""

    records: list[dict[str, JsonValue]]
    next: str | None = Field(description="the cursor of what follows; null at the end, or where `said` says why")
    said: str | None = Field(description="why there may be more than were found; null where all were looked at")


class NodeView(_View):
    """A machine of the cluster; memory in bytes, of what Ray hands out."""

    address: str
    hostname: str
    head: bool
    alive: bool
    cpus: float
    memory: float
    cpus_used: float | None
    memory_used: float | None
    said: str


class ClusterState(_View):
    reachable: bool
    said: str | None = Field(description="why it is not reachable")
    nodes: list[NodeView]

    @classmethod
    def of(cls, nodes: Sequence[cluster.Node]) -> Self:
        return cls(reachable=True, said=None, nodes=[NodeView.model_validate(node) for node in nodes])


class Health(_View):
    """said: why it is not well."""

    ok: bool
    checks: Mapping[str, str | None] = Field(description="null where all is well, else what is wrong")


def json_safe(value: Any, depth: int = MAX_DEPTH) -> Any:
    """A value as JSON and UTF-8 have it, whoever wrote it: times in words, bytes as text, no half characters, null for
    numbers that are none, and an ellipsis for what is nested deeper than anything of ours.
    """
    if isinstance(value, Mapping | list | tuple) and not depth:
        return "…"
    if isinstance(value, Mapping):
        return {json_safe(str(name)): json_safe(each, depth - 1) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [json_safe(each, depth - 1) for each in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, int) else str(value)
