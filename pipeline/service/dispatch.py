"""Jobs from the queue to the cluster, and what becomes of them there.

Any number of servers may do this side by side. Who starts is decided in one transaction (`admission`); what follows is
asked of the cluster under a name that was chosen there, so a server that dies in between, or does what another has done
already, does no harm: Ray takes a name once. What a cluster forgot (its head began anew) is queued again.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import shlex
import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import sqlalchemy as sa

from pipeline.engine.installed import installed
from pipeline.faults import StoreError
from pipeline.patience import Patience, Terms
from pipeline.service import jobs
from pipeline.service.admission import admitted
from pipeline.service.cluster import Attempt, Cluster, ClusterFault, Status
from pipeline.service.database import Database
from pipeline.service.jobs import Job, State
from pipeline.service.progress import SUBMITTED, read_progress
from pipeline.service.settings import Settings
from pipeline.store import Store

LOOK_SECONDS = 1.0
HICCUP_SECONDS = 5.0
AT_ONCE = 8
"""Jobs that are looked after side by side: storage that hangs holds up its own job."""
MAX_LOST = 3
"""Attempts, one soon after the other, that end with the cluster rather than by themselves."""
LONG = timedelta(hours=1)
"""An attempt that lasted so long did well, however it ended."""
LAST_OWN_EXIT = 128
"""A shell adds the signal that killed a program to this."""
SILENT = timedelta(seconds=30)
"""So long after its last sign of life a driver that the cluster does not know is taken to be gone."""
GONE = timedelta(minutes=10)
"""So long after it was cancelled, and after its driver's last sign of life, a job is over though its cluster does not
answer.
"""
TAKEN_OVER = timedelta(seconds=20)
"""So long after it was admitted a job that has not started is another server's to start."""

TERMS = Terms(patience=300.0)
"""How long storage that does not take a job's order is asked again, before the job fails."""
LASTING = (FileExistsError, FileNotFoundError, NotADirectoryError, PermissionError)
"""What storage refuses with that waiting does not mend: a file in the way, no such bucket, no right to write."""

log = logging.getLogger("crawlmill.dispatch")


