"""The service as processes: what it starts with and refuses to, how it ends, and several on one database."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import yaml

from pipeline.service import tokens
from pipeline.service.database import Database

pytestmark = pytest.mark.service

PROGRAM = """
import sys
from pathlib import Path
from pipeline.service.serve import serve
from pipeline.service.settings import read_settings
from pipeline.spec import JobError

try:
    serve(read_settings(Path(sys.argv[1]), {}, {}))
except JobError as error:
    sys.exit(f"refused: {error}")
"""
NOWHERE = "http://127.0.0.1:9/"
"""A job server that does not answer; the service waits for it."""
JOBS = "/api/v1/jobs"


def start(folder: Path, **settings: object) -> subprocess.Popen[str]:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "data").mkdir(exist_ok=True)
    given = {"home": str(folder / "home"), "data": str(folder / "data"), "ray": NOWHERE, "port": 0, **settings}
    (folder / "serve.yaml").write_text(yaml.safe_dump(given))
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder / "serve.yaml")], stderr=subprocess.PIPE, text=True, cwd=os.getcwd()
    )


@contextmanager
def serving(folder: Path, **settings: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that serves, and its address."""
    process = start(folder, **settings)
    assert process.stderr is not None
    try:
        said = ""
        for line in process.stderr:
            said += line
            if "serving at " in line:
                yield process, line.partition("serving at ")[2].split()[0].rstrip(";")
                break
        else:
            raise AssertionError(said)
    finally:
        process.kill()
        process.communicate()


def job(name: str) -> dict[str, object]:
    source = {"kind": "warc", "paths": ["crawl/*.warc.gz"]}
    return {"name": name, "source": source, "recipe": "fineweb", "output": {"path": name}}


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_well_while_somebody_watches(tmp_path: Path, sig: signal.Signals) -> None:
    with serving(tmp_path) as (process, url), httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
        made = client.post(JOBS, json=job("watched")).json()["id"]
        with client.stream("GET", f"{JOBS}/{made}/events") as stream:
            lines = stream.iter_lines()
            next(lines)
            process.send_signal(sig)
            assert any('"queued"' in line for line in lines), "what was under way is sent, and the stream ends"
        assert process.wait(timeout=30) == 0
        assert (tmp_path / "home" / "crawlmill.db").is_file()


def test_beyond_this_machine_it_wants_tokens(tmp_path: Path) -> None:
    refused = start(tmp_path, host="0.0.0.0")
    assert "crawlmill token create NAME" in refused.communicate(timeout=60)[1].splitlines()[-1]
    database = Database(f"sqlite:///{tmp_path}/home/crawlmill.db")
    with database.write() as connection:
        token = tokens.create(connection, "first")
    with serving(tmp_path, host="0.0.0.0") as (_, url):
        url = url.replace("0.0.0.0", "127.0.0.1")
        assert httpx.get(url + JOBS, trust_env=False).status_code == 401
        assert httpx.get(url + JOBS, headers={"Authorization": f"Bearer {token}"}, trust_env=False).status_code == 200


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"database": "mysql://nobody@nowhere/x"}, "refused: database: mysql"),
        ({"database": "postgresql://nobody:secret@127.0.0.1:9/x"}, "refused: database postgresql"),
        ({"host": "192.0.2.1"}, "refused: host: 192.0.2.1: without tokens"),
        ({"ray": "http://ray.example:8265/"}, "refused: http://ray.example:8265: a cluster beyond this machine"),
    ],
)
def test_what_it_does_not_start_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, object], said: str
) -> None:
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    process = start(tmp_path, **settings)
    written = process.communicate(timeout=60)[1]
    assert process.returncode == 1
    assert written.splitlines()[-1].startswith(said), written
    assert "secret" not in written


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = start(tmp_path, port=taken.getsockname()[1])
        assert "choose others with --host and --port" in process.communicate(timeout=60)[1].splitlines()[-1]


def test_several_of_one_database_are_one_service(tmp_path: Path, postgres: str) -> None:
    """They start at once on an empty database; what one was told all know, and nothing is queued twice."""
    with (
        serving(tmp_path, database=postgres) as (_, first),
        serving(tmp_path, database=postgres) as (_, second),
        httpx.Client(trust_env=False, timeout=30) as client,
    ):
        urls = [first, second] * 6

        def submit(url: str) -> httpx.Response:
            return client.post(url + JOBS, json=job("once"), headers={"Idempotency-Key": "k"})

        with ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(submit, urls))
            assert sorted(each.status_code for each in answers) == [200] * 11 + [201]
            assert len({each.json()["id"] for each in answers}) == 1
            same = list(pool.map(lambda url: client.post(url + JOBS, json=job("same")), urls))
            assert sorted(each.status_code for each in same) == [201] + [409] * 11
        listed = [[each["id"] for each in client.get(url + JOBS).json()["jobs"]] for url in (first, second)]
        assert listed[0] == listed[1] and len(listed[0]) == 2
        database = Database(postgres)
        with database.write() as connection:
            token = tokens.create(connection, "ci")
        for url in (first, second):
            assert client.get(url + JOBS).status_code == 401
            assert client.get(url + JOBS, headers={"Authorization": f"Bearer {token}"}).status_code == 200
        database.engine.dispose()
