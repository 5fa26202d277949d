"""Visits with manners: robots.txt of every kind (RFC 9309), pauses that servers ask for, and when it is enough."""

from __future__ import annotations

import asyncio
import gzip
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import trustme
from origin import PDF, Behaviour, Handler, Origin, body, in_turn, redirect, robots, status

from stages.fetch.address import Address
from stages.fetch.client import Client, Patience
from stages.fetch.guard import Guard
from stages.fetch.politeness import Allowance, Gate, Manners, retry_after
from stages.fetch.robots import MOST, Robots, rules_for_us
from stages.fetch.visits import Visit, Visitor

MANNERS = Manners(delay=0.01, at_once=1, longest_delay=5.0, longest_wait=5.0, requests=1000, seconds=60.0)
NAMES = ("a.example", "b.example")


@dataclass
class Trip:
    """What came of some visits, one after the other, and on the way."""

    visits: list[Visit]
    read: list[Robots]
    requests: int
    known: dict[str, Robots] = field(default_factory=dict)
    troubles: list[tuple[str, float, str | None]] = field(default_factory=list)
    """Host, rest and what closed it, as the visitor told."""

    @property
    def reasons(self) -> list[str | None]:
        return [visit.reason for visit in self.visits]


def visit(
    urls: Sequence[str],
    origins: Sequence[Origin],
    manners: Manners = MANNERS,
    *,
    attempts: int = 3,
    budget: int | None = None,
    known: dict[str, Robots] | None = None,
    tls: ssl.SSLContext | None = None,
    resolve: Callable[[str, int], Awaitable[Sequence[str]]] | None = None,
    together: bool = False,
) -> Trip:
    async def here(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    async def trip() -> Trip:
        allowed = [(host, origin.port) for host in ("127.0.0.1", *NAMES) for origin in origins]
        guard = Guard(allowed, resolve or here)
        client = Client("crawlmill/9", guard, tls or ssl.create_default_context(), Patience(1.0, 0.5, 1.0))
        allowance, gates, read = Allowance(budget), dict[str, Gate](), list[Robots]()
        troubles: list[tuple[str, float, str | None]] = []

        def gate_of(host: str) -> Gate:
            return gates.setdefault(host, Gate(host, manners, allowance))

        async def note(found: Robots, requests: int) -> None:
            read.append(found)

        async def note_trouble(gate: Gate) -> None:
            troubles.append((gate.host, gate.rest, gate.closed))

        files = dict(known or {})
        visitor = Visitor(client, gate_of, files, note, note_trouble, attempts, 100_000)
        addresses = [Address.of(url) for url in urls]
        if together:
            visits = list(await asyncio.gather(*(visitor.visit(each) for each in addresses if each is not None)))
        else:
            visits = [await visitor.visit(each) for each in addresses if each is not None]
        return Trip(visits, read, sum(gate.requests for gate in gates.values()), files, troubles)

    return asyncio.run(trip())


def slow(handler: Handler) -> None:
    handler.server.origin.closed.wait(3)


def gzipped(text: str) -> Behaviour:
    return status(200, {"Content-Encoding": "gzip"}, gzip.compress(text.encode()))


OURS = "User-agent: *\nDisallow: /\n\nUser-agent: Crawlmill\nDisallow: /no\n"
CHAIN = {f"/{n}": redirect(f"/{n + 1}") for n in range(1, 9)}


@pytest.mark.parametrize(
    ("pages", "allowed", "refused"),
    [
        ({}, "/no", ""),  # 404
        *(({"/robots.txt": status(code)}, "/no", "") for code in (400, 401, 403, 410, 451)),
        ({"/robots.txt": robots("")}, "/no", ""),
        ({"/robots.txt": robots("User-agent: *\nDisallow: /no")}, "/yes", "/no"),
        ({"/robots.txt": robots("\ufeffUser-agent: *\r\nDisallow: /no\r\n")}, "/yes", "/no"),
        ({"/robots.txt": robots("user-agent:*\nAllow: /no/yes\nDisallow: /no")}, "/no/yes", "/no/x"),
        ({"/robots.txt": robots("User-agent: *\nDisallow: /*.pdf$")}, "/x.pdfs", "/x.pdf"),
        ({"/robots.txt": robots(OURS)}, "/yes", "/no"),
        ({"/robots.txt": robots("User-agent: crawl\nDisallow: /\nUser-agent: crawlmill-x\nDisallow: /")}, "/x", ""),
        ({"/robots.txt": robots("User-agent: crawlmill/1.0\nDisallow: /no")}, "/yes", "/no"),
        ({"/robots.txt": robots(OURS + "# " + "x" * 200 * 2**10 + "\nDisallow: /late\n")}, "/yes", "/late"),
        ({"/robots.txt": robots("User-agent: *\nDisallow: /no\n" + "#" * MOST + "\nDisallow: /\n")}, "/yes", "/no"),
        ({"/robots.txt": gzipped("User-agent: *\nDisallow: /no\n" + "#" * MOST + "\nDisallow: /\n")}, "/yes", "/no"),
        ({"/robots.txt": robots(bytes(range(256)) * 8 + b"\nUser-agent: *\nDisallow: /no\n")}, "/yes", "/no"),
        ({"/robots.txt": robots("<html><body>Disallow: /</body></html>")}, "/no", ""),
        ({"/robots.txt": redirect("/4"), "/9": robots("User-agent: *\nDisallow: /no"), **CHAIN}, "/no", ""),
        ({"/robots.txt": redirect("/5"), "/9": robots("User-agent: *\nDisallow: /no"), **CHAIN}, "/yes", "/no"),
        ({"/robots.txt": redirect("/robots.txt")}, "/no", ""),  # more than five redirects: unavailable
    ],
)
def test_what_a_robots_txt_says(pages: Mapping[str, Behaviour], allowed: str, refused: str) -> None:
    with Origin({"*": body(), **pages}) as origin:
        trip = visit([origin.url(path) for path in (allowed, refused) if path], [origin])
        assert trip.reasons == [None] + ["disallowed"] * bool(refused)
        assert origin.asked(refused) == 0
    assert trip.visits[0].sha256 is not None
    assert len(trip.read) == 1, "read once"
    assert {each.agent for each in origin.log} == {"crawlmill/9"}


def test_rules_are_for_the_path_that_is_asked_whatever_dots_it_was_written_with() -> None:
    with Origin({"*": body(), "/robots.txt": robots("User-agent: *\nDisallow: /no\nDisallow: /x/")}) as origin:
        urls = [origin.url(path) for path in ("/yes/../no/a", "/yes/%2E%2e/no/b", "/./no/c", "/x/../yes", "/no/%2e./d")]
        assert visit(urls, [origin]).reasons == ["disallowed"] * 3 + [None] * 2
    assert [each.path for each in origin.log] == ["/robots.txt", "/yes", "/d"]


@pytest.mark.parametrize(
    ("behaviour", "reason", "asked"),
    [
        (status(500), "robots_unreachable", 3),
        (status(503), "robots_unreachable", 3),
        (status(429), "robots_unreachable", 3),
        (slow, "robots_unreachable", 3),
        (lambda handler: handler.raw(b"hello\r\n"), "robots_unreachable", 3),
        (redirect("file:///etc/passwd"), "robots_unreachable", 1),
        (redirect("http://127.0.0.1:1/robots.txt"), "bad_port", 1),
        (redirect("http://127.0.0.1:8088/robots.txt"), "private_address", 1),
    ],
)
def test_where_no_robots_txt_can_be_had_nothing_is_asked(behaviour: Behaviour, reason: str, asked: int) -> None:
    with Origin({"*": body(), "/robots.txt": behaviour}) as origin:
        trip = visit([origin.url("/a"), origin.url("/b")], [origin])
    assert trip.reasons == [reason] * 2
    assert [each.path for each in origin.log] == ["/robots.txt"] * asked
    assert trip.visits[0].robots == "unreachable"


def test_nor_where_the_name_or_the_certificate_is_wrong() -> None:
    async def nowhere(host: str, port: int) -> Sequence[str]:
        raise OSError("no such name")

    assert visit(["https://nowhere.example/a"], [], resolve=nowhere).reasons == ["robots_unreachable"]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("a.example").configure_cert(context)
    with Origin({"*": body()}, context) as origin:
        assert visit([origin.url("/", "a.example")], [origin]).reasons == ["robots_unreachable"]
    assert origin.log == []


def test_a_server_error_that_passes_is_asked_again() -> None:
    pages = {"*": body(), "/robots.txt": in_turn(status(503), robots("User-agent: *\nDisallow: /no"))}
    with Origin(pages) as origin:
        assert visit([origin.url("/no")], [origin]).reasons == ["disallowed"]
        assert origin.asked("/robots.txt") == 2


def test_robots_txt_across_hosts_and_once_for_each_origin() -> None:
    rules = robots("User-agent: *\nDisallow: /no")
    with Origin({"*": body()}) as one, Origin({"*": body(), "/robots.txt": rules}) as other:
        one.pages = {"*": body(), "/robots.txt": redirect(other.url("/robots.txt", "b.example"))}
        urls = [one.url("/no", "a.example"), one.url("/yes", "a.example"), other.url("/no", "a.example")]
        trip = visit(urls, [one, other])
    assert trip.reasons == ["disallowed", None, "disallowed"]
    assert [each.origin for each in trip.read] == [Address.of(urls[0]).origin, Address.of(urls[2]).origin]  # type: ignore[union-attr]
    assert other.asked("/robots.txt") == 2


def test_a_file_that_is_known_is_read_again_after_a_day() -> None:
    with Origin({"*": body(), "/robots.txt": robots("User-agent: *\nDisallow: /new")}) as origin:
        where, now = origin.url("/new").removesuffix("/new"), time.time()
        fresh = Robots(where, now - 80_000, "User-agent: *\nDisallow: /old")
        assert visit([origin.url("/new"), origin.url("/old")], [origin], known={where: fresh}).reasons == [
            None,
            "disallowed",
        ]
        assert origin.asked("/robots.txt") == 0
        old = replace(fresh, fetched_at=now - 90_000)
        assert visit([origin.url("/new"), origin.url("/old")], [origin], known={where: old}).reasons == [
            "disallowed",
            None,
        ]
        assert origin.asked("/robots.txt") == 1


def test_many_agents_and_many_rules_are_not_multiplied() -> None:
    """Protego gives each rule to each agent of its group: 500 KB could make a hundred million."""
    agents = "".join(f"User-agent: a{n}\n" for n in range(15_000)).encode()
    rules = b"Disallow: /*a*b*c*d*e$\n" * ((MOST - len(agents)) // 24)
    start = time.process_time()
    hostile = Robots("http://a.example", 0.0, rules_for_us(agents + b"user agent *\n" + rules))
    address = Address.of("http://a.example/" + "abcd" * 500)
    assert address is not None
    assert hostile.allows(address)
    assert time.process_time() - start < 2


def test_a_line_that_is_cut_is_no_rule() -> None:
    data = b"User-agent: *\nDisallow: /no\n" + b"Disallow: /x\n" * (MOST // 13 + 1)
    assert set(rules_for_us(data[:MOST]).splitlines()) == {"User-agent: *", "Disallow: /no", "Disallow: /x"}


def gaps(origin: Origin) -> list[float]:
    """Seconds from the end of each answer to the next request."""
    return [after.came - before.went for before, after in zip(origin.log, origin.log[1:])]


def test_requests_keep_their_distance_and_their_number() -> None:
    def answer(handler: Handler) -> None:
        handler.server.origin.closed.wait(0.05)
        body()(handler)

    with Origin({"*": answer, "/robots.txt": robots("User-agent: *\nCrawl-delay: 0.12")}) as origin:
        trip = visit([origin.url(f"/{n}") for n in range(5)], [origin], replace(MANNERS, delay=0.1), together=True)
    assert trip.reasons == [None] * 5
    assert min(gaps(origin)[1:]) >= 0.12
    assert gaps(origin)[0] >= 0.1, "the file itself was asked for before it could say so"


def test_two_at_once_are_two_and_not_three() -> None:
    def answer(handler: Handler) -> None:
        handler.server.origin.closed.wait(0.2)
        body()(handler)

    with Origin({"*": answer}) as origin:
        visit([origin.url(f"/{n}") for n in range(6)], [origin], replace(MANNERS, at_once=2), together=True)
    pages = [each for each in origin.log if each.path != "/robots.txt"]
    overlaps = [sum(other.came <= each.came < other.went for other in pages) for each in pages]
    assert max(overlaps) == 2


def test_a_crawl_delay_has_a_bound() -> None:
    with Origin({"*": body(), "/robots.txt": robots("User-agent: *\nCrawl-delay: 86400")}) as origin:
        trip = visit([origin.url("/a"), origin.url("/b")], [origin], replace(MANNERS, longest_delay=0.3))
    assert trip.reasons == [None, None]
    assert 0.3 <= gaps(origin)[1] < 60


@pytest.mark.parametrize("code", [429, 503])
@pytest.mark.parametrize("dated", [False, True])
def test_retry_after_holds_for_the_whole_host(code: int, dated: bool) -> None:
    def busy(handler: Handler) -> None:
        when = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True) if dated else "1"
        status(code, {"Retry-After": when})(handler)

    with Origin({"*": body(), "/a": in_turn(busy, body())}) as origin:
        trip = visit([origin.url("/a"), origin.url("/b")], [origin], together=True)
    assert trip.reasons == [None, None]
    refused = next(at for at, each in enumerate(origin.log) if each.path == "/a")
    assert gaps(origin)[refused] >= 0.9
    assert next(each for each in trip.visits if each.url.endswith("/a")).attempts == 2


def test_waits_grow() -> None:
    with Origin({"*": status(503), "/robots.txt": status(404)}) as origin:
        (found,) = visit([origin.url("/a")], [origin], replace(MANNERS, delay=0.05), attempts=4).visits
    assert (found.reason, found.status, found.attempts) == ("http_error", 503, 4)
    first, second, third = gaps(origin)[1:]
    assert first >= 0.1
    assert second >= 0.2
    assert third >= 0.4


@pytest.mark.parametrize(("wait", "closed"), [(5, None), (86_400, "host_refuses")])
def test_trouble_is_told_before_it_is_waited_for(wait: int, closed: str | None) -> None:
    with Origin({"/a": status(503, {"Retry-After": str(wait)})}) as origin:
        ((host, rest, why),) = visit([origin.url("/a")], [origin], attempts=1).troubles
    assert (host, why) == ("127.0.0.1", closed)
    assert wait - 5 < rest <= wait


def test_who_asks_to_wait_for_too_long_is_left_alone() -> None:
    with Origin({"*": body(), "/a": status(429, {"Retry-After": "86400"})}) as origin:
        trip = visit([origin.url("/a"), origin.url("/b")], [origin])
    assert trip.reasons == ["host_refuses"] * 2
    assert origin.asked("/b") == 0


def test_budgets_of_host_and_job() -> None:
    with Origin({"*": body()}) as origin:
        urls = [origin.url(f"/{n}", name) for n in range(3) for name in NAMES]
        trip = visit(urls, [origin], replace(MANNERS, requests=3))
        assert trip.reasons == [None] * 4 + ["host_budget_spent"] * 2, "robots.txt costs one"
        trip = visit(urls, [origin], budget=5)
        assert trip.reasons == [None] * 3 + ["job_budget_spent"] * 3
        assert trip.requests == 5
        trip = visit(urls, [origin], replace(MANNERS, seconds=0.001))
        assert set(trip.reasons) == {"host_time_spent"}


def test_a_host_that_no_longer_answers_is_left_alone() -> None:
    with Origin({"*": lambda handler: handler.raw(), "/robots.txt": status(404)}) as origin:
        manners = replace(MANNERS, longest_wait=0.05)
        trip = visit([origin.url(f"/{n}") for n in range(8)], [origin], manners, attempts=4)
    assert trip.reasons == ["protocol_error"] * 3 + ["host_unreachable"] * 5
    assert trip.requests == len(origin.log) == 1 + 12


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("/b", None),
        ("file:///etc/passwd", "bad_redirect"),
        ("http://user:secret@a.example/", "bad_redirect"),
        ("http://a.example/", "insecure_redirect"),
    ],
)
def test_where_a_page_redirects_to(location: str, reason: str | None) -> None:
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("a.example").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with Origin({"/a": redirect(location), "/b": body()}, context) as origin:
        (found,) = visit([origin.url("/a", "a.example")], [origin], tls=trusting).visits
    assert found.reason == reason
    assert found.location == (origin.url("/b", "a.example") if reason is None else None)
    assert origin.asked("/b") == 0, "that is the next round's"


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (body(b""), "empty_body"),
        (status(204), "empty_body"),
        (body(PDF, code=206), "http_error"),
        (status(300), "http_error"),
        (status(302), "http_error"),  # to nowhere
        (body(b"x" * 200_000), "too_large"),
    ],
)
def test_answers_that_bring_nothing(behaviour: Behaviour, reason: str) -> None:
    with Origin({"/a": behaviour}) as origin:
        (found,) = visit([origin.url("/a")], [origin]).visits
    assert (found.reason, found.body) == (reason, None)


def test_a_body_that_is_cut_short_is_asked_for_again() -> None:
    short = status(200, {"Content-Length": str(len(PDF))}, PDF[:-1])
    with Origin({"/a": in_turn(short, body()), "/b": short}) as origin:
        trip = visit([origin.url("/a"), origin.url("/b")], [origin], attempts=2)
    assert [(each.reason, each.attempts) for each in trip.visits] == [(None, 2), ("short_body", 2)]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 37),
        ("Sun, 06 Nov 1994 08:48:37 GMT", 0),
        *((nonsense, 0) for nonsense in ("", "-5", "soon", "9" * 400, "1e9", "Sun, 99 Nov 1994 99:99:99 GMT")),
    ],
)
def test_retry_after(value: str, seconds: float) -> None:
    assert retry_after(value, datetime(1994, 11, 6, 8, 49, tzinfo=UTC).timestamp()) == seconds
