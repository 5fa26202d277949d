"""What the API and the pages are made of: the settings, the database, the cluster, and how both submit a job.

No HTTP here.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import sqlalchemy as sa

from pipeline.service import jobs
from pipeline.service.cluster import Node, is_loopback
from pipeline.service.database import Database
from pipeline.service.jobs import Submission
from pipeline.service.planning import Undecided, check, plan_in_child
from pipeline.service.policy import Storage
from pipeline.service.settings import Settings
from pipeline.service.tokens import Caller
from pipeline.spec import Job, JobError

_RACES = 3
"""Times that others may be faster in taking an output or a key, each of which leaves something to answer with."""


class QueueFull(RuntimeError):
    """As many jobs wait as may: one line."""


class ClusterView(Protocol):
    """What requests want of the cluster (`pipeline.service.cluster.Cluster`). `logs` and `nodes` raise ClusterFault."""

    def logs(self, submission_id: str) -> str | None: ...

    def nodes(self) -> Sequence[Node]: ...

    def fault(self) -> str | None: ...


@dataclass(frozen=True)
class Service:
    """One process's view of the service."""

    settings: Settings
    database: Database
    cluster: ClusterView
    stopping: threading.Event = field(default_factory=threading.Event)
    """Set when the process is about to end: what would go on for ever ends then."""

    @property
    def on_loopback(self) -> bool:
        """Only this machine can reach it, so it needs no tokens as long as there are none."""
        return is_loopback(self.settings.host)

    @cached_property
    def storage(self) -> Storage:
        """What jobs may name. Raises ValueError for a data folder that cannot be one."""
        return Storage(self.settings.data, self.settings.storage)

    def check(self, content: object) -> Job:
        """A job as it was sent, checked, with its places as the operator allows them. Raises JobError."""
        return check(content, self.storage)

    def plan(self, content: object) -> dict[str, Any]:
        """What a job would read; or, under `undecided`, why that is not known. Raises JobError."""
        try:
            return plan_in_child(self.check(content), self.storage)
        except Undecided as reason:
            return {"undecided": str(reason)}

    def submit(
        self, content: object, caller: Caller, priority: int = 0, key: str | None = None
    ) -> tuple[jobs.Job, bool]:
        """Queue a job for the caller's team; False where its Idempotency-Key had been used for the same before.

        Raises JobError, Conflict (`pipeline.service.jobs`) and QueueFull.
        """
        job = self.check(content)
        if job.output.path is None:
            raise JobError("job: output.path: missing; name a folder there")
        spec = job.model_dump(mode="json", exclude_unset=True)
        given = Submission(job.name, caller.team, caller.name, spec, job.output.path, priority)
        for race in range(1, _RACES + 1):
            try:
                with self.database.write() as connection:
                    if key is not None:
                        made, first = jobs.submit_once(connection, given, key)
                    else:
                        made, first = jobs.submit(connection, given), True
                    if first:
                        self.leave_room(connection, caller.team)
                    return made, first
            except sa.exc.IntegrityError:  # what another transaction took meanwhile can be seen now
                if race == _RACES:
                    raise
        raise AssertionError

    def leave_room(self, connection: sa.Connection, team: str) -> None:
        """Raises QueueFull where more jobs wait, now that one of the team was queued, than may."""
        limits, (every, mine) = self.settings.limits, jobs.waiting(connection, team)
        if every > limits.queued:
            said = f"{limits.queued} jobs wait already (setting limits.queued)"
        elif mine > limits.queued_per_team:
            said = f"{limits.queued_per_team} jobs of team {team} wait already (setting limits.queued_per_team)"
        else:
            return
        raise QueueFull(f"{said}; try again when some have started")
