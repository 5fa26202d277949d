"""The page about crawl snapshots: a calendar of those that are known, and what schedules made of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from pipeline.service.api.callers import Reader
from pipeline.service.scheduling import schedule_runs, schedules, snapshots
from pipeline.service.scheduling.scheduler import EverySnapshot, crawl_order
from pipeline.service.service import Service
from pipeline.service.web.calendar import STATES, calendar, foremost, states_of
from pipeline.service.web.rendering import page


def snapshots_page(service: Service) -> APIRouter:
    """The route."""
    router = APIRouter()

    @router.get("/snapshots")
    def all_snapshots(
        request: Request, caller: Reader, schedule: Annotated[str, Query(max_length=64)] = ""
    ) -> Response:
        base, now = f"{str(service.settings.crawl).rstrip('/')}/", datetime.now(UTC)
        with service.database.read() as connection:
            known = snapshots.known(connection, base)
            feed = snapshots.feed_of(connection, base)
            every = [each for each in schedules.everything(connection) if isinstance(each.trigger, EverySnapshot)]
            names = [each.name for each in every]
            every = [each for each in every if each.name == schedule] or every
            runs = {each.name: schedule_runs.runs_of(connection, each, schedule_runs.MAX_RUNS) for each in every}
        made = {each.name: states_of(each, runs[each.name], known, now) for each in every}
        of = {each.id: {name: states[each.id] for name, states in made.items() if each.id in states} for each in known}
        shown = {snapshot: foremost(states) for snapshot, states in of.items()}
        return page(
            request,
            "snapshots.html.j2",
            base=base,
            feed=feed,
            years=calendar(of),
            snapshots=sorted(known, key=lambda each: crawl_order(each.id), reverse=True),
            of=of,
            shown=shown,
            legend=[(state, n) for state in STATES if (n := list(shown.values()).count(state))],
            job_ids={(name, run.occasion): run.job_id for name, some in runs.items() for run in some},
            names=names,
            chosen=schedule if schedule in names else "",
        )

    return router
