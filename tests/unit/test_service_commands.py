"""The service's client without a service: what it makes of streams, logs, templates, and servers that are none."""

from __future__ import annotations

import json
import re
import shlex
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import pytest
import trustme
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from origin import Behaviour, Origin, body, in_turn, redirect, status

from pipeline.cli import cli, main
from pipeline.client import showing
from pipeline.client.answers import OVER, Job, JobEvent, Progress
from pipeline.client.client import Client
from pipeline.client.commands import MAX_TAIL, STATES
from pipeline.client.connection import MAX_BODY, Refused, ServiceError, Unavailable, Waits
from pipeline.client.event_stream import BrokenStream, ServerEvent, read_events
from pipeline.client.job_files import for_schedule
from pipeline.client.watching import Away, added, watch
from pipeline.service import jobs
from pipeline.service.scheduling.template import fill

NOW = datetime(2026, 11, 21, 6, tzinfo=UTC)
JOB: dict[str, Any] = {
    "id": "k3v7q2m7xyab",
    "name": "web",
    "team": "default",
    "state": "running",
    "output": "/data/out",
    "created_at": NOW.isoformat(),
    "changed_at": NOW.isoformat(),
}


def answer(content: Any, code: int = 200) -> Behaviour:
    return body(json.dumps(content).encode(), "application/json", code)


def problem(code: int, detail: str, **headers: str) -> Behaviour:
    content = json.dumps({"type": "about:blank", "title": "No", "status": code, "detail": detail}).encode()
    length = {"Content-Length": str(len(content)), "Content-Type": "application/problem+json"}
    return status(code, {**length, **headers}, content)


# Streams


@given(st.data())
def test_a_stream_reads_the_same_however_it_is_cut(data: st.DataObject) -> None:
    end = data.draw(st.sampled_from(["\n", "\r", "\r\n"]))
    lines = [": hello", "event: state", "id: 7", "data: {", "data:  é\u2028}", "", "data: x", "", "data: cut off"]
    whole = end.join(lines).encode()
    cuts = sorted(data.draw(st.sets(st.integers(0, len(whole)))))
    chunks = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)])]
    assert list(read_events(chunks)) == [
        ServerEvent("state", "{\n é\u2028}", "7"),
        ServerEvent("message", "x", "7"),
    ]


def test_an_id_lasts_until_the_next_and_the_last_known_comes_first() -> None:
    events = read_events([b"data: a\n\nid: 3\ndata: b\n\nid\ndata: c\n\nid: 4\0\ndata: d\n\n"], last_id="2")
    assert [event.id for event in events] == ["2", "3", "", ""]


@pytest.mark.parametrize("line", [b"data: " + b"x" * 2**20 + b"\n", b"x" * 2**20], ids=["many lines", "one line"])
def test_an_endless_event_ends(line: bytes) -> None:
    with pytest.raises(BrokenStream, match="more than"):
        list(read_events(line for _ in range(20)))


# Logs


@given(
    lines=st.lists(st.sampled_from(["a", "b", "c"]) | st.uuids().map(str), max_size=30),
    shown=st.integers(0, 30),
    window=st.integers(1, 40),
)
def test_a_log_that_only_grows_is_shown_once(lines: list[str], shown: int, window: int) -> None:
    lines = [f"{number} {line}" for number, line in enumerate(lines)]
    before, now = lines[:shown][-window:], lines[-window:]
    assert list(added(before, now)) == (lines[shown:] if before and shown >= len(lines) - window else now)


def test_lines_that_are_alike_are_each_shown() -> None:
    assert list(added(["tick"] * 3, ["tick"] * 5)) == ["tick"] * 2


def test_a_new_attempts_log_is_shown_whole() -> None:
    assert list(added(["old 1", "old 2"], ["new 1"])) == ["new 1"]


# Templates


