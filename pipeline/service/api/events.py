"""What befalls a job, as it happens: server-sent events (WHATWG HTML, section 9.2), or what there was so far as JSON.

Streams look at the database once a second. They hold no thread and no connection in between, and share few threads
among them, so that any number of people may watch while others work.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import anyio
import sqlalchemy as sa
from anyio import to_thread
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import JSONResponse
from sse_starlette import EventSourceResponse, JSONServerSentEvent, ServerSentEvent
from sse_starlette.sse import SendTimeoutError
from starlette.types import Receive, Scope, Send

from pipeline.service import jobs
from pipeline.service.api.callers import Reader, ServiceHere, share_of
from pipeline.service.api.jobs import JobId
from pipeline.service.api.problems import Problem, declared
from pipeline.service.api.views import EventPage, EventView, json_safe
from pipeline.service.jobs import Event, Job, NoSuchJob, State
from pipeline.service.service import Service

LOOK_SECONDS = 1.0
LIFETIME = 3_600.0
"""Seconds after which a stream ends and its reader has to come again, and show a token that is still good."""
AGAIN_MS = 2_000
"""A reader whose stream broke is asked to come again after so long."""
PING_SECONDS = 15
SEND_SECONDS = 30
"""A reader that takes nothing for so long has left."""
MAX_STREAMS = 500
OF_ONE = 20
"""Streams of one token, or of one address where there are no tokens."""
LOOKING = 4
"""Streams that look at the database side by side."""
MAX_EVENTS = 500
STREAM = "text/event-stream"
JSON = "application/json"

router = APIRouter(tags=["jobs"])


@router.get(
    "/jobs/{job_id}/events",
    response_class=EventSourceResponse,
    response_model=None,
    responses={
        200: {
            "description": "`state` and `note` with their ids, and `progress`, as they come; a list for who takes JSON",
            "content": {
                STREAM: {"schema": {"type": "string"}},
                JSON: {"schema": {"$ref": "#/components/schemas/EventPage"}},
            },
        },
        204: {"description": "The job is over, and nothing came after Last-Event-ID: no reason to come again"},
        **declared(404),
    },
)
async def events(
    request: Request,
    job_id: JobId,
    service: ServiceHere,
    caller: Reader,
    after: Annotated[int, Query(ge=0, lt=2**63, description="only what came after the event of this id")] = 0,
    last_event_id: Annotated[str | None, Header(pattern="^[0-9]{1,18}$", description="as `after`")] = None,
) -> Response:
    """What befell a job, and what does until it is over."""
    after = max(after, int(last_event_id or 0))
    streams: Streams = request.app.state.streams
    seen = await streams.look(service, job_id, after, None)
    accept = request.headers.get("accept", "")
    if JSON in accept and STREAM not in accept:
        page = EventPage(events=[EventView.model_validate(each) for each in seen.events])
        return JSONResponse(page.model_dump(mode="json"))
    if seen.job.state.over and after and not seen.events:
        return Response(status_code=204)
    whose = share_of(request, caller)
    if (said := streams.full(whose)) is not None:
        raise Problem(503, f"{said}; look at the job now and then", "busy", {"Retry-After": "30"})
    following = streams.follow(service, job_id, seen, after, whose)
    return Stream(following, ping=PING_SECONDS, sep="\n", send_timeout=SEND_SECONDS)


class Stream(EventSourceResponse):
    """One whose reader may leave without a word: that is no defect of ours."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with suppress(SendTimeoutError):
            await super().__call__(scope, receive, send)


@dataclass(frozen=True)
class Seen:
    """A look at a job: what happened since the one before, and its progress if that has changed."""

    job: Job
    events: list[Event]
    progress: Mapping[str, Any] | None
    progress_at: datetime | None


class Streams:
    """Those of one app: a limiter belongs to an event loop."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()
        self._threads = anyio.CapacityLimiter(LOOKING)

    def full(self, whose: str) -> str | None:
        """Why there is no room for one more of somebody's; None where there is."""
        if self._open[whose] >= OF_ONE:
            return f"{whose} watches {OF_ONE} times already"
        return f"{MAX_STREAMS} watch already" if self._open.total() >= MAX_STREAMS else None

    async def look(self, service: Service, job_id: str, after: int, known: datetime | None) -> Seen:
        """Raises NoSuchJob."""
        return await to_thread.run_sync(_look, service, job_id, after, known, limiter=self._threads)

    async def follow(
        self, service: Service, job_id: str, seen: Seen, after: int, whose: str
    ) -> AsyncIterator[ServerSentEvent]:
        """The events of a stream that begins with what was seen, which is what there is since the event `after`.

        It ends with the job, the service, or its time.
        """
        self._open[whose] += 1
        try:
            until = time.monotonic() + LIFETIME
            yield ServerSentEvent(comment="crawlmill", retry=AGAIN_MS)
            while True:
                for event in seen.events:
                    after = event.id
                    yield _sent(event)
                if seen.progress is not None:
                    yield JSONServerSentEvent(json_safe(seen.progress), event="progress")
                if seen.job.state.over and len(seen.events) < MAX_EVENTS:
                    return
                if service.stopping.is_set() or time.monotonic() > until:
                    return
                await anyio.sleep(LOOK_SECONDS)
                seen = await self.look(service, job_id, after, seen.progress_at)
        except (NoSuchJob, sa.exc.SQLAlchemyError):
            return  # its reader comes again, and hears then what is wrong
        finally:
            self._open[whose] -= 1
            if not self._open[whose]:
                del self._open[whose]


def _look(service: Service, job_id: str, after: int, known: datetime | None) -> Seen:
    with service.database.read() as connection:
        job = jobs.get(connection, job_id)
        progress = job.progress if job.progress_at != known else None
        return Seen(job, jobs.events_of(connection, job_id, after, MAX_EVENTS), progress, job.progress_at)


def _sent(event: Event) -> ServerSentEvent:
    kind = "state" if event.kind in list(State) else event.kind
    return JSONServerSentEvent(EventView.model_validate(event).model_dump(mode="json"), event=kind, id=str(event.id))
