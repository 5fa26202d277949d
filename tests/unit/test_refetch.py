"""Refetching from end to end in this process: what is asked, once, what goes on, and what is left when a run dies."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from crawls import digests
from origin import PDF, Handler, Origin, body, in_turn, redirect, robots, status
from published import edit
from refetching import CUT, cut, digest, fetches, kept, origin_of, pdf, plan_of, whole, write_crawl
from rich.console import Console

from pipeline.audit.explore import find, render
from pipeline.audit.verify import verify
from pipeline.engine.inline import InlineEngine
from pipeline.events import Exchanging, Finished
from pipeline.fetching import bodies, journal
from pipeline.fetching.bodies import ANSWERS, body_member, with_bodies
from pipeline.fetching.rounds import shares
from pipeline.gc import collect
from pipeline.meeting import meet
from pipeline.plan import Plan
from pipeline.run import RunFailed, run
from pipeline.spec import JobError, make_stage
from pipeline.store import Store
from stages.fetch.address import Address, host_key
from stages.fetch.refetch import Refetch
from stages.read.events import WarcRecord
from stages.read.warc import read_warc
from stages.stage import RECORD


def carry_out(plan: Plan) -> dict[str, Any]:
    """The manifest of the run, which `verify` finds nothing wrong with."""
    with InlineEngine(1) as engine:
        *_, last = run(plan, engine)
    assert isinstance(last, Finished)
    assert list(verify(plan.store)) == []
    return last.manifest


def paths(origin: Origin) -> list[str]:
    """What was asked for, besides robots.txt."""
    return sorted(each.path for each in origin.log if each.path != "/robots.txt")


def test_what_was_cut_off_is_fetched_and_goes_on_whole(tmp_path: Path) -> None:
    more = {
        "/page": body(b"<html>gone", "text/html"),
        "/gone": status(404),
        "/short": body(pdf("short")[:500]),
        "/stub": body(PDF[:20]),
    }
    with origin_of(["a", "b", "uncut"], more) as origin:
        a, b, uncut, page, gone, short, stub = (
            origin.url(f"/{name}") for name in ("a", "b", "uncut", "page", "gone", "short", "stub")
        )
        strangers = ["ftp://a.example/x", "https://u:p@a.example/x", "https://a.example:99999/"]
        write_crawl(tmp_path, [[a, b, uncut, page], [gone, a, f"{a}#page=2", short, stub, *strangers]], [uncut])
        plan = plan_of(tmp_path, "out", [origin])
        manifest = carry_out(plan)
        assert paths(origin) == ["/a", "/b", "/gone", "/page", "/short", "/stub"], "each once, none that was whole"
        assert origin.asked("/robots.txt") == 1
        assert {each.agent for each in origin.log} == {"crawlmill/0.1.0 (+ops@example.org)"}
    assert kept(plan) == {
        a: whole(pdf("a")),
        f"{a}#page=2": whole(pdf("a")),
        b: whole(pdf("b")),
        uncut: whole(PDF),
        page: cut(),
        gone: cut(),
        short: cut(pdf("short")[:500]),
        stub: cut(),  # the crawl had more of it
        **dict.fromkeys(strangers, cut()),
    }
    rows = fetches(plan)
    assert {url: row["reason"] for url, row in rows.items()} == dict.fromkeys([a, b, page, short, stub]) | {
        gone: "http_error"
    }
    assert (rows[gone]["status"], rows[gone]["attempts"], rows[gone]["body_file"]) == (404, 1, None)
    assert (rows[page]["kind_differs"], rows[page]["content_type"]) == (True, "text/html")
    assert (rows[a]["kind_differs"], rows[a]["bytes"], rows[a]["final_url"]) == (False, len(pdf("a")), a)
    assert (rows[a]["truncated"], rows[short]["truncated"]) == (None, "no_end")
    assert manifest["fetch"] == {
        "urls": 6,
        "fetched": 4,
        "kind_differs": 1,
        "reasons": {"http_error": 1},
        "bytes": 2 * len(pdf("a")) + 520,
        "hosts": 1,
        "requests": 7,
    }
    stored = [event for path in Path(plan.output, "fetch").glob("*.warc.gz") for event in read_warc(path.open("rb"))]
    found = {event.url: event.payload for event in stored if isinstance(event, WarcRecord)}
    assert found == {a: pdf("a"), b: pdf("b"), short: pdf("short")[:500], stub: PDF[:20]}, "any WARC reader reads them"


def test_redirects_are_followed_five_times_across_hosts_and_nobody_is_asked_twice(tmp_path: Path) -> None:
    chain = {f"/{n}": redirect(f"/{n + 1}") for n in range(1, 7)}
    with origin_of(["7"], chain) as origin, origin_of(["there"]) as other:
        origin.pages = {
            **origin.pages,
            "/over": redirect(other.url("/there", "localhost")),
            "/back": in_turn(redirect("/back"), body()),
            "/inside": redirect("http://127.0.0.1:9/"),
            "/file": redirect("file:///etc/passwd"),
        }
        names = ("1", "2", "7", "over", "back", "inside", "file")
        urls = {name: origin.url(f"/{name}") for name in names}
        write_crawl(tmp_path, [[*urls.values(), other.url("/there", "localhost")]])
        plan = plan_of(tmp_path, "out", [origin, other])
        carry_out(plan)
        assert paths(origin) == sorted(f"/{name}" for name in (*names, "3", "4", "5", "6"))
        assert paths(other) == ["/there"]
    rows = {name: fetches(plan)[url] for name, url in urls.items()}
    assert {name: (row["reason"], row["redirects"]) for name, row in rows.items()} == {
        "1": ("too_many_redirects", 5),
        "2": (None, 5),
        "7": (None, 0),
        "over": (None, 1),
        "back": ("too_many_redirects", 5),
        "inside": ("bad_port", 1),
        "file": ("bad_redirect", 0),
    }
    assert rows["2"]["final_url"] == urls["7"]
    assert rows["over"]["final_url"] == other.url("/there", "localhost")
    assert kept(plan)[urls["over"]] == whole(pdf("there"))


def test_no_room_for_a_body_is_not_the_hosts_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body beyond a megabyte goes to a temporary file, which here cannot be made."""
    with Origin({"/a": body(pdf("a", 2**21))}) as origin:
        write_crawl(tmp_path, [[origin.url("/a")]])
        plan = plan_of(tmp_path, "out", [origin])
        with monkeypatch.context() as patch, pytest.raises(RunFailed, match="nowhere: No such file"):
            patch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
            carry_out(plan)
        assert origin.asked("/a") == 1
        carry_out(plan)
        assert kept(plan) == {origin.url("/a"): whole(pdf("a", 2**21))}, "nothing was noted against it"


