"""Whether a snapshot is published to a schedule that is due to run for it, and what is looked for meanwhile.

It is when the source that the schedule's job names has the snapshot's `warc.paths.gz`: the website under `source.base`,
data.commoncrawl.org where that is Common Crawl's bucket, or a mirror in a folder, which may be days behind, or never
have it. Of another bucket, for which this process may have no credentials, it is taken as soon as it is listed. To ask
websites is the business of `snapshots`, to start what is published that of `schedule_loop`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from pipeline.http import HTTP
from pipeline.service.database import Database
from pipeline.service.scheduling import schedule_runs, snapshots
from pipeline.service.scheduling.scheduler import Decision, EverySnapshot, Snapshot, Start, decide
from pipeline.service.scheduling.schedules import Stored
from pipeline.spec import CommonCrawlSource, JobError, parse_job
from pipeline.store import local
from stages.read.commoncrawl import BUCKET, SITE, paths_list


@dataclass(frozen=True)
class Awaited:
    """A snapshot that a schedule would run for if it were published. said: what is looked for and not found."""

    occasion: str
    said: str


def due(connection: sa.Connection, every: Sequence[Stored], now: datetime) -> list[tuple[Stored, Decision]]:
    """What is to be done now for some schedules, published or not."""
    runs = schedule_runs.to_decide_on(connection, every, now)
    bases = {each.trigger.base for each in every if isinstance(each.trigger, EverySnapshot)}
    listed: list[Snapshot] = [each for base in sorted(bases) for each in snapshots.known(connection, base)]
    of = {each.id: each for each in every}
    return [
        (of[d.schedule_id if isinstance(d, Start) else d.run.schedule_id], d) for d in decide(now, every, runs, listed)
    ]


def awaited(database: Database, every: Sequence[Stored], data: str, now: datetime) -> dict[str, Awaited]:
    """What some schedules wait for, by the schedule's name; one that waits for no snapshot is not there.

    data: the folder in which relative paths of jobs begin. Mirrors may hang, so the database is not held meanwhile.
    """
    with database.read() as connection:
        coming = [
            (schedule.name, decision.occasion, address, snapshots.feed_of(connection, address))
            for schedule, decision in due(connection, every, now)
            if isinstance(decision, Start) and (address := address_of(schedule, decision, data)) is not None
        ]
    return {
        name: Awaited(occasion, said)
        for name, occasion, address, feed in coming
        if (said := _missing(address, feed)) is not None
    }


def address_of(schedule: Stored, decision: Decision, data: str) -> str | None:
    """A URL or a path that is there once the snapshot that is to be started is; None where nothing can tell."""
    if not isinstance(decision, Start) or not isinstance(schedule.trigger, EverySnapshot):
        return None
    try:
        source = parse_job(schedule.job(decision.occasion), schedule.name).source
        if not isinstance(source, CommonCrawlSource):
            return None
        base, below = source.base.rstrip("/") + "/", paths_list(source.snapshot)
        if base == BUCKET:
            base = SITE
        if base.startswith(HTTP):
            return base + below if len(base + below) <= snapshots.MAX_ADDRESS else None
        folder = local(base if "://" in base else os.path.join(data, base))
    except (JobError, ValueError):
        return None  # carrying it out will say so
    return str(folder / below) if folder is not None else None


def _missing(address: str, feed: snapshots.Feed | None) -> str | None:
    """Why a file is not taken to be there, as far as anybody has looked; None where it is."""
    if not address.startswith(HTTP):
        return None if os.path.isfile(address) else f"there is no {address}"
    if feed is None or feed.asked_at is None:
        return f"{address} has not been asked for yet"
    if feed.answered_at is not None:
        return None
    return feed.said or f"there was no {address} when it was asked for last, on {feed.asked_at:%Y-%m-%d %H:%M} UTC"
