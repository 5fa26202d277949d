"""What every request passes: who asks, from where, how often, how much; and what every answer carries."""

from __future__ import annotations

import http.client
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving import Served, served
from starlette.requests import HTTPConnection

from pipeline.service import tokens
from pipeline.service.api.callers import COOKIE, SECURE_COOKIE, from_here

JOBS = "/api/v1/jobs"


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service with tokens."""
    folder = tmp_path_factory.mktemp("closed")
    with served(folder, f"sqlite:///{folder}/crawlmill.db", limits={"body_bytes": 2_000}) as service:
        service.token("first")
        yield service


@pytest.fixture(scope="module")
def open_(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service without."""
    folder = tmp_path_factory.mktemp("open")
    with served(folder, f"sqlite:///{folder}/crawlmill.db") as service:
        yield service


def detail(answer: httpx.Response, status: int) -> str:
    """What a problem says."""
    assert answer.status_code == status, answer.text[:500]
    assert answer.headers["content-type"] == "application/problem+json"
    content = answer.json()
    assert content["status"] == status
    assert content["instance"] == answer.request.url.path
    said: str = content["detail"]
    assert "\n" not in said
    return said


@pytest.mark.parametrize(
    "path", [JOBS, "/api/v1/cluster", "/metrics", "/api/v1/snapshots", "/api/v1/jobs/aaaaaaaaaaaa"]
)
@pytest.mark.parametrize("token", [None, "cm_" + "a" * 43, "?"])
def test_strangers_learn_nothing(closed: Served, path: str, token: str | None) -> None:
    with closed.client(token) as client:
        answer = client.get(path)
    assert "crawlmill token create" in detail(answer, 401)
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_probes_need_no_token_and_no_name(closed: Served, open_: Served, path: str) -> None:
    for service in (closed, open_):
        with service.client(Host="10.0.0.7:8321") as client:
            assert client.get(path).json()["ok"] is True


def test_readers_may_read_and_nothing_else(closed: Served) -> None:
    token = closed.token("reader", role="read")
    with closed.client(token) as client:
        assert client.get(JOBS).status_code == 200
        assert client.get("/metrics").status_code == 200
        said = detail(client.post(JOBS, json=closed.job("a")), 403)
    assert said == "token reader may read only; this needs one with the role submit"


def test_a_token_that_is_revoked_ends_at_once(closed: Served) -> None:
    token = closed.token("short-lived")
    with closed.client(token) as client:
        assert client.get(JOBS).status_code == 200
        with closed.service.database.write() as connection:
            tokens.revoke(connection, "short-lived")
        detail(client.get(JOBS), 401)


def test_the_last_token_revoked_opens_nothing(tmp_path: Path) -> None:
    with served(tmp_path, f"sqlite:///{tmp_path}/crawlmill.db") as service, service.client() as client:
        assert client.get(JOBS).status_code == 200
        service.token("only")
        detail(client.get(JOBS), 401)
        with service.service.database.write() as connection:
            tokens.revoke(connection, "only")
        detail(client.get(JOBS), 401)


def test_beyond_loopback_there_is_no_way_without_a_token(tmp_path: Path) -> None:
    with served(tmp_path, f"sqlite:///{tmp_path}/crawlmill.db", host="0.0.0.0") as service, service.client() as client:
        detail(client.get(JOBS), 401)


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "10.0.0.7", "[::2]", "["]
)
def test_names_that_were_pointed_at_this_machine(open_: Served, host: str) -> None:
    with open_.client(Host=host) as client:
        detail(client.get(JOBS), 421)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8321", "127.0.0.1:1", "[::1]:8321"])
def test_names_of_this_machine(open_: Served, host: str) -> None:
    with open_.client(Host=host) as client:
        assert client.get(JOBS).status_code == 200


