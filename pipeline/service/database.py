"""The service's database: SQLite in a file, or PostgreSQL by URL, brought up to date by Alembic.

Everything that must not happen twice is one transaction under a lock (`Database.alone`): a row lock on PostgreSQL, the
one writer on SQLite. Nobody speaks to anything outside the database while holding one.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from pipeline.service.tables import locks

MIGRATIONS = Path(__file__).parent / "migrations"
BUSY_SECONDS = 30
IDLE_SECONDS = 60
"""So long a transaction may do nothing: a server that froze in the middle of one would hold up all others."""
THREADS = 60
"""That may want a connection at a time."""
_UPGRADE_LOCK = 0x63726177  # a number of ours among PostgreSQL's advisory locks


class DatabaseFault(RuntimeError):
    """The database cannot be used: one line."""


class Database:
    """Connections to the database at `url`, as SQLAlchemy writes it. Raises DatabaseFault for one it does not take."""

    def __init__(self, url: str) -> None:
        try:
            made = sa.make_url(url)
        except sa.exc.ArgumentError as error:
            raise DatabaseFault("database: not a URL; write sqlite:///FILE or postgresql://USER@HOST/NAME") from error
        if made.drivername in ("postgresql", "postgres"):
            made = made.set(drivername="postgresql+psycopg")
        if made.drivername not in ("sqlite", "postgresql+psycopg"):
            raise DatabaseFault(f"database: {made.drivername} is not taken; use sqlite:///FILE or postgresql://…")
        self.url = made
        self.sqlite = made.get_backend_name() == "sqlite"
        if self.sqlite and made.database in (None, "", ":memory:"):
            raise DatabaseFault("database: name a file, as in sqlite:///crawlmill.db")
        options = {"timeout": BUSY_SECONDS} if self.sqlite else {"client_encoding": "utf8", "connect_timeout": 10}
        self.engine = sa.create_engine(
            made, pool_pre_ping=True, pool_size=10, max_overflow=THREADS, connect_args=options
        )
        sa.event.listen(self.engine, "connect", _set_up_sqlite if self.sqlite else _set_up_postgresql)
        if self.sqlite:
            sa.event.listen(self.engine, "begin", _begin_sqlite)

    def __str__(self) -> str:
        return self.url.render_as_string(hide_password=True)

    @contextlib.contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A transaction that changes nothing: what it reads belongs together."""
        with self.engine.connect().execution_options(reading=True) as connection, connection.begin():
            yield connection

    @contextlib.contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A transaction."""
        with self.engine.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def alone(self, name: str) -> Iterator[sa.Connection]:
        """A transaction that no other under the same name overlaps, of any server. Lock names come with migrations."""
        with self.write() as connection:
            held = connection.execute(sa.select(locks.c.name).where(locks.c.name == name).with_for_update())
            if held.first() is None:
                raise LookupError(f"no lock {name}")
            yield connection

    def upgrade(self) -> None:
        """Bring the tables up to date; several servers may start at once. Raises DatabaseFault."""
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        try:
            with self.write() as connection:  # one transaction, which on SQLite keeps others out by itself
                if not self.sqlite:
                    connection.execute(sa.text("SET LOCAL lock_timeout = 0"))
                    connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({_UPGRADE_LOCK})"))
                self._refuse_newer(connection, config)
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
        except sa.exc.DBAPIError as error:
            said = " ".join(str(error.orig).split())[:300]
            raise DatabaseFault(f"database {self}: {said}") from error

    def _refuse_newer(self, connection: sa.Connection, config: Config) -> None:
        """Raises DatabaseFault where a newer crawlmill has been here."""
        known = {each.revision for each in ScriptDirectory.from_config(config).walk_revisions()}
        current = MigrationContext.configure(connection).get_current_revision()
        if current is not None and current not in known:
            raise DatabaseFault(f"database {self}: of a newer crawlmill (its tables are at {current}); use that one")


def _set_up_sqlite(connection: Any, record: Any) -> None:
    """Readers beside one writer, foreign keys kept, and transactions begun by us (`_begin_sqlite`)."""
    connection.isolation_level = None
    _keep_wal(connection)
    for setting in ("synchronous = NORMAL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {setting}")


def _keep_wal(connection: sqlite3.Connection) -> None:
    """Several servers may begin at once on a new file, and SQLite itself does not wait for who changes its journal."""
    end = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
        time.sleep(0.02)


def _set_up_postgresql(connection: Any, record: Any) -> None:
    """Nobody waits for ever for somebody who may be gone."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET lock_timeout = '{BUSY_SECONDS}s'")
        cursor.execute(f"SET idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'")
    connection.commit()


def _begin_sqlite(connection: sa.Connection) -> None:
    """A writer waits for its turn when it begins: one that began as a reader could only fail later."""
    reading = connection.get_execution_options().get("reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")
