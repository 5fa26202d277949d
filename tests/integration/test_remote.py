"""Inputs and outputs over real sockets: a web server that drops, lies and refuses, and an S3 server (moto's)."""

from __future__ import annotations

import gzip
import hashlib
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

import fsspec
import pytest
from buckets import s3_server

from pipeline import __version__
from pipeline.budget import LocalBudget
from pipeline.faults import InputError, MissingFile, StoreError
from pipeline.http import fetch_bytes, open_url
from pipeline.inputs import HashingStream, Input, list_inputs, open_input
from pipeline.patience import Terms
from pipeline.store import Store
from stages.read.commoncrawl import MAX_PACKED

DATA = bytes(range(256)) * 12_000
"""3 MB: several times what socket buffers, our buffer and `Terms.progress` hold."""


@dataclass(frozen=True)
class Reply:
    """One answer. Without a status: the data, or the range asked for, as an honest server would give it."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    data: bytes = DATA
    etag: str = '"v1"'
    ranges: bool = True
    most: int | None = None  # bytes that one range may have
    cut: int | None = None  # bytes of the body after which the connection ends
    ending: Literal["close", "reset", "hang"] = "close"
    chunked: bool = False


GOOD = Reply()


class Site:
    """A web server that gives its replies in order, the last one again and again."""

    def __init__(self) -> None:
        self.replies: list[Reply] = [GOOD]
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.over = threading.Event()
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                site.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
                site.answer(self, site.replies.pop(0) if len(site.replies) > 1 else site.replies[0])

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: object, client_address: object) -> None:
                pass  # clients that have heard enough hang up

        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def answer(self, to: BaseHTTPRequestHandler, reply: Reply) -> None:
        wanted = to.headers.get("Range")
        start = int(wanted[len("bytes=") : -1]) if wanted and reply.ranges else 0
        if to.headers.get("If-Range") not in (None, reply.etag):
            start = 0
        body = reply.data[start:] if not reply.status or reply.status == 206 else b"refused"
        if start and reply.most:
            body = body[: reply.most]
        headers = {} if reply.chunked else {"Content-Length": str(len(body))}
        if reply.etag:
            headers["ETag"] = reply.etag
        if start:
            headers["Content-Range"] = f"bytes {start}-{start + len(body) - 1}/{len(reply.data)}"
        if reply.chunked:
            headers["Transfer-Encoding"] = "chunked"
        to.send_response(reply.status or (206 if start else 200))
        for name, value in (headers | reply.headers).items():
            to.send_header(name, value)
        to.end_headers()
        sent = body if reply.cut is None else body[: reply.cut]
        to.wfile.write(b"%x\r\n%b\r\n" % (len(sent), sent) if reply.chunked and sent else sent)
        if reply.cut is None:
            to.wfile.write(b"0\r\n\r\n" if reply.chunked else b"")
            return
        to.wfile.flush()
        to.close_connection = True
        if reply.ending == "hang":
            self.over.wait(30)
        elif reply.ending == "reset":
            to.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            to.connection.close()

    def close(self) -> None:
        self.over.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now, self.slept = 0.0, list[float]()

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    site = Site()
    yield site
    site.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def budget(clock: Clock) -> LocalBudget:
    return LocalBudget(1000, clock)


@pytest.fixture
def terms(clock: Clock) -> Terms:
    return Terms(patience=900, read=0.3, sleep=clock.sleep, clock=clock, today=clock)


def test_a_file_is_fetched_in_one_request_as_it_is(site: Site, budget: LocalBudget, terms: Terms) -> None:
    terms = Terms(contact="https://example.org/bot", sleep=terms.sleep, clock=terms.clock)
    site.replies = [
        Reply(headers={"Content-Encoding": "gzip"})
    ]  # some servers say so of every .gz; the file is the file
    with open_url(site.url + "a.warc.gz", budget, terms) as stream:
        assert (stream.read(5), stream.read()) == (DATA[:5], DATA[5:])
    ((path, headers),) = site.asked
    assert path == "/a.warc.gz" and headers["accept-encoding"] == "identity" and "range" not in headers
    assert headers["user-agent"] == f"crawlmill/{__version__} (+https://example.org/bot)"


BREAKS = {
    "close": Reply(cut=1_500_000),
    "reset": Reply(cut=1_500_000, ending="reset"),
    "hang": Reply(cut=1_500_000, ending="hang"),
    "chunked": Reply(cut=1_500_000, chunked=True),
    "nothing": Reply(cut=0),
    "weak etag": Reply(cut=1_500_000, etag='W/"v1"'),
}


@pytest.mark.parametrize("broken", BREAKS.values(), ids=BREAKS)
@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_connection_is_taken_up_where_it_broke(
    site: Site, budget: LocalBudget, terms: Terms, broken: Reply, ranges: bool
) -> None:
    site.replies = [broken, Reply(cut=700_000, ranges=ranges, etag=broken.etag), Reply(ranges=ranges, etag=broken.etag)]
    with open_url(site.url, budget, terms) as stream:
        assert stream.read() == DATA
    assert len(site.asked) == 3
    resumed = site.asked[-1][1]
    assert resumed["range"].startswith("bytes=") and resumed.get("if-range") == (
        broken.etag if broken.etag.startswith('"') else None
    )


def test_a_server_that_sends_a_mebibyte_a_time_is_never_given_up(
    site: Site, clock: Clock, budget: LocalBudget, terms: Terms
) -> None:
    site.replies = [Reply(data=DATA * 5, cut=2**20)]
    terms = Terms(patience=2, sleep=clock.sleep, clock=clock)
    assert fetch_bytes(site.url, budget, len(DATA) * 5, terms) == DATA * 5
    assert clock.now > 10


CHANGES = {
    "etag": Reply(etag='"v2"'),
    "etag, no ranges": Reply(etag='"v2"', ranges=False),
    "length": Reply(data=DATA + b"!"),
    "length, no etag": Reply(data=DATA + b"!", etag=""),
    "shrunk": Reply(416, {"Content-Range": "bytes */9"}),
    "last modified": Reply(headers={"Last-Modified": "Thu, 22 Oct 2026 00:00:00 GMT"}),
}


@pytest.mark.parametrize("then", CHANGES.values(), ids=CHANGES)
def test_a_file_that_changes_under_the_reader_is_an_error(
    site: Site, budget: LocalBudget, terms: Terms, then: Reply
) -> None:
    site.replies = [Reply(cut=900_000, headers={"Last-Modified": "Wed, 21 Oct 2026 00:00:00 GMT"}), then, GOOD]
    with open_url(site.url, budget, terms) as stream:
        for _ in range(2):  # a reader that catches the error must not get the bytes behind the gap
            with pytest.raises(InputError, match=r"127\.0\.0\.1:\d+/: changed while being read"):
                stream.read()


def test_a_server_that_gives_less_than_asked_is_asked_for_the_rest(
    site: Site, budget: LocalBudget, terms: Terms
) -> None:
    site.replies = [Reply(cut=1_500_000), Reply(most=900_000)]
    assert fetch_bytes(site.url, budget, len(DATA), terms) == DATA
    assert len(site.asked) == 3


def test_framing_in_chunks_overrides_a_length(site: Site, budget: LocalBudget, terms: Terms) -> None:
    site.replies = [Reply(chunked=True, headers={"Content-Length": "5"})]
    assert fetch_bytes(site.url, budget, len(DATA), terms) == DATA


LENGTH = len(DATA)
LIES: dict[str, tuple[Any, ...]] = {
    "other range": ("asked for", Reply(cut=9), Reply(206, {"Content-Range": f"bytes 5-{LENGTH - 1}/{LENGTH}"})),
    "no range": ("asked for", Reply(cut=9), Reply(206, ranges=False)),
    "too much": ("more bytes", Reply(cut=9), Reply(206, {"Content-Range": f"bytes 9-9/{LENGTH}"}, ranges=False)),
    "other end": ("changed while", Reply(cut=9, chunked=True), Reply(416, {"Content-Range": "bytes */8"})),
    "shorter": (
        "cut short",
        Reply(cut=9, chunked=True, etag=""),
        Reply(data=b"8", chunked=True, etag="", ranges=False),
    ),
    "range unasked": (": 206 ", Reply(206)),
    "no content": (": 204 ", Reply(204)),
}


@pytest.mark.parametrize("complaint, replies", [(lie[0], lie[1:]) for lie in LIES.values()], ids=LIES)
def test_a_server_that_answers_another_question_is_not_believed(
    site: Site, budget: LocalBudget, terms: Terms, complaint: str, replies: tuple[Reply, ...]
) -> None:
    site.replies = list(replies)
    with pytest.raises(InputError, match=complaint):
        fetch_bytes(site.url, budget, LENGTH, terms)


def test_a_length_that_never_comes_ends_in_an_error(site: Site, budget: LocalBudget, terms: Terms) -> None:
    more = str(len(DATA) + 100)
    site.replies = [Reply(headers={"Content-Length": more}, cut=len(DATA), ranges=False)]
    with open_url(site.url, budget, terms) as stream:
        got = bytearray(len(DATA))
        stream.readinto(got)  # type: ignore[attr-defined]
        assert bytes(got) == DATA
        with pytest.raises(InputError, match=r"still .* after [78]\d\d s .*patience 900 s"):
            stream.read()
    assert len(site.asked) < 40


def test_a_chunked_file_whose_end_got_lost_is_whole_when_the_server_says_so(
    site: Site, budget: LocalBudget, terms: Terms
) -> None:
    site.replies = [Reply(chunked=True, cut=len(DATA)), Reply(416, {"Content-Range": f"bytes */{len(DATA)}"})]
    assert fetch_bytes(site.url, budget, len(DATA), terms) == DATA


@pytest.mark.parametrize("status", [403, 429, 503])
def test_everybody_waits_as_long_as_a_busy_server_asks(
    site: Site, clock: Clock, budget: LocalBudget, terms: Terms, status: int
) -> None:
    site.replies = [
        Reply(status, {"Retry-After": "30"}),
        Reply(status, {"Retry-After": "Thu, 01 Jan 1970 00:02:10 GMT"}),
        Reply(status),
        GOOD,
    ]
    waiting: list[float] = []

    def sleep(seconds: float) -> None:
        waiting.append(budget.paused())
        clock.sleep(seconds)

    with open_url(site.url, budget, Terms(sleep=sleep, clock=clock, today=clock)) as stream:
        assert stream.read() == DATA
    assert waiting[:2] == [30.0, 100.0] and 4 <= waiting[2] <= 6


@pytest.mark.parametrize("status", [408, 500, 502, 504, 520])
def test_a_fault_of_one_file_lets_the_others_go_on(site: Site, budget: LocalBudget, clock: Clock, status: int) -> None:
    site.replies = [Reply(status), GOOD]
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(budget.paused())
        clock.sleep(seconds)

    assert fetch_bytes(site.url, budget, len(DATA), Terms(sleep=sleep, clock=clock)) == DATA
    assert pauses == [0.0] and clock.now >= 1


@pytest.mark.parametrize(
    "reply, complaint",
    [
        (Reply(403), "still 403 Forbidden after (8..|900) s"),
        (Reply(503, {"Retry-After": "0"}), "still 503 Service Unavailable after (8..|900) s"),
        (Reply(429, {"Retry-After": "86400"}), "still 429 .* after 0 s, and the server asks to wait 86400 s"),
        (Reply(cut=0), "after (8..|900) s"),
    ],
    ids=["403", "503 at once", "429 for a day", "nothing"],
)
def test_patience_ends(
    site: Site, clock: Clock, budget: LocalBudget, terms: Terms, reply: Reply, complaint: str
) -> None:
    site.replies = [reply]
    with pytest.raises(InputError, match=complaint):
        open_url(site.url, budget, terms)
    assert clock.now <= 900 and len(site.asked) < 30


@pytest.mark.parametrize("status", [400, 401, 404, 410, 416])
def test_what_waiting_will_not_mend_is_said_at_once(site: Site, budget: LocalBudget, terms: Terms, status: int) -> None:
    site.replies = [Reply(status)]
    with pytest.raises(InputError, match=f"{site.url}x: {status} "):
        open_input(site.url + "x", budget, terms)
    assert len(site.asked) == 1


def test_a_trickle_is_given_up(site: Site, budget: LocalBudget, clock: Clock) -> None:
    site.replies = [GOOD]
    ticks = iter(range(0, 10**9, 600))
    terms = Terms(patience=900, progress=2**40, sleep=clock.sleep, clock=lambda: float(next(ticks)))
    with pytest.raises(InputError, match="too slow"):
        fetch_bytes(site.url, budget, len(DATA), terms)


@pytest.mark.parametrize(
    "reply, complaint",
    [
        (Reply(302, {"Location": "/again"}), "more than 5 redirects"),
        (Reply(302, {"Location": "file:///etc/passwd"}), "unsupported protocol|file:"),
        (Reply(302), ": 302 Found"),
    ],
    ids=["loop", "file", "nowhere"],
)
def test_redirects_that_lead_nowhere(
    site: Site, budget: LocalBudget, terms: Terms, reply: Reply, complaint: str
) -> None:
    site.replies = [reply]
    with pytest.raises(InputError, match=complaint):
        open_url(site.url, budget, terms)


def test_a_redirect_is_followed_and_the_range_goes_with_it(site: Site, budget: LocalBudget, terms: Terms) -> None:
    there = Reply(302, {"Location": "/there"})
    site.replies = [there, Reply(cut=10**6), there, GOOD]
    assert fetch_bytes(site.url + "here", budget, len(DATA), terms) == DATA
    assert [path for path, _ in site.asked] == ["/here", "/there"] * 2 and "range" in site.asked[3][1]


def test_addresses_that_cannot_work(budget: LocalBudget, terms: Terms, clock: Clock) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        with pytest.raises(InputError, match=r"refused after (8..|900) s"):
            open_url(nobody, budget, terms)
    waited = clock.now
    for url in ("http://[", "http://a:99999999/", "http:///x", "http://a b/"):
        with pytest.raises(InputError):
            open_url(url, budget, terms)
    assert clock.now < waited + 1


def test_small_files_have_a_limit(site: Site, budget: LocalBudget, terms: Terms) -> None:
    site.replies = [Reply(data=b"12345"), Reply(data=b"")]
    with pytest.raises(InputError, match="more than the 4 bytes"):
        fetch_bytes(site.url, budget, 4, terms)
    assert fetch_bytes(site.url, budget, 4, terms) == b""


STEM = "crawl-data/CC-MAIN-2026-43/segments/1/warc"
LIST = gzip.compress(f"{STEM}/b.warc.gz\n{STEM}/a.warc.gz\n{STEM}/c.warc.gz\n".encode())


@dataclass(frozen=True)
class Snapshot:
    base: str
    files: str | None = "0:2"
    snapshot: str = "CC-MAIN-2026-43"
    kind: Literal["commoncrawl"] = "commoncrawl"


@dataclass(frozen=True)
class Warcs:
    paths: list[str]
    kind: Literal["warc"] = "warc"


def test_a_snapshot_is_listed_from_a_website_with_one_request(site: Site, budget: LocalBudget, terms: Terms) -> None:
    site.replies = [Reply(data=LIST)]
    found = list_inputs(Snapshot(site.url), budget, terms)
    assert found == [
        Input(f"{site.url}{STEM}/{n}.warc.gz", "warc", None, "CC-MAIN-2026-43", f"s3://commoncrawl/{STEM}/{n}.warc.gz")
        for n in "ab"
    ]
    assert [path for path, _ in site.asked] == ["/crawl-data/CC-MAIN-2026-43/warc.paths.gz"]


@pytest.mark.parametrize(
    "reply, complaint",
    [
        (Reply(404), "404 Not Found"),
        (Reply(data=b"<html>"), "gzip"),
        (Reply(data=b"0" * (MAX_PACKED + 1)), "more than"),
    ],
)
def test_a_snapshot_without_a_list_is_said(
    site: Site, budget: LocalBudget, terms: Terms, reply: Reply, complaint: str
) -> None:
    site.replies = [reply]
    with pytest.raises(InputError, match=rf"source\.snapshot CC-MAIN-2026-43: .*{complaint}"):
        list_inputs(Snapshot(site.url), budget, terms)


def test_a_web_page_of_a_crawl_is_hashed_as_it_streams(site: Site, budget: LocalBudget, terms: Terms) -> None:
    site.replies = [Reply(cut=10**6), GOOD]
    (found,) = list_inputs(Warcs([site.url + "CC-MAIN-2026-43/a.warc.gz"]), budget, terms)
    assert (found.dump, found.bytes) == ("CC-MAIN-2026-43", None)
    with HashingStream(open_input(found.path, budget, terms)) as stream:
        assert stream.read(10) == DATA[:10]
        stream.drain()
        assert (stream.bytes_read, stream.hexdigest()) == (len(DATA), hashlib.sha256(DATA).hexdigest())


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """A bucket on an S3 server of this machine; its address and credentials are in the environment."""
    with s3_server("crawls") as client:
        for name in "abc":
            client.put_object(Bucket="crawls", Key=f"{STEM}/{name}.warc.gz", Body=name.encode() * 9)
        client.put_object(Bucket="crawls", Key="crawl-data/CC-MAIN-2026-43/warc.paths.gz", Body=LIST)
        client.put_object(Bucket="crawls", Key="big", Body=DATA * 6)
        yield "s3://crawls"


def test_s3_patterns_are_listed_with_sizes(s3: str, budget: LocalBudget) -> None:
    found = list_inputs(Warcs([f"{s3}/crawl-data/*/segments/**/*.warc.gz", f"{s3}/{STEM}/a.warc.gz"]), budget)
    paths = [f"{s3}/{STEM}/{name}.warc.gz" for name in "abc"]
    assert found == [Input(path, "warc", 9, "CC-MAIN-2026-43", path) for path in paths]
    with open_input(found[1].path, budget) as stream:
        assert stream.read() == b"b" * 9


def test_s3_holds_a_snapshot_as_the_website_does(s3: str, budget: LocalBudget) -> None:
    assert [each.path for each in list_inputs(Snapshot(s3 + "/"), budget)] == [f"{s3}/{STEM}/{n}.warc.gz" for n in "ab"]


def test_a_large_object_streams_and_seeks(s3: str, budget: LocalBudget) -> None:
    with HashingStream(open_input(f"{s3}/big", budget)) as stream:
        stream.drain()
        assert stream.hexdigest() == hashlib.sha256(DATA * 6).hexdigest()
    with open_input(f"{s3}/big", budget) as seekable:
        seekable.seek(-3, 2)
        assert seekable.read() == DATA[-3:]


@pytest.mark.parametrize(
    "path, complaint",
    [
        ("s3://crawls/x/*.gz", "matches no file"),
        ("s3://crawls/x.gz", "no such file"),
        ("s3://crawls/crawl-data", "a folder"),
        ("s3://nobucket/x.gz", "no such file"),
        ("s3://nobucket/*.gz", "no such file"),
    ],
)
def test_what_s3_lacks_is_said_in_one_line(s3: str, budget: LocalBudget, path: str, complaint: str) -> None:
    with pytest.raises(InputError, match=f"^{path[:9]}.*{complaint}"):
        list_inputs(Warcs([path]), budget)


def test_a_store_on_s3_writes_moves_and_lists(s3: str) -> None:
    store = Store(f"{s3}/out/")
    assert store.list() == [] and not store.exists("manifest.json")
    store.write_atomic("manifest.json", b"{}")
    store.write_atomic("manifest.json", b"{ }")
    with store.open_write(".work/part") as stream:
        for _ in range(6):
            stream.write(DATA)
        assert not store.exists(".work/part")
    store.move(".work/part", "data/part")
    assert (store.list(), store.partials(), store.list("data")) == (["data/part", "manifest.json"], [], ["data/part"])
    assert (store.size("data/part"), store.read_bytes("manifest.json")) == (len(DATA) * 6, b"{ }")
    assert store.sha256("data/part") == hashlib.sha256(DATA * 6).hexdigest()
    assert store.local_path("data/part") is None
    with pytest.raises(RuntimeError), store.open_write("data/torn") as stream:
        stream.write(DATA * 6)
        raise RuntimeError
    store.remove("manifest.json")
    assert store.list() == ["data/part"]
    store.remove_tree("data")
    store.remove_tree("data")
    assert store.list() == []


def test_a_bucket_that_is_not_there_and_credentials_that_are_not_are_said(
    s3: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    nobody = Store("s3://nobucket/out")
    for act in (nobody.list, lambda: nobody.write_atomic("a", b""), lambda: nobody.read_bytes("a")):
        with pytest.raises(MissingFile, match=r"^s3://nobucket/out/a?: .*bucket"):
            act()
    with pytest.raises(MissingFile, match="bucket"), nobody.open_write("a") as stream:
        stream.write(b"1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    with pytest.raises(StoreError, match=r"^s3://crawls/out/: .*AWS_ACCESS_KEY_ID") as raised:
        Store(f"{s3}/out").list()
    assert "\n" not in str(raised.value)
    fsspec.get_filesystem_class("s3").clear_instance_cache()
