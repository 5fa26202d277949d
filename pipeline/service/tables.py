"""The service's tables. What the columns mean is said here, once; how they came to be is `migrations/`.

Times are UTC and aware. Ids of jobs, schedules and runs are `new_id()`: random, so that several servers never agree on
one. What is JSON is written whole and never searched.
"""

from __future__ import annotations

import base64
import secrets
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator

ACTIVE = ("queued", "starting", "running", "cancelling")
"""States of jobs that are not over."""


class UtcTime(TypeDecorator[datetime]):
    """An aware time in UTC, also from SQLite, which keeps no zone."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError(f"{value}: a time without a zone")
        return value.astimezone(UTC) if value is not None else None

    def process_result_value(self, value: Any | None, dialect: sa.Dialect) -> datetime | None:
        if not isinstance(value, datetime):
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def new_id() -> str:
    """12 characters of lower case and digits that nobody guesses (60 bits)."""
    return base64.b32encode(secrets.token_bytes(10)).decode().lower()[:12]


METADATA = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)
_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # SQLite counts up only what it calls INTEGER

schedules = sa.Table(
    "schedules",
    METADATA,
    sa.Column("id", sa.String(12), primary_key=True),
    sa.Column("name", sa.String(128), nullable=False, unique=True),
    sa.Column("team", sa.String(64), nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("spec", sa.JSON, nullable=False),  # a job with variables, as it was given
    sa.Column("trigger", sa.JSON, nullable=False),  # {cron, zone} or {snapshots: base}
    sa.Column("catch_up", sa.Boolean, nullable=False),
    sa.Column("retries", sa.Integer, nullable=False),
    sa.Column("retry_seconds", sa.Integer, nullable=False),
    sa.Column("paused", sa.Boolean, nullable=False),
    sa.Column("since", UtcTime, nullable=False),  # of what came before it nothing is started
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("created_by", sa.String(128), nullable=False),
)

runs = sa.Table(
    "runs",
    METADATA,
    sa.Column("id", sa.String(12), primary_key=True),
    sa.Column("schedule_id", sa.ForeignKey("schedules.id", ondelete="CASCADE"), nullable=False),
    sa.Column("occasion", sa.String(128), nullable=False),  # a snapshot's id, or a time: 2026-11-21T06:00:00Z
    sa.Column("state", sa.String(16), nullable=False),  # scheduling.scheduler.RunState
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("job_id", sa.String(12), nullable=True),  # of the last attempt
    sa.Column("started_at", UtcTime, nullable=False),
    sa.Column("ended_at", UtcTime, nullable=True),
    sa.Column("said", sa.Text, nullable=True),  # why it has no job, waits, or was skipped
    sa.UniqueConstraint("schedule_id", "occasion"),  # what keeps a schedule from firing twice
    sa.Index("ix_runs_state", "state"),
)

jobs = sa.Table(
    "jobs",
    METADATA,
    sa.Column("id", sa.String(12), primary_key=True),
    sa.Column("name", sa.String(128), nullable=False),
    sa.Column("team", sa.String(64), nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),  # higher goes first
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("output", sa.String(2048), nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),  # 0 before the first; with the id the name of a Ray job
    sa.Column("lost", sa.Integer, nullable=False),  # attempts that ended with the cluster, one after the other
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("created_by", sa.String(128), nullable=False),
    sa.Column("started_at", UtcTime, nullable=True),  # of the last attempt
    sa.Column("finished_at", UtcTime, nullable=True),
    sa.Column("changed_at", UtcTime, nullable=False),  # when the state last changed
    sa.Column("said", sa.Text, nullable=True),  # why it is in this state, where there is something to say
    sa.Column("progress_at", UtcTime, nullable=True),
    sa.Column("run_id", sa.ForeignKey("runs.id", ondelete="SET NULL"), nullable=True),
    # What is long comes last: SQLite reads a row up to the last column that is asked for.
    sa.Column("progress", sa.JSON, nullable=True),  # the last that the driver wrote (pipeline.service.progress)
    sa.Column("spec", sa.JSON, nullable=False),  # self-contained, its places absolute
    sa.Index("ix_jobs_state_team", "state", "team"),
    sa.Index("ix_jobs_output", "output"),
    sa.Index("ix_jobs_created_at_id", "created_at", "id"),
    sa.Index(
        "one_job_an_output",
        "output",
        unique=True,
        sqlite_where=sa.text(f"state IN {ACTIVE}"),
        postgresql_where=sa.text(f"state IN {ACTIVE}"),
    ),
)

events = sa.Table(
    "events",
    METADATA,
    sa.Column("id", _BIG, primary_key=True, autoincrement=True),
    sa.Column("job_id", sa.ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),  # the state that was reached, or "note"
    sa.Column("said", sa.Text, nullable=False),
)

submissions = sa.Table(
    "submissions",
    METADATA,
    sa.Column("caller", sa.String(128), primary_key=True),
    sa.Column("key", sa.String(255), primary_key=True),  # Idempotency-Key
    sa.Column("digest", sa.String(64), nullable=False),  # of what was submitted
    sa.Column("job_id", sa.String(12), nullable=False),
    sa.Column("at", UtcTime, nullable=False),
)

tokens = sa.Table(
    "tokens",
    METADATA,
    sa.Column("name", sa.String(128), primary_key=True),
    sa.Column("team", sa.String(64), nullable=False),
    sa.Column("role", sa.String(16), nullable=False),  # read, submit
    sa.Column("digest", sa.String(64), nullable=False, unique=True),  # sha256 of the token, which is random
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("revoked_at", UtcTime, nullable=True),
    sa.Column("used_at", UtcTime, nullable=True),
)

snapshots = sa.Table(
    "snapshots",
    METADATA,
    sa.Column("base", sa.String(512), primary_key=True),
    sa.Column("id", sa.String(64), primary_key=True),  # CC-MAIN-2026-43
    sa.Column("name", sa.String(256), nullable=False),
    sa.Column("crawled_from", UtcTime, nullable=True),
    sa.Column("crawled_to", UtcTime, nullable=True),
    sa.Column("seen_at", UtcTime, nullable=False),  # when it was first in the list
)

feeds = sa.Table(
    "feeds",
    METADATA,
    sa.Column("base", sa.String(512), primary_key=True),
    sa.Column("etag", sa.String(512), nullable=True),
    sa.Column("last_modified", sa.String(128), nullable=True),
    sa.Column("asked_at", UtcTime, nullable=True),
    sa.Column("answered_at", UtcTime, nullable=True),
    sa.Column("not_before", UtcTime, nullable=True),  # as the server asked, or after failures
    sa.Column("failures", sa.Integer, nullable=False),  # one after the other
    sa.Column("said", sa.Text, nullable=True),
)

locks = sa.Table("locks", METADATA, sa.Column("name", sa.String(64), primary_key=True))
