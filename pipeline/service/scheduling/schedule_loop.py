"""The loop that makes schedules happen: looks for new snapshots, decides what is due, carries it out.

Any number of servers may do this side by side: what is decided and what is done about it are one transaction, and
nothing is remembered between two looks. Looking for snapshots has a thread of its own, so that a website that is slow
to answer holds up no clock. When a snapshot is published to a schedule is said in `publication`.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

import httpx
import sqlalchemy as sa

from pipeline.http import HTTP
from pipeline.service.database import Database
from pipeline.service.scheduling import publication, schedule_runs, schedules, snapshots
from pipeline.service.scheduling.collinfo import FeedFault, new_client
from pipeline.service.scheduling.scheduler import Decision
from pipeline.service.scheduling.schedules import Check, Stored
from pipeline.service.settings import Settings

LOOK_SECONDS = 1.0
HICCUP_SECONDS = 5.0

log = logging.getLogger("crawlmill.schedules")


class Scheduler:
    """Starts what schedules are due to start. check: what an operator makes of a job (`schedules.Check`)."""

    def __init__(self, settings: Settings, database: Database, check: Check) -> None:
        self._settings, self._database, self._check = settings, database, check
        self._crawl = str(settings.crawl).rstrip("/") + "/"
        self._every = timedelta(seconds=settings.poll_seconds)

    def run(self, stop: threading.Event) -> None:
        """Go on until told to stop. A database that is away for a while is waited for."""
        with new_client() as client:
            poller = threading.Thread(target=self._repeat, args=(lambda now: self.poll(now, client), stop), name="poll")
            poller.start()
            try:
                self._repeat(self.act, stop)
            finally:
                poller.join()

    def once(self, now: datetime) -> None:
        """All that there is to do at a moment."""
        with new_client() as client:
            self.poll(now, client)
        self.act(now)

    def poll(self, now: datetime, client: httpx.Client) -> None:
        """Look for new snapshots where a schedule wants them, and whether those that are due are published."""
        with self._database.read() as connection:
            wanted = schedules.any_follows(connection, self._crawl)
        if not wanted:
            return
        try:
            new = snapshots.poll(self._database, self._crawl, client, self._every, now)
            if new:
                log.info("%s lists %s%s", self._crawl, ", ".join(new[:3]), f" and {len(new) - 3} more" * (len(new) > 3))
        except FeedFault as fault:
            log.warning("%s", fault)
        with self._database.read() as connection:
            asked = {address for address in self._addresses(self._due(connection, now)) if address.startswith(HTTP)}
            asked -= snapshots.found(connection, asked)
        for address in sorted(asked):
            try:
                snapshots.look_for(self._database, address, client, self._every, now)
            except FeedFault as fault:
                log.warning("%s", fault)

    def act(self, now: datetime) -> None:
        """Settle what is over, and do what is due."""
        with self._database.read() as connection:
            settling = schedule_runs.settle(connection, now, change=False)
            due = self._due(connection, now)
            there = snapshots.found(connection, set(self._addresses(due)))
        there |= {address for address in self._addresses(due) if os.path.isfile(address)}
        if settling:
            with self._database.alone(schedules.LOCK) as connection:
                schedule_runs.settle(connection, now)
        for schedule, _ in self._ready(due, there):
            _careful(partial(self._carry_out, schedule.id, there, now))

    def _carry_out(self, schedule_id: str, there: set[str], now: datetime) -> None:
        """Decide again, now that nobody else does, and do it: in a transaction of its own, that of one schedule."""
        with self._database.alone(schedules.LOCK) as connection:
            schedule_runs.settle(connection, now)
            said = [
                schedule_runs.carry_out(connection, decision, schedule, now, self._check)
                for schedule, decision in self._ready(self._due(connection, now, schedule_id), there)
            ]
        for line in said:
            log.info("%s", line)

    def _due(
        self, connection: sa.Connection, now: datetime, schedule_id: str | None = None
    ) -> list[tuple[Stored, Decision]]:
        """What is to be done now, for all schedules or one of them."""
        return publication.due(connection, schedules.everything(connection, schedule_id), now)

    def _ready(self, due: Sequence[tuple[Stored, Decision]], there: set[str]) -> list[tuple[Stored, Decision]]:
        """Without what still has to be published."""
        return [each for each in due if all(address in there for address in self._addresses([each]))]

    def _addresses(self, due: Sequence[tuple[Stored, Decision]]) -> Iterator[str]:
        """Where the lists of files are, of the snapshots that are due: of a website or in a folder."""
        data = str(self._settings.data)
        for schedule, decision in due:
            if (address := publication.address_of(schedule, decision, data)) is not None:
                yield address

    def _repeat(self, step: Callable[[datetime], None], stop: threading.Event) -> None:
        while not stop.is_set():
            well = _careful(lambda: step(datetime.now(UTC)))
            stop.wait(LOOK_SECONDS if well else HICCUP_SECONDS)


def _careful(step: Callable[[], None]) -> bool:
    """Whether a step did what it should. One that fails, be it by a fault of ours, must not end all schedules."""
    try:
        step()
    except sa.exc.DBAPIError as error:
        log.error("database: %s", " ".join(str(error.orig).split())[:300])
    except Exception:  # whatever it is, the log has all of it, and the next look may go well
        log.exception("a look at the schedules failed")
    else:
        return True
    return False