FOREIGN = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": "http://["},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_pages_of_others_cannot_have_things_done(open_: Served, closed: Served, headers: dict[str, str]) -> None:
    with open_.client() as client:
        assert "nothing was done" in detail(client.post(JOBS, json=open_.job("b"), headers=headers), 403)
        assert client.get(JOBS).json()["jobs"] == []
        assert client.get(JOBS, headers=headers).status_code == 200, "reading is what CORS is for"
    token = closed.token(f"browser-{FOREIGN.index(headers)}")
    with closed.client() as client:
        client.cookies.set(COOKIE, token)
        detail(client.post(JOBS, json=closed.job("b"), headers=headers), 403)
        detail(client.delete(f"{JOBS}/aaaaaaaaaaaa", headers=headers), 403)
    with closed.client(token) as client:  # no browser sends this header by itself
        detail(client.delete(f"{JOBS}/aaaaaaaaaaaa", headers=headers), 404)


def test_a_cookie_is_a_token_for_pages_of_ours(closed: Served) -> None:
    token = closed.token("browser")
    with closed.client() as client:
        client.cookies.set(COOKIE, token)
        assert client.get(JOBS).status_code == 200
        detail(client.delete(f"{JOBS}/aaaaaaaaaaaa"), 403)  # says not where it comes from
        for headers in ({"Sec-Fetch-Site": "same-origin"}, {"Origin": closed.url}):
            detail(client.delete(f"{JOBS}/aaaaaaaaaaaa", headers=headers), 404)
        client.cookies.set(COOKIE, "cm_" + "a" * 43)
        detail(client.get(JOBS), 401)


def test_signing_in_gives_a_cookie_that_scripts_and_other_sites_do_not_have(closed: Served) -> None:
    token = closed.token("person")
    with closed.client(Origin=closed.url) as client:
        answer = client.post("/login", data={"token": token, "next": "/"})
        said = answer.headers["set-cookie"].lower()
        assert "httponly" in said and "samesite=strict" in said and "path=/" in said and "secure" not in said
        assert client.get(JOBS).status_code == 200
        over_https = closed.url.replace("http:", "https:")  # which a proxy ended that nobody told the service of
        secure = client.post("/login", data={"token": token}, headers={"Origin": over_https})
        assert secure.headers["set-cookie"].startswith(f"{SECURE_COOKIE}=cm_")
        assert "secure" in secure.headers["set-cookie"].lower() and "domain" not in secure.headers["set-cookie"].lower()
    with closed.client(Cookie=f"{SECURE_COOKIE}={token}") as client:
        assert client.get(JOBS).status_code == 200
        gone = client.post("/logout", headers={"Origin": closed.url}).headers.get_list("set-cookie")
        assert [each.split("=")[0] for each in gone if "max-age=0" in each.lower()] == [SECURE_COOKIE, COOKIE]


def test_a_proxy_is_believed_where_the_operator_names_it(tmp_path: Path) -> None:
    said = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9"}
    for proxies, believed in ((["127.0.0.0/8"], True), ([], False)):
        folder = tmp_path / str(believed)
        more: dict[str, Any] = {"proxies": proxies, "limits": {"requests_per_minute": 5}}
        with served(folder, f"sqlite:///{folder}.db", **more) as service, service.client(**said) as client:
            token = service.token("person")
            plain = {"Cookie": f"{COOKIE}={token}"}
            assert client.get(JOBS, headers=plain).status_code == (401 if believed else 200), "of http, not of https"
            answers = [client.get("/healthz", headers={"X-Forwarded-For": f"203.0.113.{n}"}) for n in range(7)]
            assert {"strict-transport-security" in each.headers for each in answers} == {believed}
            assert (429 in [each.status_code for each in answers]) is not believed, "a forged address is no new limit"


@pytest.mark.parametrize("header", ["Forwarded", "X-Forwarded-For", "X-Real-IP", "Via"])
def test_without_tokens_nobody_comes_through_a_proxy(open_: Served, header: str) -> None:
    with open_.client(**{header: "203.0.113.9"}) as client:
        assert "through no proxy" in detail(client.get(JOBS), 421)


def test_without_tokens_nobody_comes_from_elsewhere() -> None:
    for host, here in (("127.0.0.1", True), ("::1", True), ("10.0.0.7", False)):
        scope = {"type": "http", "headers": [(b"host", b"localhost")], "client": (host, 1)}
        assert from_here(HTTPConnection(scope)) is here