def test_a_templates_recipe_travels_with_it_and_keeps_its_braces(tmp_path: Path) -> None:
    stage = {"datatrove": {"block": "datatrove.pipeline.filters.RegexFilter", "regex_exp": r"\d{3}"}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"stages": ["extract_html", stage]}))
    source = {"kind": "commoncrawl", "snapshot": "{snapshot}"}
    job = {"name": "crawl-{snapshot}", "source": source, "recipe": "mine.yaml"}
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job))
    sent = for_schedule(tmp_path / "job.yaml", "out/{snapshot}")
    assert fill(json.loads(json.dumps(sent)), {"snapshot": "CC-MAIN-2026-43"}) == {
        "name": "crawl-CC-MAIN-2026-43",
        "source": {"kind": "commoncrawl", "snapshot": "CC-MAIN-2026-43"},
        "recipe": {"stages": ["extract_html", stage]},
        "output": {"path": "out/CC-MAIN-2026-43"},
    }


# What is said of servers


AT_ONCE = Waits(connect=0, answer=0)
PAUSES = (0.01, 0.01)
PATH = "/api/v1/jobs/k3v7q2m7xyab"


@contextmanager
def serving(pages: dict[str, Behaviour]) -> Iterator[tuple[Origin, Client]]:
    """A server that answers so, and a client that does not wait."""
    with Origin(pages) as origin, Client(origin.url(""), waits=AT_ONCE) as client:
        yield origin, client


def refused(said: str) -> pytest.RaisesExc[Refused]:
    return pytest.raises(Refused, match=said)


@pytest.mark.parametrize(
    "behaviour, kind, said",
    [
        (problem(404, "no job 'x'"), Refused, "^no job 'x'$"),
        (problem(422, "two\nlines"), Refused, "^two lines$"),
        (problem(401, "who are you"), Refused, "^who are you; put a token into CRAWLMILL_TOKEN; `crawlmill token"),
        (problem(403, "of team web."), Refused, "^of team web; put a token into CRAWLMILL_TOKEN"),
        (problem(401, "put one into CRAWLMILL_TOKEN"), Refused, "^put one into CRAWLMILL_TOKEN$"),
        (problem(500, "a defect"), ServiceError, "^a defect$"),
        (problem(503, "the database", **{"Retry-After": "3600"}), Unavailable, "^the database$"),
        (status(502, content=b"<h1>Bad Gateway"), Unavailable, "answers 502: the service behind it is not there"),
        (status(404, content=b"<h1>nginx"), Refused, "is no crawlmill of this version: .* status 404; .* --server"),
        (body(b"<h1>Welcome", "text/html"), Refused, "is no crawlmill of this version"),
        (answer([]), Refused, "is no crawlmill of this version"),
        (answer({**JOB, "state": None}), Refused, r"cannot be read \(state\)"),
        (answer({**JOB, "created_at": "2026-11-21T06:00:00"}), Refused, r"cannot be read \(created_at\)"),
        (body(b"[" * 100_000, "application/json"), Refused, "is no crawlmill of this version"),
        (body(b"9" * 100_000, "application/json"), Refused, "is no crawlmill of this version"),
        (redirect("https://elsewhere.example/"), Refused, "sends elsewhere, to https://elsewhere.example/"),
        (status(200, {"Content-Encoding": "gzip"}, b"no gzip"), ServiceError, "its answer cannot be read"),
    ],
)
def test_an_answer_is_an_error_in_one_line(behaviour: Behaviour, kind: type, said: str) -> None:
    with serving({PATH: behaviour}) as (_, client), pytest.raises(kind, match=said) as raised:
        client.job(JOB["id"])
    assert type(raised.value) is kind
    assert "\n" not in str(raised.value)


def test_an_answer_that_breaks_off_is_asked_for_again() -> None:
    whole = answer(JOB)
    cut = status(200, {"Content-Type": "application/json", "Content-Length": "4000"}, b'{"id": ')
    told: list[str] = []
    with Origin({PATH: in_turn(cut, problem(503, "busy"), whole)}) as origin:
        with Client(origin.url(""), tell=told.append) as client:
            assert client.job(JOB["id"]).name == "web"
        assert origin.asked(PATH) == 3
    assert [re.sub(r".*(broke off|busy).*asking again.*", r"\1", each) for each in told] == ["broke off", "busy"]