@pytest.mark.parametrize("content_type", ["application/http; msgtype=response", "text/html", "", "x" * 60_000])
def test_whatever_a_server_calls_it_a_pdf_comes_back_as_it_was_sent(tmp_path: Path, content_type: str) -> None:
    sent = b"HTTP/1.1 200 OK\r\nX: y\r\n\r\n" + PDF
    with Origin({"/a": body(sent, content_type)}) as origin:
        write_crawl(tmp_path, [[origin.url("/a")]])
        plan = plan_of(tmp_path, "out", [origin])
        carry_out(plan)
        assert kept(plan) == {origin.url("/a"): whole(sent)}
        assert fetches(plan)[origin.url("/a")]["content_type"] == (content_type[:255] or None)


def test_robots_txt_is_obeyed(tmp_path: Path) -> None:
    with origin_of(["a", "b"], {"/robots.txt": robots("User-agent: *\nDisallow: /b")}) as origin:
        write_crawl(tmp_path, [[origin.url("/a"), origin.url("/b")]])
        plan = plan_of(tmp_path, "out", [origin])
        carry_out(plan)
        assert paths(origin) == ["/a"]
    row = fetches(plan)[origin.url("/b")]
    assert (row["reason"], row["robots"], row["attempts"]) == ("disallowed", "rules", 0)


