"""The service as a program elsewhere speaks to it: a method for each thing that it does.

What goes wrong is a ServiceError, in the service's own line where it gave one (`pipeline.client.connection`).
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, ValidationError

from pipeline.client.answers import Job, JobPage, Schedule, ScheduleRun, SnapshotPage
from pipeline.client.connection import WAITS, Connection, Refused, Waits
from pipeline.client.event_stream import BrokenStream, ServerEvent, read_events

RECENT = 200
"""Jobs among which a part of an id, or a name, is looked for; also what a page holds at most."""
MIN_PREFIX = 4
JSON = {"Content-Type": "application/json"}

_ID, _NAME = re.compile("[a-z2-7]{12}"), re.compile("[A-Za-z0-9._-]{1,128}")
"""What ids of jobs are made of, and names."""

_Model = TypeVar("_Model", bound=BaseModel)


class Client:
    """What a service does, at `server` and allowed by `token`. Every method raises ServiceError.

    tell: gets a line where something takes longer.
    """

    def __init__(
        self,
        server: str,
        token: str | None = None,
        tell: Callable[[str], None] = lambda line: None,
        waits: Waits = WAITS,
    ) -> None:
        self._connection = Connection(server, token, tell, waits)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *raised: object) -> None:
        self._connection.close()

    def page(self, job_id: str, *more: str) -> str:
        """Where people look at a job."""
        return "/".join([self._connection.server, "jobs", job_id, *more])

    def submit(self, spec: Mapping[str, Any], priority: int = 0) -> Job:
        """Queue a self-contained job: once, however often the request had to be repeated."""
        headers, params = {"Idempotency-Key": secrets.token_hex(16)}, {"priority": priority}
        return self._get(Job, "/jobs", "POST", again=True, content=_json(spec), headers=JSON | headers, params=params)

    def job(self, job_id: str) -> Job:
        return self._get(Job, f"/jobs/{quote(job_id, '')}")

    def jobs(
        self,
        states: Sequence[str] = (),
        team: str | None = None,
        name: str | None = None,
        limit: int | None = None,
    ) -> Iterator[Job]:
        """Jobs, newest first. name: a part of it; limit: None for all there are."""
        wanted = {"state": list(states), "team": team, "name": name}
        params: dict[str, Any] = {key: value for key, value in wanted.items() if value}
        met: set[str] = set()
        while limit is None or limit > 0:
            size = RECENT if limit is None else min(limit, RECENT)
            page = self._get(JobPage, "/jobs", params={**params, "limit": size})
            yield from page.jobs[:size]
            if page.next is None or page.next in met or not page.jobs:
                return
            met.add(page.next)
            params["cursor"] = page.next
            limit = None if limit is None else limit - len(page.jobs)

    def find(self, words: str) -> Job:
        """The job of an id or, of the recent ones, the only one of that name or whose id begins so."""
        if _ID.fullmatch(words):
            try:
                return self.job(words)
            except Refused as refused:
                if refused.status != 404:
                    raise
        known = _NAME.fullmatch(words) is not None
        found = [job for job in self.jobs(name=words, limit=RECENT) if job.name == words] if known else []
        if known and not found and len(words) >= MIN_PREFIX:
            found = [job for job in self.jobs(limit=RECENT) if job.id.startswith(words)]
        if len(found) == 1:
            return self.job(found[0].id)  # a list leaves out a part of the progress
        if not found:
            raise Refused(f"no job {words!r}, by id or name; `crawlmill jobs` lists them", 404)
        some = ", ".join(f"{job.id} ({job.state})" for job in found[:3]) + " …" * (len(found) > 3)
        raise Refused(f"{words!r} stands for {len(found)} jobs; name one by its id: {some}")

    def cancel(self, job_id: str) -> Job:
        return self._get(Job, f"/jobs/{quote(job_id, '')}/cancel", "POST")

    def retry(self, job_id: str) -> Job:
        return self._get(Job, f"/jobs/{quote(job_id, '')}/retry", "POST")

    def log(self, job_id: str, tail: int | None = None) -> str:
        """What a job's driver printed, or its last lines."""
        headers = {"Accept": "text/plain, application/problem+json"}
        params = {} if tail is None else {"tail": tail}
        return self._connection.ask(f"/jobs/{quote(job_id, '')}/logs", params=params, headers=headers).decode(
            "utf-8", "replace"
        )

    def events(self, job_id: str, last_id: str = "") -> Iterator[ServerEvent]:
        """A job's events after `last_id` as they happen, until the stream ends."""
        path, headers = f"/jobs/{quote(job_id, '')}/events", {"Last-Event-ID": last_id} if last_id else {}
        with self._connection.stream(path, "text/event-stream", headers) as chunks:
            try:
                yield from read_events(chunks, last_id)
            except BrokenStream as error:
                raise self._connection.stranger(f"GET {path} with {error}") from error

    def add_schedule(self, schedule: Mapping[str, Any]) -> Schedule:
        return self._get(Schedule, "/schedules", "POST", content=_json(schedule), headers=JSON)

    def schedules(self) -> list[Schedule]:
        return self._list(Schedule, "/schedules", "schedules")

    def schedule(self, name: str) -> Schedule:
        return self._get(Schedule, _schedule(name))

    def remove_schedule(self, name: str) -> None:
        self._connection.ask(_schedule(name), "DELETE")

    def pause_schedule(self, name: str) -> Schedule:
        return self._get(Schedule, f"{_schedule(name)}/pause", "POST", again=True)

    def resume_schedule(self, name: str) -> Schedule:
        return self._get(Schedule, f"{_schedule(name)}/resume", "POST", again=True)

    def runs(self, name: str) -> list[ScheduleRun]:
        return self._list(ScheduleRun, f"{_schedule(name)}/runs", "runs")

    def retry_run(self, name: str, occasion: str) -> ScheduleRun:
        return self._get(ScheduleRun, f"{_schedule(name)}/runs/{quote(occasion, '')}/retry", "POST")

    def skip_run(self, name: str, occasion: str) -> ScheduleRun:
        return self._get(ScheduleRun, f"{_schedule(name)}/runs/{quote(occasion, '')}/skip", "POST")

    def snapshots(self) -> SnapshotPage:
        return self._get(SnapshotPage, "/snapshots")

    def _get(self, model: type[_Model], path: str, method: str = "GET", **request: Any) -> _Model:
        return self._read(model, self._connection.document(path, method, **request), f"{method} {path}")

    def _list(self, model: type[_Model], path: str, key: str) -> list[_Model]:
        document = self._connection.document(path)
        entries = document.get(key) if isinstance(document, dict) else None
        if not isinstance(entries, list):
            raise self._connection.stranger(f"GET {path} without {key}")
        return [self._read(model, entry, f"GET {path}") for entry in entries]

    def _read(self, model: type[_Model], content: Any, asked: str) -> _Model:
        try:
            return model.model_validate(content)
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            where = ".".join(str(step) for step in fault["loc"]) or "all of it"
            raise self._connection.stranger(f"{asked} with what cannot be read ({where})") from error


def _json(content: Mapping[str, Any]) -> bytes:
    """A request's body. NaN and the infinities go as Python writes them: the service names the place in its refusal."""
    return json.dumps(content).encode()


def _schedule(name: str) -> str:
    return f"/schedules/{quote(name, '')}"
