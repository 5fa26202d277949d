"""The service's database, on SQLite and on PostgreSQL: migrations, locks, and what is refused."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from pipeline.service.database import Database, DatabaseFault
from pipeline.service.tables import METADATA, snapshots


@pytest.fixture
def database(database_url: str) -> Database:
    made = Database(database_url)
    made.upgrade()
    return made


def test_migrations_come_to_the_tables(database: Database) -> None:
    database.upgrade()  # again
    with database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


def test_several_servers_may_begin_at_once(database_url: str) -> None:
    program = "import sys; from pipeline.service.database import Database; Database(sys.argv[1]).upgrade()"
    servers = [subprocess.Popen([sys.executable, "-c", program, database_url]) for _ in range(3)]
    assert [server.wait(timeout=60) for server in servers] == [0, 0, 0]
    with Database(database_url).read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


def test_a_new_files_first_connections_wait_for_one_another(tmp_path: Path) -> None:
    for number in range(40):
        gate = threading.Barrier(8)

        def connect(database: Database, gate: threading.Barrier = gate) -> None:
            gate.wait()
            with database.read():
                pass

        servers = [Database(f"sqlite:///{tmp_path}/{number}.db") for _ in range(8)]
        with ThreadPoolExecutor(len(servers)) as pool:
            list(pool.map(connect, servers))
        for server in servers:
            server.engine.dispose()


def test_a_newer_database_is_left_alone(database: Database) -> None:
    with database.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DatabaseFault, match=r"of a newer crawlmill \(its tables are at 9999\)"):
        database.upgrade()


def test_alone_means_alone(database: Database) -> None:
    inside, most = 0, 0
    counting = threading.Lock()

    def work(number: int) -> None:
        nonlocal inside, most
        with Database(database.url.render_as_string(hide_password=False)).alone("dispatch"):
            with counting:
                inside += 1
                most = max(most, inside)
            time.sleep(0.02)  # long enough for another to come in, if it could
            with counting:
                inside -= 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(8)))
    assert most == 1
    with pytest.raises(LookupError, match="no lock nothing"), database.alone("nothing"):
        pass


def test_readers_do_not_wait_for_a_writer(database: Database) -> None:
    with database.alone("dispatch"), database.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(snapshots)).scalar_one() == 0


def test_times_are_utc(database: Database) -> None:
    east = datetime(2026, 11, 21, 3, 30, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    row = {"base": "b", "id": "CC-MAIN-2026-43", "name": "", "seen_at": east}
    with database.write() as connection:
        connection.execute(snapshots.insert().values(row))
        seen = connection.execute(sa.select(snapshots.c.seen_at)).scalar_one()
        assert seen == east and seen.tzinfo is UTC and seen.isoformat() == "2026-11-20T22:00:00+00:00"
        with pytest.raises(sa.exc.StatementError, match="without a zone"):
            connection.execute(snapshots.insert().values(row | {"id": "x", "seen_at": datetime(2026, 1, 1)}))


@pytest.mark.parametrize(
    "url, line",
    [
        ("nothing", "not a URL; write sqlite:///FILE or postgresql://"),
        ("mysql://here/there", "mysql is not taken"),
        ("sqlite://", "name a file"),
        ("sqlite:///:memory:", "name a file"),
    ],
)
def test_urls_that_are_refused(url: str, line: str) -> None:
    with pytest.raises(DatabaseFault, match=line):
        Database(url)


def test_a_database_that_is_not_there_is_one_line_without_its_password(tmp_path: Path) -> None:
    url = f"postgresql://me:secret@/none?host={tmp_path}"
    with pytest.raises(DatabaseFault) as caught:
        Database(url).upgrade()
    assert "\n" not in str(caught.value) and "secret" not in str(caught.value) and str(tmp_path) in str(caught.value)