@pytest.mark.parametrize(("wait", "reason"), [("2", None), ("86400", "host_refuses")])
def test_what_a_host_said_holds_in_the_next_round(tmp_path: Path, wait: str, reason: str | None) -> None:
    """One host has something to say, and another one redirects to it."""
    pages = {"/busy": status(503, {"Retry-After": wait}), "/b": body(pdf("b"))}
    with Origin(pages) as origin, Origin({}) as other:
        other.pages = {"/a": redirect(origin.url("/b"))}
        urls = [origin.url("/busy"), other.url("/a", "localhost")]
        write_crawl(tmp_path, [urls])
        plan = plan_of(tmp_path, "out", [origin, other], attempts=1)
        carry_out(plan)
        found = fetches(plan)[urls[1]]
        assert (found["reason"], found["redirects"]) == (reason, 1)
        asked = {each.path: each for each in origin.log}
        if reason is None:
            assert asked["/b"].came - asked["/busy"].went > 1.9
        else:
            assert "/b" not in asked


def test_what_a_host_said_holds_for_a_run_that_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It sends us away for long while another request is under way, in which we are interrupted."""
    monkeypatch.setattr(meet, "refetch", partial(meet.refetch, chunks=journal.Chunks(visits=1)))

    def refusing(handler: Handler) -> None:
        while len(paths(origin)) < 2 and not origin.closed.wait(0.02):
            pass
        status(429, {"Retry-After": "86400"})(handler)

    def interrupting(handler: Handler) -> None:
        while len(plan.store.list(journal.JOURNAL)) < 2 and not origin.closed.wait(0.02):
            pass  # until what the other one said is stored, behind robots.txt
        os.kill(os.getpid(), signal.SIGINT)
        origin.closed.wait(2)

    with Origin({"/n0": refusing, "/n1": interrupting}) as origin:
        write_crawl(tmp_path, [[origin.url("/n0"), origin.url("/n1")]])
        plan = plan_of(tmp_path, "out", [origin], concurrency_per_host=2)
        with pytest.raises(KeyboardInterrupt), InlineEngine(1) as engine:
            list(run(plan, engine))
        assert paths(origin) == ["/n0", "/n1"]
        origin.pages = {"*": body()}
        carry_out(plan)
        assert paths(origin) == ["/n0", "/n1"], "nobody is asked again"
        origin.pages = {"*": status(429, {"Retry-After": "86400"})}
        undisturbed = plan_of(tmp_path, "undisturbed", [origin])
        carry_out(undisturbed)
    assert {row["reason"] for row in fetches(plan).values()} == {"host_refuses"}
    assert digests(plan.output) == digests(undisturbed.output)


DAYS = 5 * 86_400


@pytest.mark.parametrize(
    ("said", "closed", "asked", "rested"),
    [(-DAYS, None, 1, 0.0), (DAYS, None, 1, 0.3), (-DAYS, "host_refuses", 0, 0.0)],
    ids=["the rest is over", "the clock went back", "closed for good"],
)
def test_a_run_goes_on_after_days(tmp_path: Path, said: int, closed: str | None, asked: int, rested: float) -> None:
    with origin_of(["a"]) as origin:
        write_crawl(tmp_path, [[origin.url("/a")]])
        plan = plan_of(tmp_path, "out", [origin], max_wait=0.3)
        key = host_key("127.0.0.1")
        row = {"key": key, "check": 0, "url": "127.0.0.1", "what": "host", "round": 0, "attempts": 0, "reason": closed}
        with journal.Journal(plan.store, journal.bin_of(key), journal.CHUNKS) as kept_so_far:
            kept_so_far.add(row | {"fetched_time": time.time() + said, "seconds": 600.0})
        start = time.monotonic()
        carry_out(plan)
        assert (origin.asked("/a"), fetches(plan)[origin.url("/a")]["reason"]) == (asked, closed)
        assert [each.came - start >= rested for each in origin.log] == [True, True][: 2 * asked]


def test_private_hosts_are_not_asked_unless_allowed(tmp_path: Path) -> None:
    with origin_of(["a"]) as origin:
        write_crawl(tmp_path, [[origin.url("/a"), origin.url("/a", "localhost")]])
        plan = plan_of(tmp_path, "out", [], allow_hosts=[])
        carry_out(plan)
        assert origin.log == []
    assert {row["reason"] for row in fetches(plan).values()} == {"private_address"}


def test_a_crawl_with_nothing_to_fetch(tmp_path: Path) -> None:
    write_crawl(tmp_path, [["http://a.example/x"], []], ["http://a.example/x"])
    plan = plan_of(tmp_path, "out", [])
    assert carry_out(plan)["fetch"]["urls"] == 0
    assert fetches(plan) == {}
    assert kept(plan) == {"http://a.example/x": whole(PDF)}


def test_budgets_are_alarms(tmp_path: Path) -> None:
    names = [f"n{n}" for n in range(6)]
    with origin_of(names) as origin:
        write_crawl(tmp_path, [[origin.url(f"/{name}", host) for name in names for host in ("127.0.0.1", "localhost")]])
        plan = plan_of(tmp_path, "out", [origin], max_requests=8, max_requests_per_host=4)
        manifest = carry_out(plan)
        assert len(origin.log) == manifest["fetch"]["requests"] <= 8
    assert set(manifest["fetch"]["reasons"]) == {"host_budget_spent"}
    assert any("max_requests" in alarm for alarm in manifest["alarms"])


def test_a_jobs_budget_goes_to_hosts_that_may_use_it(tmp_path: Path) -> None:
    """A large host, which may be asked for a few of its URLs only, leaves the small one what that needs."""
    large, small = [f"n{n}" for n in range(30)], [f"m{n}" for n in range(6)]
    with origin_of([*large, *small]) as origin:
        urls = [origin.url(f"/{name}") for name in large], [origin.url(f"/{name}", "localhost") for name in small]
        write_crawl(tmp_path, urls)
        plan = plan_of(tmp_path, "out", [origin], max_requests=15, max_requests_per_host=8)
        manifest = carry_out(plan)
        assert len(origin.log) == manifest["fetch"]["requests"] == 15
    assert manifest["fetch"]["reasons"] == {"host_budget_spent": 30 - 7}


def test_that_a_share_was_used_up_says_nothing_of_a_host(tmp_path: Path) -> None:
    """Its robots.txt, for which an earlier round had no request left, is asked for when there is one."""
    with origin_of(["a"]) as origin:
        write_crawl(tmp_path, [[origin.url("/a")]])
        plan = plan_of(tmp_path, "out", [origin])
        where = Address.of(origin.url("/"))
        assert where is not None
        key, check = where.keys
        row = {"key": key, "check": check, "url": where.origin, "what": "robots", "round": 0, "attempts": 0}
        with journal.Journal(plan.store, journal.bin_of(key), journal.CHUNKS) as kept_so_far:
            kept_so_far.add(row | {"reason": "job_budget_spent", "fetched_time": time.time()})
        carry_out(plan)
        assert [each.path for each in origin.log] == ["/robots.txt", "/a"]


def test_hosts_that_do_not_answer_are_an_alarm_when_they_are_most(tmp_path: Path) -> None:
    with origin_of(["a"]) as origin:
        nowhere = [f"http://nobody-{n}.invalid/a.pdf" for n in range(3)]
        write_crawl(tmp_path, [[origin.url("/a"), *nowhere]])
        manifest = carry_out(plan_of(tmp_path, "out", [origin]))
    assert manifest["alarms"] == ["refetch: 3 of 4 URLs are of hosts that did not answer: is this network all right?"]


@pytest.mark.parametrize(
    ("requests", "rows", "expected"),
    [(10, [1, 1], [5, 5]), (1, [5, 5, 5], [0, 0, 1]), (0, [3], [0]), (-4, [3, 4], [0, 0]), (7, [], [])],
)
def test_shares_of_a_budget(requests: int, rows: list[int], expected: list[int]) -> None:
    assert shares(requests, rows) == expected


def test_a_repeated_job_starts_from_the_bodies_of_an_earlier_one(tmp_path: Path) -> None:
    with origin_of(["a", "b", "c"], {"/d": redirect("/a")}) as origin:
        urls = [origin.url(f"/{name}") for name in "abd"]
        write_crawl(tmp_path, [urls])
        first = plan_of(tmp_path, "first", [origin])
        carry_out(first)
        origin.log.clear()
        again = plan_of(tmp_path, "again", [origin], earlier=[first.output])
        manifest = carry_out(again)
        assert origin.log == []
        assert digests(again.output) == digests(first.output)
        assert manifest["fetch"]["requests"] == 0
        rows = fetches(again)
        assert {row["earlier"] for row in rows.values()} == {first.output}
        assert rows[urls[2]]["final_url"] == urls[0]
        shutil.rmtree(Path(first.output, "fetch"))
        third = plan_of(tmp_path, "third", [origin], earlier=[again.output])
        carry_out(third)
        assert origin.log == [], "the copy stands by itself"

        for path in Path(third.output, "fetch").glob("*.warc.gz"):
            path.write_bytes(b"damaged" * 100)
        fourth = plan_of(tmp_path, "fourth", [origin], earlier=[third.output])
        carry_out(fourth)
        assert paths(origin) == ["/a", "/b", "/d"]
        assert digests(fourth.output) == digests(first.output)
    with pytest.raises(RunFailed, match="earlier: .*nowhere: no fetch/part"):
        carry_out(plan_of(tmp_path, "fifth", [origin], earlier=[str(tmp_path / "nowhere")]))


@pytest.fixture
def stopped(tmp_path: Path) -> Iterator[tuple[Plan, Origin]]:
    """A run over six URLs that somebody interrupted (Ctrl-C) while it waited for the fourth."""
    names = [f"n{n}" for n in range(6)]

    def interrupting(handler: Handler) -> None:
        origin = handler.server.origin
        if len(paths(origin)) == 4:
            os.kill(os.getpid(), signal.SIGINT)
            origin.closed.wait(2)
        body(pdf(handler.path[1:]))(handler)

    with origin_of([], {"*": interrupting}) as origin:
        urls = [origin.url(f"/{name}") for name in names]
        write_crawl(tmp_path, [urls[:4], urls[2:]])
        plan = plan_of(tmp_path, "out", [origin])
        with pytest.raises(KeyboardInterrupt), InlineEngine(1) as engine:
            list(run(plan, engine))
        assert len(paths(origin)) == 4
        yield plan, origin


def test_an_interrupted_run_goes_on_from_what_is_stored(stopped: tuple[Plan, Origin], tmp_path: Path) -> None:
    plan, origin = stopped
    carry_out(plan)
    assert sorted(map(origin.asked, set(paths(origin)))) == [1, 1, 1, 1, 1, 2], "again only who had not answered"
    assert origin.asked("/robots.txt") == 1
    undisturbed = plan_of(tmp_path, "undisturbed", [origin])
    carry_out(undisturbed)
    assert digests(plan.output) == digests(undisturbed.output)


def test_gc_leaves_what_was_fetched(stopped: tuple[Plan, Origin]) -> None:
    plan, _ = stopped
    store = plan.store
    torn = ".work/attempts/fetch.140-0123456789abcdef.warc.gz"
    store.write_atomic(torn, b"torn")
    before = store.list("fetch") + store.list(journal.JOURNAL)
    assert before
    assert torn in [each.path for each in collect(store, force=True)]
    assert store.list("fetch") + store.list(journal.JOURNAL) == before


def test_bodies_that_nobody_noted_go(stopped: tuple[Plan, Origin]) -> None:
    """A run that died between a chunk's bodies and its rows."""
    plan, _ = stopped
    plan.store.write_atomic("fetch/bodies-000-0123456789abcdef.warc.gz", b"stranger")
    carry_out(plan)
    assert "fetch/bodies-000-0123456789abcdef.warc.gz" not in plan.store.list("fetch")