def test_requests_are_limited_by_token_and_else_by_address(tmp_path: Path) -> None:
    limits = {"requests_per_minute": 5}
    with served(tmp_path, f"sqlite:///{tmp_path}/crawlmill.db", limits=limits) as service:
        one, other = service.token("one"), service.token("other")
        with service.client(one) as client:
            assert [client.get(JOBS).status_code for _ in range(6)] == [200] * 5 + [429]
            answer = client.get(JOBS)
            assert "more than 5 requests a minute" in detail(answer, 429)
            assert 1 <= int(answer.headers["retry-after"]) <= 60
        with service.client(other) as client:
            assert client.get(JOBS).status_code == 200
        guesses = [service.client("cm_" + letter * 43) for letter in "abcdef"]
        assert [client.get(JOBS).status_code for client in guesses] == [401] * 5 + [429], "a new guess is no new limit"
        with service.client() as client:
            detail(client.get("/healthz"), 429)


def test_bodies_are_limited_also_where_no_length_is_announced(closed: Served) -> None:
    token = closed.token("sender")

    def endless() -> Iterator[bytes]:
        for _ in range(100):
            yield b"x" * 1_000

    headers = {"Content-Type": "application/yaml"}
    with closed.client(token) as client:
        detail(client.post(JOBS, content=b"x" * 2_001, headers=headers), 413)
        detail(client.post(JOBS, content=endless(), headers=headers), 413)
        detail(client.post(JOBS, content=b"x" * 2_000, headers=headers), 422)


def test_a_length_that_lies(closed: Served) -> None:
    token = closed.token("liar")
    host, port = closed.url.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    connection.putrequest("POST", JOBS)
    for name, value in {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}.items():
        connection.putheader(name, value)
    connection.putheader("Content-Length", str(10**12))
    connection.endheaders(b"{}")
    assert connection.getresponse().status == 413
    connection.close()


def test_every_answer_carries_what_keeps_browsers_in_check(closed: Served) -> None:
    token = closed.token("careful")
    with closed.client(token) as client:
        paths = ("/healthz", JOBS, "/metrics", "/nothing", "/api/v1/openapi.json", "/static/none.css")
        answers = [client.get(path) for path in paths] + [
            client.put(JOBS),
            httpx.get(closed.url + JOBS, trust_env=False),
        ]
    for answer in answers:
        assert "default-src 'none'" in answer.headers["content-security-policy"], answer.request.url
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "server" not in answer.headers


@pytest.mark.parametrize(
    ("path", "status"),
    [
        *((path, 200) for path in ("/", "/cluster", JOBS, "/api/v1/openapi.json", "/metrics", "/healthz")),
        *((path, 200) for path in ("/static/app.css", "/login")),
        *((path, 404) for path in ("/nothing", f"{JOBS}/aaaaaaaaaaaa", "/jobs/aaaaaaaaaaaa")),
        *((path, 405) for path in ("/api/v1/plan", "/logout")),
        (f"{JOBS}?limit=0", 422),
    ],
)
def test_head_is_get_without_a_body(closed: Served, path: str, status: int) -> None:
    """RFC 9110, section 9.3.2."""
    with closed.client(closed.token(f"head-{secrets.token_hex(4)}")) as client:
        head, get = client.head(path), client.get(path)
        assert (head.status_code, head.content) == (status, b"")
        if path != "/metrics":  # which counted one request more
            ours = [{**answer.headers, "date": ""} for answer in (head, get)]
            assert ours[0] == ours[1]


def test_the_document_says_which_answers_the_gate_gives(closed: Served) -> None:
    with closed.client(closed.token("document")) as client:
        operations = [
            (path, said["responses"])
            for path, some in client.get("/api/v1/openapi.json").json()["paths"].items()
            for said in some.values()
        ]
    assert len(operations) > 20
    for path, responses in operations:
        expected = {"429"} if path in ("/healthz", "/readyz") else {"401", "403", "421", "429", "503"}
        assert expected <= {*responses}, path


def test_what_is_no_http_harms_nobody(open_: Served) -> None:
    host, port = open_.url.removeprefix("http://").split(":")
    for noise in (
        b"\x16\x03\x01\x02\x00\x01",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET " + b"a" * 70_000,
    ):
        with socket.create_connection((host, int(port)), 10) as connection:
            connection.sendall(noise)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65_536):
                pass
    with open_.client() as client:
        assert client.get("/healthz").status_code == 200
