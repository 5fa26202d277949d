"""Which crawl snapshots there are: a list below a base address, asked for politely, and all SQL about it.

A snapshot in the list is published when its `warc.paths.gz` is there, which may be later. Both are asked for with the
same manners: all servers together ask an address once in so many seconds, conditionally where it has said what it was
(RFC 9110, section 13), after failures ever more rarely, and not before the time that it asked to be spared until. That
an address is asked is written down before, so a server that dies while asking has asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import sqlalchemy as sa

from pipeline.service.database import Database
from pipeline.service.scheduling.collinfo import Answer, FeedFault, ask_for_list, is_there
from pipeline.service.scheduling.scheduler import Snapshot
from pipeline.service.tables import feeds, snapshots

LOCK = "snapshots"
MAX_ADDRESS = 512
LONGEST_PAUSE = timedelta(days=1)
"""After failures."""
LONGEST_ASKED = timedelta(days=7)
"""That an address may ask to be spared for."""
ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)
"""`seen_at` of snapshots that were in the list when it was first looked at: nothing tells since when."""


@dataclass(frozen=True)
class Listed(Snapshot):
    """A snapshot as the list has it. Times are UTC; None where it said none."""

    name: str
    crawled_from: datetime | None
    crawled_to: datetime | None


@dataclass(frozen=True)
class Feed:
    """What is known of an address that is asked again and again."""

    base: str
    etag: str | None
    last_modified: str | None
    asked_at: datetime | None
    answered_at: datetime | None
    not_before: datetime | None
    failures: int
    said: str | None

    def due(self, now: datetime, every: timedelta) -> bool:
        """Whether it may be asked. Times that only a wrong clock can have written do not count."""
        spared = self.not_before is not None and now < self.not_before <= now + LONGEST_ASKED
        just_asked = self.asked_at is not None and abs(now - self.asked_at) < every
        return not spared and not just_asked


def poll(database: Database, base: str, client: httpx.Client, every: timedelta, now: datetime) -> list[str]:
    """Ask for the list below `base` if it is time to; the ids that are new. Raises FeedFault."""
    feed = _claim(database, base, every, now)
    if feed is None:
        return []
    try:
        answer = ask_for_list(client, base, feed.etag, feed.last_modified, now)
        return _keep(database, feed, answer, now)
    except FeedFault as fault:
        _failed(database, feed, fault, every, now)
        raise


def look_for(database: Database, address: str, client: httpx.Client, every: timedelta, now: datetime) -> None:
    """Ask whether a file is there if it is time to; `found` tells from then on. Raises FeedFault."""
    feed = _claim(database, address, every, now)
    if feed is None:
        return
    try:
        there = is_there(client, address, now)
        with database.alone(LOCK) as connection:
            _update(connection, address, answered_at=now if there else None, failures=0, not_before=None, said=None)
    except FeedFault as fault:
        _failed(database, feed, fault, every, now)
        raise


def look_anew(connection: sa.Connection, base: str) -> None:
    """Ask for a list soon that nobody wanted for a while: what it has gained since is not news to who wants it now."""
    _update(connection, base, asked_at=None, answered_at=None)


def found(connection: sa.Connection, addresses: set[str]) -> set[str]:
    """Those of some addresses at which `look_for` found a file."""
    query = sa.select(feeds.c.base).where(feeds.c.base.in_(addresses), feeds.c.answered_at.is_not(None))
    return set(connection.execute(query).scalars())


def known(connection: sa.Connection, base: str) -> list[Listed]:
    """The snapshots of a list, in no order."""
    rows = connection.execute(snapshots.select().where(snapshots.c.base == base))
    return [
        Listed(
            row.base, row.id, None if row.seen_at == ALWAYS else row.seen_at, row.name, row.crawled_from, row.crawled_to
        )
        for row in rows
    ]


def feed_of(connection: sa.Connection, base: str) -> Feed | None:
    """How asking for a list went; None before the first time."""
    row = connection.execute(feeds.select().where(feeds.c.base == base)).one_or_none()
    return Feed(**row._mapping) if row is not None else None


def _claim(database: Database, base: str, every: timedelta, now: datetime) -> Feed | None:
    """Say that an address is being asked; None where that would be too early."""
    with database.read() as connection:  # nearly always it is, and needs no lock
        if (before := feed_of(connection, base)) is not None and not before.due(now, every):
            return None
    with database.alone(LOCK) as connection:
        feed = feed_of(connection, base)
        if feed is None:
            connection.execute(feeds.insert().values(base=base, failures=0, asked_at=now))
            return feed_of(connection, base)
        if not feed.due(now, every):
            return None
        _update(connection, base, asked_at=now)
        return feed


def _keep(database: Database, feed: Feed, answer: Answer, now: datetime) -> list[str]:
    with database.alone(LOCK) as connection:
        before = set(connection.execute(sa.select(snapshots.c.id).where(snapshots.c.base == feed.base)).scalars())
        new = [entry for entry in answer.entries or () if entry["id"] not in before]
        if new:
            seen_at = now if feed.answered_at is not None else ALWAYS
            connection.execute(snapshots.insert(), [{**entry, "base": feed.base, "seen_at": seen_at} for entry in new])
        versions = {"etag": answer.etag, "last_modified": answer.last_modified}
        _update(connection, feed.base, answered_at=now, failures=0, not_before=None, said=None, **versions)
        return [entry["id"] for entry in new]


def _failed(database: Database, feed: Feed, fault: FeedFault, every: timedelta, now: datetime) -> None:
    growing = min(every * 2 ** min(feed.failures, 20), max(every, LONGEST_PAUSE))
    spare = max(growing, min(timedelta(seconds=min(fault.spare, 1e9)), LONGEST_ASKED))
    with database.alone(LOCK) as connection:
        _update(connection, feed.base, failures=feed.failures + 1, not_before=now + spare, said=str(fault))


def _update(connection: sa.Connection, base: str, **values: Any) -> None:
    connection.execute(feeds.update().where(feeds.c.base == base).values(values))