def test_a_stored_body_that_was_damaged_is_said(stopped: tuple[Plan, Origin]) -> None:
    plan, _ = stopped
    (path,) = plan.store.list("fetch")
    Path(plan.output, path).write_bytes(b"x" * plan.store.size(path))
    with pytest.raises(RunFailed, match=f"{path}: no body with sha256"), InlineEngine(1) as engine:
        list(run(plan, engine))


def test_a_run_goes_on_after_any_step(tmp_path: Path) -> None:
    """The driver dies after each of the meeting's steps, and nobody is asked twice."""
    with origin_of(["a", "b"], {"/c": redirect("/a")}) as origin:
        urls = [origin.url(f"/{name}") for name in "abc"]
        write_crawl(tmp_path, [urls, urls])
        plan = plan_of(tmp_path, "out", [origin])
        steps = 0
        with InlineEngine(1) as engine:
            while True:
                seen = 0
                for event in run(plan, engine):
                    seen += isinstance(event, Exchanging)
                    if seen > steps:
                        break
                else:
                    break
                steps += 3
        assert steps >= 9
        assert paths(origin) == ["/a", "/b", "/c"]
        assert origin.asked("/robots.txt") == 1
        assert list(verify(plan.store)) == []
        undisturbed = plan_of(tmp_path, "undisturbed", [origin])
        carry_out(undisturbed)
    assert digests(plan.output) == digests(undisturbed.output)


