"""Creating objects and extending an index on S3: moto's, and servers that refuse, lose answers, or promise too much."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import fsspec
import numpy as np
import pyarrow as pa
import pytest
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from pipeline.conditional import ATTEMPTS
from pipeline.faults import MissingFile, StoreError
from pipeline.index import Extension, Index
from pipeline.index_tables import write_partition
from pipeline.store import Store
from stages.dedup.index import BANDS, FIRST, Settings

SMALL = Settings(ngram=5, bands=1, rows=2, partitions=1)
THREADS = 4


class OneAtATime:
    """moto looks for the object and stores it in two steps; S3 promises that nothing comes between."""

    def __init__(self) -> None:
        self._app, self._lock = DomainDispatcherApplication(create_backend_app), threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        with self._lock:
            return list(self._app(environ, start_response))


class Answering(BaseHTTPRequestHandler):
    """Answers PUTs as its server is told: the status of each in turn, the last one for ever. DELETE is done."""

    protocol_version = "HTTP/1.1"
    server: Answers

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        statuses = self.server.statuses
        status = statuses.pop(0) if len(statuses) > 1 else statuses[0]
        self.server.asked.append((self.path, self.headers["If-None-Match"]))
        body = b"" if status == 200 else b"<Error><Code>%s</Code><Message>no</Message></Error>" % CODES[status]
        self.answer(status, body)

    def do_DELETE(self) -> None:
        self.answer(204, b"")

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


CODES = {409: b"ConditionalRequestConflict", 412: b"PreconditionFailed", 501: b"NotImplemented"}


class Answers(ThreadingHTTPServer):
    """Its `statuses` are of PUTs; those of `create` are: the probe, the probe again, the file."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.statuses: list[int] = []
        self.asked: list[tuple[str, str | None]] = []


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Credentials for a server of this machine."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    yield monkeypatch
    fsspec.get_filesystem_class("s3").clear_instance_cache()


def serve(server: Any, patch: pytest.MonkeyPatch) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_address[1]}")
    yield
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def bucket(environment: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """A folder of its own in a bucket of an S3 server; moto's servers of one process share what they hold."""
    for _ in serve(make_server("127.0.0.1", 0, OneAtATime(), threaded=True), environment):
        boto3.client("s3").create_bucket(Bucket="indexes")
        yield f"s3://indexes/{tmp_path.name}"


@pytest.fixture
def answers(environment: pytest.MonkeyPatch) -> Iterator[Answers]:
    server = Answers()
    for _ in serve(server, environment):
        yield server


def test_the_second_creator_changes_nothing(bucket: str) -> None:
    store = Store(f"{bucket}/a")
    assert store.create("versions/1", b"first")
    assert not store.create("versions/1", b"second")
    assert (store.read_bytes("versions/1"), store.list(), store.partials()) == (b"first", ["versions/1"], [])


def test_of_many_creators_one_succeeds(bucket: str) -> None:
    store = Store(f"{bucket}/a")
    with ThreadPoolExecutor(THREADS) as pool:
        for name in range(10):
            made = list(pool.map(lambda n, at=f"{name}": store.create(at, b"%d" % n), range(THREADS)))
            assert store.read_bytes(f"{name}") == b"%d" % made.index(True)
            assert made.count(True) == 1
    assert store.partials() == []


def test_a_bucket_that_is_not_there_is_said(bucket: str) -> None:
    with pytest.raises(MissingFile, match=r"^s3://nobucket/a/x: .*bucket"):
        Store("s3://nobucket/a").create("x", b"1")


def extension(root: str, name: str) -> Extension:
    number = FIRST + sum(name.encode())
    rows = pa.table({"band_key": np.array([number // 3], np.uint64), "representative": np.array([number], np.uint64)})
    file = write_partition(Store(root), name, BANDS, SMALL, 0, [rows])
    assert file is not None
    return Extension(name=name, snapshot="CC", bands=(file,), representatives=())


def test_jobs_that_extend_at_once_are_all_listed_once(bucket: str) -> None:
    root, names = f"{bucket}/index", [f"{letter}{n}" for letter in "abcd" for n in range(3)]
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda name: Index(root).extend(extension(root, name), SMALL), [*names, names[0], names[-1]]))
    index = Index(root)
    last = index.latest()
    assert last is not None and last.number == len(names)
    assert sorted(each.name for each in last.extensions) == sorted(names)
    assert index.garbage() == []
    assert sum(len(table) for table in index.bands(last)) == len(names)


@pytest.mark.parametrize(
    "statuses, made",
    [
        ([200, 412, 200], True),
        ([200, 412, 412], False),
        ([200, 412, 409, 409, 200], True),
        ([200, 409, 412, 412], False),
    ],
)
def test_what_a_server_answers_decides(answers: Answers, statuses: list[int], made: bool) -> None:
    """The 412 of this server does not repeat the condition, as Amazon's does."""
    count = len(statuses)
    answers.statuses = statuses
    assert Store("s3://bucket/index").create("v/1", b"data") is made
    paths, conditions = zip(*answers.asked)
    assert len(paths) == count and conditions == (None, *["*"] * (count - 1))
    assert paths[-1].partition("?")[0] == "/bucket/index/v/1"
    assert paths[0] == paths[1] != paths[-1]


@pytest.mark.parametrize(
    "statuses, complaint", [([200], "overwrites"), ([501], "no"), ([200, 501], "no"), ([200, 409], "no")]
)
def test_a_server_that_cannot_decide_is_refused(answers: Answers, statuses: list[int], complaint: str) -> None:
    answers.statuses = statuses
    with pytest.raises(StoreError, match=rf"^s3://bucket/index/v/1: .*{complaint}"):
        Store("s3://bucket/index").create("v/1", b"data")
    assert not any(path.startswith("/bucket/index/v/1") for path, _ in answers.asked)
    assert len(answers.asked) <= 1 + ATTEMPTS
