"""PostgreSQL for tests: Debian's server, started once a session, and an empty database for each test that asks.

A pytest plugin (`pytest_plugins = ["postgres"]`). What uses it is marked `postgres` by itself. The server listens on a
socket in a folder of its own, so it takes no port and meets no other server.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

_FAST = "-c fsync=off -c synchronous_commit=off -c full_page_writes=off -c shared_buffers=32MB -c max_connections=200"
"""For a server whose data nobody wants after a crash."""
_WAIT_SECONDS = 60


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "postgres: starts PostgreSQL (make system-deps)")


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        params = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
        if "postgres" in getattr(item, "fixturenames", ()) or params.get("database_url") == "postgres":
            item.add_marker(pytest.mark.postgres)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Path]:
    """The folder of the socket of a server that trusts the user `postgres`."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not programs:
        pytest.skip("no PostgreSQL below /usr/lib/postgresql: make system-deps installs it")
    folder = Path(tempfile.mkdtemp(prefix="pg-"))  # not pytest's: a socket's path has 107 bytes, and others may look in
    as_user: dict[str, Any] = {"cwd": folder, "stdin": subprocess.DEVNULL, "check": True, "timeout": 2 * _WAIT_SECONDS}
    if os.geteuid() == 0:  # PostgreSQL refuses to be root
        owner = next(name for name in ("postgres", "nobody") if _exists(name))
        shutil.chown(folder, owner)
        as_user |= {"user": owner, "group": pwd.getpwnam(owner).pw_gid, "extra_groups": []}
    control = [str(programs[-1].with_name("pg_ctl")), "-D", f"{folder}/data", "-w", "-t", str(_WAIT_SECONDS)]
    create = f"-U postgres --auth=trust --no-sync --encoding=UTF8 --locale=C.UTF-8 -D {folder}/data"
    try:
        subprocess.run([str(programs[-1]), *create.split()], stdout=subprocess.DEVNULL, **as_user)
        options = f"-c listen_addresses='' -k {folder} {_FAST}"
        started = [*control, "-l", f"{folder}/log", "-o", options, "start"]
        subprocess.run(started, stdout=subprocess.DEVNULL, **as_user)
        yield folder
        subprocess.run([*control, "-m", "immediate", "stop"], stdout=subprocess.DEVNULL, **as_user)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres(postgres_server: Path) -> Iterator[str]:
    """The URL of an empty database, as `Database` takes it; it is dropped after the test."""
    name = f"test_{uuid4().hex}"
    with psycopg.connect(host=str(postgres_server), user="postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0".encode())
        yield f"postgresql://postgres@/{name}?host={postgres_server}"
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, of each kind in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/crawlmill.db"
    url: str = request.getfixturevalue("postgres")
    return url


def _exists(user: str) -> bool:
    try:
        return pwd.getpwnam(user).pw_uid != 0
    except KeyError:
        return False