@pytest.mark.parametrize("harm", ["change", "remove", "add"])
def test_verify_sees_what_became_of_bodies(tmp_path: Path, harm: str) -> None:
    with origin_of(["a"]) as origin:
        write_crawl(tmp_path, [[origin.url("/a")]])
        plan = plan_of(tmp_path, "out", [origin])
        carry_out(plan)
    (path,) = Path(plan.output, "fetch").glob("bodies-*")
    if harm == "change":
        path.write_bytes(path.read_bytes()[::-1])
    elif harm == "remove":
        path.unlink()
    else:
        path.with_name("bodies-000-00.warc.gz").write_bytes(b"")
    assert [each.path for each in verify(plan.store)]


@pytest.mark.parametrize("name", ["urls", "fetched", "kind_differs", "reasons", "bytes"])
def test_verify_recounts_what_was_fetched(tmp_path: Path, name: str) -> None:
    with origin_of(["a"]) as origin:
        write_crawl(tmp_path, [[origin.url("/a")]])
        plan = plan_of(tmp_path, "out", [origin])
        carry_out(plan)
    edit(Path(plan.output), lambda manifest: manifest["fetch"].update({name: {"x": 1} if name == "reasons" else 7}))
    (difference,) = verify(plan.store)
    assert (difference.path, difference.problem.partition(" is ")[0]) == ("manifest.json", f"fetch: {name}")