def test_an_answer_without_end_is_not_kept() -> None:
    def endless(handler: Any) -> None:
        handler.raw(b"HTTP/1.1 200 X\r\nContent-Type: application/json\r\n\r\n")
        for _ in range(2 + MAX_BODY // 2**20):
            handler.raw(b" " * 2**20)

    with serving({PATH: endless}) as (_, client), pytest.raises(ServiceError, match="more than"):
        client.job(JOB["id"])


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.mark.parametrize("host, trusted", [("127.0.0.1", False), ("127.0.0.1", True), ("localhost", True)])
def test_a_certificate_has_to_hold(
    authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, trusted: bool
) -> None:
    """The last is trusted, but for another name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    with Origin({PATH: answer(JOB)}, context) as origin, Client(origin.url("", host)) as client:
        if trusted and host == "127.0.0.1":
            assert client.job(JOB["id"]).name == "web"
        else:
            with pytest.raises(Refused, match="its certificate does not hold .*SSL_CERT_FILE"):
                client.job(JOB["id"])


def test_a_server_without_tls_is_said_to_be_one() -> None:
    said = "TLS does not come about .* is it http:// there"
    with Origin({"*": answer(JOB)}) as origin, Client(f"https://{origin.place}") as client, refused(said):
        client.job(JOB["id"])


@pytest.mark.parametrize(
    "server, token, said",
    [
        ("localhost:8321", "", "--server localhost:8321: write it as in http://127.0.0.1:8321"),
        ("http://", "", "--server http://: write it"),
        ("http://[::1", "", "--server http://[::1: not a URL"),
        ("http://host/?token=x", "", "--server http://host/?token=x: write it"),
        ("http://me:secret@host", "", "--server: write it as in http://127.0.0.1:8321; a secret goes into"),
        ("http://host", "cm_a b", "CRAWLMILL_TOKEN: holds no token"),
        ("http://host", "cm_é", "CRAWLMILL_TOKEN: holds no token"),
        ("http://host", "cm_a\r\nX: y", "CRAWLMILL_TOKEN: holds no token"),
    ],
)
def test_what_cannot_be_a_server_or_a_token_is_refused(server: str, token: str, said: str) -> None:
    with pytest.raises(Refused, match=re.escape(said)) as raised:
        Client(server, token)
    assert "secret@" not in str(raised.value)
    assert not token or token not in str(raised.value)


def test_a_path_before_the_api_is_kept_and_names_are_quoted() -> None:
    with Origin({"*": problem(404, "none")}) as origin, Client(origin.url("/mill/")) as client:
        for name in ("a/../b?c", "é"):
            with pytest.raises(Refused, match="none"):
                client.schedule(name)
        assert [asked.path for asked in origin.log] == [
            "/mill/api/v1/schedules/a%2F..%2Fb%3Fc",
            "/mill/api/v1/schedules/%C3%A9",
        ]
        assert client.page("x", "report") == origin.url("/mill/jobs/x/report")


def test_pages_that_follow_one_another_for_ever_do_not() -> None:
    page = answer({"jobs": [JOB], "next": "again"})
    with Origin({"*": page}) as origin, Client(origin.url("")) as client:
        assert len(list(client.jobs())) == 2


def test_a_server_that_ends_connections_unannounced_is_no_fault() -> None:
    with serving({"*": answer(JOB)}) as (_, client):
        assert {client.job(JOB["id"]).name for _ in range(200)} == {"web"}


# Watching


def stream(*events: tuple[str, Any, str]) -> Behaviour:
    text = "".join(f"event: {kind}\nid: {id_}\ndata: {json.dumps(data)}\n\n" for kind, data, id_ in events)
    return body(text.encode(), "text/event-stream")


def event(kind: str) -> dict[str, Any]:
    return {"id": 1, "at": NOW.isoformat(), "kind": kind, "said": ""}


def test_a_watch_goes_on_where_the_stream_broke_off() -> None:
    heard: list[str | None] = []

    def noting(behaviour: Behaviour) -> Behaviour:
        def act(handler: Any) -> None:
            heard.append(handler.headers["Last-Event-ID"])
            behaviour(handler)

        return act

    streams = [
        stream(("state", event("queued"), "1"), ("progress", {"read": 5}, "1"), ("surprise", {}, "1")),
        status(200, {"Content-Type": "text/event-stream", "Content-Length": "999"}, b": cut"),
        problem(503, "starting"),
        stream(("state", event("complete"), "2")),
        status(204),
    ]
    job = in_turn(answer(JOB), answer({**JOB, "state": "complete"}))
    with serving({PATH: job, f"{PATH}/events": in_turn(*map(noting, streams))}) as (_, client):
        seen = list(watch(client, JOB["id"], PAUSES))
    kinds = [each.kind if isinstance(each, JobEvent) else type(each) for each in seen]
    assert kinds == ["queued", Progress, Away, Away, "complete"]
    assert heard == [None, "1", "1", "1"]


def test_what_is_not_worth_waiting_for_ends_a_watch() -> None:
    with serving({f"{PATH}/events": problem(404, "no job")}) as (_, client), refused("no job"):
        next(watch(client, JOB["id"]))


def test_progress_that_cannot_be_read_is_said() -> None:
    wrong = stream(("progress", {"rate": "fast"}, "1"))
    with serving({f"{PATH}/events": wrong}) as (_, client), refused("a progress that this version cannot read"):
        next(watch(client, JOB["id"]))


# The command line


Crawlmill = Callable[..., tuple[int, str, str]]
HOSTILE = "web\x1b[2J\u202e[red]\n"


@pytest.fixture
def crawlmill(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Crawlmill:
    """Runs the program in this process: exit status, stdout, stderr."""

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["crawlmill", *words])
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        return code, *capfd.readouterr()

    return call


def test_what_strangers_named_is_made_visible(crawlmill: Crawlmill) -> None:
    progress = {
        "phase": HOSTILE,
        "read": 4,
        "kept": 1,
        "stages": [{"stage": HOSTILE, "dropped": 3}],
        "failures": [{"shard": HOSTILE, "said": HOSTILE}],
        "alarms": [HOSTILE],
    }
    job = {**JOB, "name": HOSTILE, "team": HOSTILE, "said": HOSTILE, "output": HOSTILE, "progress": progress}
    pages = {
        PATH: answer(job),
        f"{PATH}/logs": body(f"\x1b[36m(worker)\x1b[0m {HOSTILE}".encode(), "text/plain"),
        "*": answer({"jobs": [job], "next": None}),
        "/api/v1/jobs/aaaaaaaaaaaa": problem(404, HOSTILE),
        "/api/v1/schedules": answer(
            {
                "schedules": [
                    {
                        "name": HOSTILE,
                        "trigger": {"cron": HOSTILE},
                        "awaited": {"occasion": HOSTILE, "said": HOSTILE},
                    }
                ]
            }
        ),
        "/api/v1/snapshots": answer({"base": "x", "snapshots": [{"id": HOSTILE, "schedules": {HOSTILE: HOSTILE}}]}),
    }
    with Origin(pages) as origin:
        for words in (
            ["status", JOB["id"]],
            ["logs", JOB["id"]],
            ["jobs"],
            ["schedule", "list"],
            ["snapshots"],
        ):
            code, out, err = crawlmill(*words, "--server", origin.url(""))
            assert (code, err) == (0, ""), words
            assert "⟨U+001B⟩[2J⟨U+202E⟩[red]" in out, words
            assert not set("\x1b\u202e") & set(out), words
            assert words[0] != "logs" or out.startswith("(worker) web"), "colours of Ray's are left out"


def test_a_schedule_says_which_snapshot_it_waits_for_and_how_to_go_on(crawlmill: Crawlmill) -> None:
    awaited = {"occasion": "CC-MAIN-2026-38", "said": "there is no /mirror/x"}
    found = {"name": "every", "trigger": {"snapshots": "https://index.example/"}, "awaited": awaited}
    pages = {"/api/v1/schedules": answer({"schedules": [found]}), "/api/v1/schedules/every": answer(found)}
    with Origin(pages) as origin:
        _, listed, _ = crawlmill("schedule", "list", "--server", origin.url(""))
        _, shown, _ = crawlmill("schedule", "show", "every", "--server", origin.url(""))
    assert "every waits for CC-MAIN-2026-38: there is no /mirror/x\n" in listed
    assert "for CC-MAIN-2026-38: there is no /mirror/x\n" in shown
    assert "crawlmill schedule skip every CC-MAIN-2026-38\n" in shown


@pytest.mark.parametrize("words", [["jobs"], ["status", "x"], ["snapshots"], ["schedule", "list"]])
def test_no_service_is_said_with_the_next_step(crawlmill: Crawlmill, words: list[str]) -> None:
    with Origin({}) as origin:
        server = origin.url("")
    code, out, err = crawlmill(*words, "--server", server)
    assert (code, out) == (1, "")
    said = f"no service at {server}; start one with `crawlmill serve`, or name another with --server"
    assert err == f"crawlmill: {said}\n"


@pytest.mark.parametrize(
    "words, said",
    [
        (["schedule", "add", "x", "j.yaml"], "say when: either --cron"),
        (["schedule", "add", "x", "j.yaml", "--cron", "* * * * *", "--snapshots"], "say when: either --cron"),
        (["schedule", "add", "x", "j.yaml", "--snapshots", "--zone", "UTC"], "--zone is for --cron"),
        (["schedule", "add", "x", "j.yaml", "--cron", "* * * * *", "--base", "http://x"], "--base is for --snapshots"),
        (["schedule", "add", "x", "j.yaml", "--snapshots", "--retry-after", "1 hour"], "write 90s, 30min, 1h or 2d"),
        (["schedule", "add", "x", "nowhere.yaml", "--snapshots"], "nowhere.yaml: No such file"),
        (["submit", "nowhere.yaml"], "nowhere.yaml: No such file"),
        (["jobs", "--state", "done"], "is not one of"),
        (["token", "create", "a b"], "write letters"),
        (["token", "create", "a", "--role", "root"], "is not one of"),
        (["token", "list", "--database", "mysql://x"], "mysql is not taken"),
        (["serve", "--config", "nowhere.yaml"], "nowhere.yaml: No such file"),
    ],
)
def test_wrong_usage_is_said_in_one_line(
    crawlmill: Crawlmill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    code, out, err = crawlmill(*words)
    assert (code, out) == (2, "")
    assert re.fullmatch(rf"crawlmill: [^\n]*{re.escape(said)}[^\n]*\n", err)


def leaves(group: click.Group, *words: str) -> Iterator[tuple[list[str], click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from leaves(command, *words, name)
        else:
            yield [*words, name], command


@pytest.mark.parametrize("words, command", [pytest.param(w, c, id=" ".join(w)) for w, c in leaves(cli)])
def test_every_command_has_help_with_an_example_that_parses(words: list[str], command: click.Command) -> None:
    said = CliRunner().invoke(cli, [*words, "--help"])
    assert said.exit_code == 0
    example = re.search(r"Example:\s+crawlmill (.+)", said.output)
    assert example
    given = shlex.split(example[1])
    assert given[: len(words)] == words
    command.make_context(words[-1], given[len(words) :])
    assert all(p.help for p in command.params if isinstance(p, click.Option))


def test_the_readme_names_every_command() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    table = readme[readme.index("## Commands") : readme.index("## Recipes")]
    for words, _ in leaves(cli):
        assert re.search(rf"`[^`]*\b{words[-1]}\b", table), words


def test_help_pays_for_click_alone() -> None:
    heavy = "{'fastapi', 'sqlalchemy', 'httpx', 'pydantic', 'rich', 'numpy', 'yaml', 'ray'}"
    code = "import sys; from pipeline.cli import cli; cli(['--help'], standalone_mode=False);"
    code += f"print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\nset()\n")


def test_what_the_client_knows_of_the_service_is_so() -> None:
    from pipeline.service.api.jobs import MAX_TAIL as LONGEST

    assert tuple(jobs.State) == STATES
    assert {state for state in jobs.State if state.over} == OVER
    assert MAX_TAIL == LONGEST


@pytest.mark.parametrize(
    "seconds, said", [(0, "0 s ago"), (-5, "0 s ago"), (61, "1 min ago"), (7_300, "2 h ago"), (200_000, "2 d ago")]
)
def test_how_long_ago(seconds: int, said: str) -> None:
    assert showing.ago(NOW, NOW + timedelta(seconds=seconds)) == said


def test_progress_reads_as_that_of_a_run() -> None:
    progress = Progress(
        phase="shards", shards=4, shards_done=3, shards_failed=1, read=2_000, kept=500, rate=20.4, seconds_left=3_700
    )
    assert showing.progress_line(progress) == "2,000 records · 20/s · 25.0% kept · 1:01:40 left · 1 shards failed"
    assert showing.position(progress) == ("shards", 3, 4)


def test_a_job_of_a_newer_service_is_read() -> None:
    assert Job.model_validate({**JOB, "colour": "green"}).model_dump()["colour"] == "green"