class Dispatcher:
    """Starts what waits and follows what runs."""

    def __init__(self, settings: Settings, database: Database, cluster: Cluster, terms: Terms = TERMS) -> None:
        self._settings, self._database, self._cluster, self._terms = settings, database, cluster, terms
        self._pool = ThreadPoolExecutor(AT_ONCE, "dispatch")
        self._underway: dict[str, Future[None]] = {}
        self._installed = cache(installed)
        self._storage = {"data": str(settings.data), "policy": settings.storage.model_dump(mode="json")}
        self._mine: set[tuple[str, int]] = set()
        """Attempts that this server admitted."""
        self._refused: dict[tuple[str, int], tuple[Patience, float]] = {}
        """Attempts whose order storage did not take: the patience that is left, and when it is asked again."""

    def run(self, stop: threading.Event) -> None:
        """Go on until told to stop. A database that is away for a while is waited for."""
        while not stop.is_set():
            try:
                self.once()
                seconds = LOOK_SECONDS
            except sa.exc.SQLAlchemyError as error:
                log.error("database: %s", _one_line(error))
                seconds = HICCUP_SECONDS
            stop.wait(seconds)
        self._pool.shutdown(cancel_futures=True)

    def once(self) -> None:
        """Admit what may start, and see after what has."""
        with self._database.alone("dispatch") as connection:
            now = datetime.now(UTC)
            for job in admitted(jobs.active(connection), self._settings.limits):
                begun = jobs.move(
                    connection, job, State.STARTING, attempt=job.attempt + 1, started_at=now, progress=None
                )
                if begun is not None:
                    self._mine.add((begun.id, begun.attempt))
        with self._database.read() as connection:
            going = [job for job in jobs.active(connection) if job.state != State.QUEUED]
        starting = {(job.id, job.attempt) for job in going if job.state == State.STARTING}
        self._mine &= starting
        for gone in set(self._refused) - starting:
            self._refused.pop(gone, None)
        self._underway = {job_id: look for job_id, look in self._underway.items() if not look.done()}
        for job in going:
            if job.id not in self._underway:
                self._underway[job.id] = self._pool.submit(self._see_after, job)

    def settle(self) -> None:
        """Return when all that is being looked at has been."""
        wait(self._underway.values())

    def _see_after(self, job: Job) -> None:
        try:
            self.follow(job)
        except ClusterFault as error:
            self._say(job, str(error))
        except sa.exc.SQLAlchemyError as error:
            log.error("job %s: database: %s", job.id, _one_line(error))
        except Exception:  # a defect costs this look at this job, and is seen in the log
            log.exception("job %s", job.id)

    def follow(self, job: Job) -> None:
        """Bring a job that was admitted one step further. Raises ClusterFault."""
        if job.state == State.STARTING:
            if (job.id, job.attempt) in self._mine or _ago(job.changed_at) > TAKEN_OVER:
                self._start(job)
            return
        try:
            attempt = self._cluster.attempt(job.submission_id)
        except ClusterFault as fault:
            if job.state != State.CANCELLING:
                raise
            self._cancel_unreached(self._hear(job), fault)
            return
        job = self._hear(job)
        if job.state == State.CANCELLING:
            self._cancel(job, attempt)
        elif attempt is None:
            if _silent(job):
                self._lost(job, "the cluster knows nothing of it any more")
        elif attempt.status.over:
            self._over(job, attempt)
        elif job.said is not None:  # what was wrong with the cluster no longer is
            self._say(job, None)

    def _start(self, job: Job) -> None:
        if not self._order(job):
            return
        entrypoint = [self._settings.python, "-m", "pipeline.service.driver", job.output, job.submission_id]
        most = self._settings.max_requests_per_second
        environment = {"CRAWLMILL_MAX_REQUESTS_PER_SECOND": str(most)} if most is not None else {}
        self._cluster.submit(job.submission_id, f"exec {shlex.join(entrypoint)}", environment)
        if self._move(job, State.RUNNING) is None and not self._wanted(job):  # cancelled meanwhile
            self._end(job)

    def _order(self, job: Job) -> bool:
        """Write down what an attempt's driver is to do. False where storage does not take it: it is asked again later,
        or the job has failed.
        """
        attempt = (job.id, job.attempt)
        patience, again = self._refused.get(attempt) or (Patience(self._terms, job.submission_id), -math.inf)
        if self._terms.clock() < again:
            return False
        with self._database.read() as connection:
            spec = jobs.spec_of(connection, job.id)
        given = {"job": spec, "installed": self._installed(), "storage": self._storage}
        store = Store(job.output)
        try:
            if self._wanted(job):  # and no other: a driver that nobody could reach ends without its order
                for left in set(store.list(SUBMITTED)) - {_file(job)}:
                    store.remove(left)
            store.write_atomic(_file(job), json.dumps(given, ensure_ascii=False).encode())
        except (StoreError, ValueError) as error:
            if self._cluster.attempt(job.submission_id) is not None:  # another server had come so far
                return True
            seconds = patience.wait(0.0) if not isinstance(error.__cause__, LASTING) else None
            if seconds is None:
                self._move(job, State.FAILED, f"output.path: {error}")
            else:
                self._refused[attempt] = patience, self._terms.clock() + seconds
                self._say(job, f"output.path: {error}; storage is asked again for some minutes")
            return False
        self._refused.pop(attempt, None)
        return True

    def _wanted(self, job: Job) -> bool:
        """Whether an attempt is still to go on, whoever noted that it does."""
        try:
            with self._database.read() as connection:
                now = jobs.get(connection, job.id)
        except jobs.NoSuchJob:
            return False
        return now.attempt == job.attempt and now.state in (State.STARTING, State.RUNNING)

    def _end(self, job: Job) -> None:
        """See that nothing of an attempt goes on: Ray stops it, and a driver ends that does not find its file."""
        self._take_back(job)
        self._cluster.stop(job.submission_id)

    def _take_back(self, job: Job) -> None:
        """Remove an attempt's order. Where storage is away, the next that starts in this output does."""
        with contextlib.suppress(StoreError):
            Store(job.output).remove(_file(job))

    def _hear(self, job: Job) -> Job:
        """Store the driver's last word, if there is a new one. The job stays as it was read, but for that."""
        try:
            progress = read_progress(Store(job.output), job.submission_id)
        except StoreError as error:  # it is read again in a moment; the driver has storage of its own to complain of
            self._say(job, f"progress: {error}")
            return replace(job, said=None)  # what was just said is not taken back by the same look
        if progress is None or (job.progress or {}).get("at") == progress.get("at"):
            return job
        now = datetime.now(UTC)
        with self._database.write() as connection:
            jobs.keep_progress(connection, job, progress, now)
        return replace(job, progress=progress, progress_at=now)

    def _cancel(self, job: Job, attempt: Attempt | None) -> None:
        if attempt is not None and not attempt.status.over:
            self._end(job)
        elif attempt is not None and attempt.status == Status.SUCCEEDED:
            self._move(job, State.COMPLETE, "finished before it could be cancelled")
        elif attempt is not None or _silent(job):
            self._end(job)
            self._move(job, State.CANCELLED, self._why_cancelled(job))

    def _cancel_unreached(self, job: Job, fault: ClusterFault) -> None:
        """Cancel by what is left where the cluster does not answer: a driver without its order ends by itself."""
        self._take_back(job)
        if _silent(job, GONE):
            said = f"the cluster was not reached ({fault}), so what it ran of this job may still run there"
            self._move(job, State.CANCELLED, f"{self._why_cancelled(job)}; {said}")
        else:
            minutes = GONE // timedelta(minutes=1)
            self._say(job, f"{fault}; if it stays away, the job is over when its driver was silent for {minutes} min")

    def _why_cancelled(self, job: Job) -> str:
        """Who cancelled a job, whatever has been said of its cluster since."""
        with self._database.read() as connection:
            return jobs.said_last(connection, job, State.CANCELLING)

    def _over(self, job: Job, attempt: Attempt) -> None:
        """What came of an attempt, by its own word where it left one."""
        outcome = (job.progress or {}).get("outcome") or {}
        said = str(outcome.get("said") or "")
        if attempt.status == Status.STOPPED:
            self._move(job, State.CANCELLED, "stopped at the cluster")
        elif attempt.status == Status.SUCCEEDED:
            self._move(job, State.COMPLETE, said or None, lost=0)
        elif outcome.get("state") == "failed":
            self._move(job, State.FAILED, said)
        elif outcome.get("state") == "interrupted" or not 0 <= (attempt.exit_code or -1) <= LAST_OWN_EXIT:
            self._lost(job, _last_line(attempt.message))
        else:
            self._move(job, State.FAILED, _last_line(attempt.message))

    def _lost(self, job: Job, why: str) -> None:
        """An attempt that the cluster ended: the job goes on where it ended, unless that is how all of them end."""
        self._end(job)
        lost = job.lost + 1 if job.started_at is None or _ago(job.started_at) < LONG else 1
        if lost >= MAX_LOST:
            self._move(job, State.FAILED, f"{lost} attempts were lost, the last: {why}")
        else:
            self._move(job, State.QUEUED, f"attempt {job.attempt} was lost: {why}", lost=lost)

    def _move(self, job: Job, state: State, said: str | None = None, **more: Any) -> Job | None:
        with self._database.write() as connection:
            return jobs.move(connection, job, state, said, **more)

    def _say(self, job: Job, said: str | None) -> None:
        if said != job.said:
            with self._database.write() as connection:
                jobs.say(connection, job, said)


def _file(job: Job) -> str:
    """Where an attempt's driver finds what to do."""
    return f"{SUBMITTED}/{job.submission_id}.json"


def _ago(then: datetime) -> timedelta:
    """How far off a time is; one that is to come was noted by a clock that is ahead."""
    return abs(datetime.now(UTC) - then)


def _silent(job: Job, long: timedelta = SILENT) -> bool:
    """Whether a driver, if there is one, has said nothing for so long that there is none."""
    return min(_ago(job.changed_at), _ago(job.progress_at or job.changed_at)) > long


def _one_line(error: sa.exc.SQLAlchemyError) -> str:
    return " ".join(str(getattr(error, "orig", None) or error).split())[:300]


def _last_line(message: str) -> str:
    """Ray's message has the end of the job's output below it."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    if not lines:
        return "the driver died"
    return lines[0] if len(lines) == 1 else f"{lines[-1][:500]} ({lines[0][:200]})"