def test_the_report_tells_of_fetches(tmp_path: Path) -> None:
    with origin_of(["a"], {"/gone": status(410)}) as origin:
        write_crawl(tmp_path, [[origin.url("/a"), origin.url("/gone")]])
        plan = plan_of(tmp_path, "out", [origin])
        carry_out(plan)
    page = Path(plan.output, "report.html").read_text()
    section = page.partition('id="fetches"')[2].partition("</section>")[0]
    assert "http_error" in section
    assert "1 of 2 fetched" in section


def test_in_an_object_store(tmp_path: Path) -> None:
    """Where nothing can be appended to or renamed."""
    with origin_of(["a", "b"], {"/c": redirect("/a")}) as origin:
        write_crawl(tmp_path, [[origin.url(f"/{name}") for name in "abc"]])
        plan = plan_of(tmp_path, "out", [origin])
        carry_out(plan)
        there = replace(plan, output=f"memory://refetch-{tmp_path.name}")
        carry_out(there)
    assert digests(there.output) == digests(plan.output)
    assert [row["url"] for row in fetches(plan).values() if row["body_file"] is None] == []


def test_bodies_come_in_bounded_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "WINDOW_BYTES", 2500)
    store, payloads = Store(str(tmp_path)), [pdf(f"{n}", 200) for n in range(6)]
    places, packed = [], b""
    for number, payload in enumerate(payloads):
        member = body_member("http://a.example/", "2026-01-01T00:00:00Z", None, payload)
        places.append((number + 2 if number < 4 else number + 4, len(packed), len(member), payload))
        packed += member
    store.write_atomic("fetch/bodies-000-00.warc.gz", packed)
    answers = [
        {"doc": doc, "body_file": "fetch/bodies-000-00.warc.gz", "body_offset": offset, "body_length": length,
         "bytes": len(payload), "sha256": digest(payload), "truncated": None}
        for doc, offset, length, payload in places
    ]  # fmt: skip
    rows = [
        {"media": "pdf" if n % 2 else "html", "payload": CUT, "truncated": "length", "ordinal": n} for n in range(24)
    ]
    batches = pa.RecordBatch.from_pylist(rows, schema=RECORD)
    given = iter([batches.slice(0, 7), batches.slice(7)])
    found = list(with_bodies(store, 0, pa.RecordBatch.from_pylist(answers, schema=ANSWERS), "pdf", given))
    assert len(found) > 3
    assert max(sum(len(each) for each in part.column("payload").to_pylist() if each != CUT) for part in found) <= 2500
    together = pa.Table.from_batches(found)
    assert together["ordinal"].to_pylist() == list(range(24)), "all of them, in order"
    expected = {2 * doc + 1: payload for doc, _, _, payload in places}
    assert together["payload"].to_pylist() == [expected.get(n, CUT) for n in range(24)]
    assert together["truncated"].to_pylist() == [None if n in expected else "length" for n in range(24)]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "contact: missing"),
        ({"contact": "nobody"}, "contact: write an e-mail address"),
        ({"contact": "a@b.c\r\nX: y"}, "contact: write an e-mail address"),
        ({"contact": "http://a.example"}, "contact: write an e-mail address"),
        ({"contact": "a@b.c", "only": "html"}, "only: input should be 'pdf'"),
        ({"contact": "a@b.c", "allow_hosts": ["a.example"]}, "write host:port"),
        ({"contact": "a@b.c", "robots_max_age": 100_000}, "robots_max_age"),
        ({"contact": "a@b.c", "max_bytes": 2**40}, "max_bytes"),
    ],
)
def test_fields_that_are_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(JobError, match=said):
        make_stage("refetch", fields, "test")


@pytest.mark.parametrize("contact", ["ops@example.org", "mailto:ops@example.org", "https://example.org/crawl"])
def test_contacts(contact: str) -> None:
    assert Refetch(contact=contact).contact == contact


def test_an_authority_that_is_none_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    write_crawl(tmp_path, [[]])
    with pytest.raises(JobError, match=r"refetch: ca_file: .*ca\.pem: no certificate"):
        plan_of(tmp_path, "out", [], ca_file=str(tmp_path / "ca.pem"))


def test_the_table_is_written_even_of_nothing(tmp_path: Path) -> None:
    write_crawl(tmp_path, [[]])
    plan = plan_of(tmp_path, "out", [])
    carry_out(plan)
    assert pq.read_metadata(Path(plan.output, "fetch", "part-00000.parquet")).num_rows == 0
    assert json.loads(Path(plan.output, "manifest.json").read_text())["fetch"]["requests"] == 0


def test_inspect_says_what_came_of_fetching(tmp_path: Path) -> None:
    more = {"/page": body(b"<html>gone", "text/html"), "/gone": status(404)}
    with origin_of(["a"], more) as origin:
        urls = [origin.url(f"/{name}") for name in ("a", "gone", "page")]
        write_crawl(tmp_path, [[*urls, "ftp://a.example/x"]])
        plan = plan_of(tmp_path, "out", [origin])
        carry_out(plan)
    console = Console(file=io.StringIO(), width=300)
    for record in find(plan.store):
        render(record, console)
    assert isinstance(console.file, io.StringIO)
    said = [line.split("fetched ", 1)[1].strip() for line in console.file.getvalue().split("\n") if "fetched " in line]
    assert [re.sub(" on .*Z", "", each) for each in said] == [
        f"from {urls[0]}: {len(pdf('a')):,} bytes",
        "not: http_error, status 404; the crawl's copy went on",
        f"from {urls[2]}: 10 bytes of text/html, no PDF; the crawl's copy went on",
    ]
