"""What a job's run left, over HTTP: manifest, report, records; and what operators ask."""

from __future__ import annotations

import html
import json
import re
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from serving import Served, SomeCluster, served
from test_service_api_gate import detail

from pipeline.audit.lookup import Found
from pipeline.service import jobs, search, tables
from pipeline.service.cursors import write_cursor
from pipeline.service.jobs import State

JOBS = "/api/v1/jobs"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("runs")
    with served(folder, f"sqlite:///{folder}/crawlmill.db", limits={"requests_per_minute": 100_000}) as made:
        yield made


@pytest.fixture(scope="module")
def client(service: Served) -> Iterator[httpx.Client]:
    with service.client() as made:
        yield made


@pytest.fixture(scope="module")
def run(service: Served, client: httpx.Client, dataset: Path) -> str:
    """A job that is over, as its address."""
    job = client.post(JOBS, json=service.job("sample")).json()
    shutil.copytree(dataset, job["output"])
    service.move(job["id"], State.STARTING, State.RUNNING, State.COMPLETE)
    return f"{JOBS}/{job['id']}"


@pytest.fixture(scope="module")
def waiting(service: Served, client: httpx.Client) -> str:
    """One that is not."""
    return f"{JOBS}/{client.post(JOBS, json=service.job('waits')).json()['id']}"


@pytest.mark.parametrize("what", ["manifest", "report", "records"])
def test_nothing_before_the_end(client: httpx.Client, waiting: str, what: str) -> None:
    assert "it comes at the end" in detail(client.get(f"{waiting}/{what}"), 409)
    detail(client.get(f"{JOBS}/aaaaaaaaaaaa/{what}"), 404)


def test_the_manifest_is_the_run_s(client: httpx.Client, run: str, dataset: Path) -> None:
    assert client.get(f"{run}/manifest").json() == json.loads((dataset / "manifest.json").read_bytes())


def test_the_report_runs_nothing_and_has_no_origin(client: httpx.Client, run: str, dataset: Path) -> None:
    answer = client.get(f"{run}/report")
    assert answer.content == (dataset / "report.html").read_bytes()
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert "sandbox" in policy and "default-src 'none'" in policy and "allow-" not in policy
    assert "script-src" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    head = client.head(f"{run}/report")
    assert (head.status_code, head.content, head.headers["content-security-policy"]) == (200, b"", policy)


def records(client: httpx.Client, run: str, **query: Any) -> list[dict[str, Any]]:
    answer = client.get(f"{run}/records", params=query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["records"]
    return found


def test_records_by_what_became_of_them(client: httpx.Client, run: str) -> None:
    dropped = client.get(f"{run}/manifest").json()["drops"][0]
    found = records(client, run, reason=dropped["reason"], stage=dropped["stage"], limit=100)
    assert len(found) == min(100, dropped["count"])
    assert {each["record"]["reason"] for each in found} == {dropped["reason"]}
    url, id = found[0]["record"]["url"], found[0]["record"]["id"]
    assert url in [each["record"]["url"] for each in records(client, run, url=url)]
    assert id in [each["record"]["id"] for each in records(client, run, id=id)]
    assert all(each["record"]["url"].startswith("http") for each in records(client, run, url="http*"))
    for outcome in ("kept", "dropped"):
        assert {each["record"]["outcome"] for each in records(client, run, outcome=outcome)} == {outcome}
    english = records(client, run, language="eng_Latn")
    assert {each["signals"]["language"]["language"] for each in english} == {"eng_Latn"}
    assert records(client, run, language="xyz_Latn") == []


def test_texts_come_when_they_are_asked_for(client: httpx.Client, run: str) -> None:
    without, with_ = (records(client, run, outcome="kept", text=wanted)[0] for wanted in ("false", "true"))
    assert without["text"] is None and without["no_text"] == "ask with text=true"
    assert len(with_["text"]) > 100 and with_["no_text"] is None
    assert {**without, "text": 0, "no_text": 0} == {**with_, "text": 0, "no_text": 0}


def test_what_there_is_more_of_is_said(client: httpx.Client, run: str) -> None:
    answer = client.get(f"{run}/records", params={"limit": 2}).json()
    assert (len(answer["records"]), answer["said"]) == (2, "there are more than 2")


@pytest.mark.parametrize("query", ["", "outcome=dropped&", "url=http*&language=eng_Latn&", "reason=too_few_words&"])
def test_pages_of_records(client: httpx.Client, run: str, query: str) -> None:
    """However many ask for each page, all of them together are the ledger, once and in its order."""
    whole, pages = ([*pages_of(client, f"{run}/records?{query}limit={limit}")] for limit in (100, 7))
    assert [each for page in whole for each in page] == [each for page in pages for each in page]
    assert {len(page) for page in pages[:-1]} == {7} and 0 < len(pages[-1]) <= 7
    places = [tuple(each["record"][name] for name in ("shard", "offset", "ordinal")) for page in pages for each in page]
    assert places == sorted(set(places))
    if not query:
        assert len(places) == client.get(f"{run}/manifest").json()["totals"]["records_read"] > 300


def pages_of(client: httpx.Client, path: str | None) -> Iterator[list[dict[str, Any]]]:
    while path is not None:
        answer = client.get(path)
        assert ("next" in answer.links) == (answer.json()["next"] is not None)
        yield answer.json()["records"]
        path = answer.links["next"]["url"] if "next" in answer.links else None


def test_the_explorer_has_them_all_without_scripts(client: httpx.Client, run: str) -> None:
    page: str | None = f"{run.removeprefix('/api/v1')}/records?outcome=dropped"
    seen: list[str] = []
    while page is not None:
        text = client.get(page).text
        seen += re.findall(r'class="url code" href="([^"]+)"', text)
        later = re.search(r'rel="next" href="([^"]+)"', text)
        page = html.unescape(str(httpx.URL(page).join(later[1]))) if later else None
    assert len(seen) == len(set(seen)) == client.get(f"{run}/manifest").json()["totals"]["dropped"] > 100


def test_a_cursor_beyond_the_last_record_is_an_empty_page(client: httpx.Client, run: str, dataset: Path) -> None:
    last = max(path.name for path in (dataset / "ledger").iterdir())
    assert records(client, run, cursor=write_cursor(last, 10**18 - 1, 10**18 - 1)) == []


def test_a_search_that_was_ended_goes_on_from_there(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(search, "time", SimpleNamespace(monotonic=lambda: clock[0]))

    def slow(found: Found) -> bool:
        clock[0] += 1
        return False

    first = search.search(str(dataset), search.Query(), seconds=3.5, fits=slow)
    assert (first.found, first.whole) == ([], False)
    rest = search.search(str(dataset), search.Query(), first.following, limit=1_000)
    everything = search.search(str(dataset), search.Query(), limit=1_000)
    assert rest.found == everything.found[4:]
    assert (everything.following, everything.whole) == (None, True)


def test_a_search_has_its_time(client: httpx.Client, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "SECONDS", 0.0)
    answer = client.get(f"{run}/records", params={"url": "*"}).json()
    assert answer["said"].startswith("stopped after")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("reason=too_few_wrods", "did you mean too_few_words"),
        ("stage=gopher", "stage gopher"),
        ("outcome=kept&reason=too_few_words", "kept records have no reason"),
        ("limit=101", "limit:"),
        ("outcome=lost", "outcome:"),
        ("url=%00", "url:"),
        ("language=e%27", "language:"),
        ("text=maybe", "text:"),
        ("cursor=%25", "cursor:"),
        ("cursor=YQ", "none that a page gave"),
        (f"cursor={write_cursor('part-00000.parquet', 1, -1)}", "none that a page gave"),
        (f"cursor={write_cursor('part-77777.parquet', 1, 1)}", "no file of this run's ledger"),
    ],
)
def test_searches_that_cannot_be(client: httpx.Client, run: str, query: str, said: str) -> None:
    assert said in detail(client.get(f"{run}/records?{query}"), 422)


def test_storage_that_fails_is_told_of(service: Served, client: httpx.Client, dataset: Path) -> None:
    job = client.post(JOBS, json=service.job("damaged")).json()
    output = Path(job["output"])
    shutil.copytree(dataset, output)
    min((output / "ledger").glob("*.parquet")).write_bytes(b"PAR1")
    assert "ledger/part-" in detail(client.get(f"{JOBS}/{job['id']}/records"), 503)
    (output / "manifest.json").write_bytes(b"{")
    detail(client.get(f"{JOBS}/{job['id']}/manifest"), 503)


def metrics(client: httpx.Client) -> dict[str, float]:
    """By name and the values of labels, the latter in the order of the alphabet: `crawlmill_jobs queued`."""
    text = client.get("/metrics").text
    return {
        " ".join([sample.name, *sorted(sample.labels.values())]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_count_what_is_there(tmp_path: Path) -> None:
    with served(tmp_path, f"sqlite:///{tmp_path}/crawlmill.db") as service, service.client() as client:
        queued, running = (client.post(JOBS, json=service.job(name)).json()["id"] for name in "ab")
        job = service.move(running, State.STARTING, State.RUNNING)
        with service.service.database.write() as connection:
            progress = {"read": 10, "kept": 6, "dropped": 3, "failed": 1, "states": "ddrwf"}
            jobs.keep_progress(connection, job, progress, job.changed_at)
        client.get(f"{JOBS}/{queued}")
        client.head(f"{JOBS}/{queued}")
        client.get("/nothing/here")
        client.request("BREW", "/")
        found = metrics(client)
        expected = {
            "crawlmill_jobs queued": 1,
            "crawlmill_jobs running": 1,
            "crawlmill_jobs failed": 0,
            f"crawlmill_job_records_read_total {running}": 10,
            f"crawlmill_job_records_kept {running}": 6,
            f"crawlmill_job_records_failed_total {running}": 1,
            "crawlmill_cluster_up": 1,
            "crawlmill_cluster_cpus total": 8,
            "crawlmill_cluster_cpus used": 3,
            "crawlmill_cluster_nodes alive": 2,
            "crawlmill_cluster_nodes dismissed": 1,
            "crawlmill_cluster_nodes lost": 1,
            "crawlmill_http_requests_total /api/v1/jobs/{job_id} 200 GET": 1,
            "crawlmill_http_requests_total /api/v1/jobs/{job_id} 200 HEAD": 1,
            "crawlmill_http_requests_total /api/v1/jobs 201 POST": 2,
            "crawlmill_http_requests_total 404 GET none": 1,
            "crawlmill_http_requests_total / 405 other": 1,
        }
        assert {name: found.get(name) for name in expected} == expected
        shards = {
            state: found[" ".join(["crawlmill_job_shards", *sorted((running, state))])]
            for state in ("done", "unreadable")
        }
        assert shards == {"done": 2, "unreadable": 1}
        for name in ("crawlmill_queue_oldest_seconds", f"crawlmill_job_last_progress_seconds {running}"):
            assert 0 <= found[name] < 60


def test_what_may_fall_is_no_counter(tmp_path: Path) -> None:
    """Duplicates leave at the end of a run; of a counter Prometheus would take that for a new beginning."""
    with served(tmp_path, f"sqlite:///{tmp_path}/crawlmill.db") as service, service.client() as client:
        service.move(client.post(JOBS, json=service.job("a")).json()["id"], State.STARTING, State.RUNNING)
        kinds = dict(re.findall(r"^# TYPE (crawlmill_job_records_\w+) (\w+)$", client.get("/metrics").text, re.M))
    counted = {f"crawlmill_job_records_{name}_total": "counter" for name in ("read", "dropped", "failed")}
    assert kinds == {"crawlmill_job_records_kept": "gauge", **counted}


def test_a_list_of_snapshots_is_watched_before_it_was_ever_read(tmp_path: Path) -> None:
    crawl = "https://index.commoncrawl.org/"
    name = f"crawlmill_snapshot_poll_last_success_seconds {crawl}"
    with served(tmp_path, f"sqlite:///{tmp_path}/crawlmill.db") as service, service.client() as client:
        assert name not in metrics(client), "nobody wants it"
        source = {"kind": "commoncrawl", "snapshot": "{snapshot}"}
        job = service.job("{schedule}", source=source, output={"path": "out/{snapshot}"})
        wanted = {"name": "every", "trigger": {"snapshots": True}, "job": job}
        assert client.post("/api/v1/schedules", json=wanted).status_code == 201
        assert metrics(client)[name] == 0
        with service.service.database.write() as connection:
            read = {"base": crawl, "failures": 0, "answered_at": datetime(2026, 11, 30, tzinfo=UTC)}
            connection.execute(tables.feeds.insert().values(read))
        assert metrics(client)[name] == datetime(2026, 11, 30, tzinfo=UTC).timestamp()
        assert client.delete("/api/v1/schedules/every").status_code == 204
        assert name not in metrics(client)


def test_a_cluster_that_does_not_answer_holds_up_nobody(tmp_path: Path) -> None:
    cluster = SomeCluster(holding=threading.Event())
    try:
        with served(tmp_path, f"sqlite:///{tmp_path}/crawlmill.db", cluster) as service, service.client() as client:
            ready = client.get("/readyz")
            assert ready.json()["checks"]["cluster"] == "not known yet", "a probe waits for no cluster"
            assert metrics(client)["crawlmill_cluster_up"] == 0
            ready = client.get("/readyz")
            assert (ready.status_code, ready.json()["checks"]["cluster"]) == (200, "does not answer")
            state = client.get("/api/v1/cluster").json()
            assert state == {"reachable": False, "said": "no answer within 3 s", "nodes": []}
    finally:
        assert cluster.holding is not None
        cluster.holding.set()


def test_logs_of_a_cluster_that_hangs_take_no_threads_of_others(tmp_path: Path) -> None:
    cluster = SomeCluster(holding=threading.Event())
    assert cluster.holding is not None
    with served(tmp_path, f"sqlite:///{tmp_path}/crawlmill.db", cluster) as service, service.client() as client:
        job = client.post(JOBS, json=service.job("a")).json()["id"]
        service.move(job, State.STARTING, attempt=1)
        paths = [f"{JOBS}/{job}/logs", f"/jobs/{job}/log"] * 30  # as anyio has threads, and some
        with ThreadPoolExecutor(len(paths)) as pool:
            try:
                asked = [pool.submit(service.client().get, path) for path in paths]
                turned_away = next(each.result() for each in as_completed(asked))
                assert turned_away.status_code == 503 and "retry-after" in turned_away.headers
                assert client.get(JOBS).status_code == 200
            finally:
                cluster.holding.set()


def test_what_somebody_else_wrote_is_no_manifest(service: Served, client: httpx.Client) -> None:
    job = client.post(JOBS, json=service.job("foreign-manifest")).json()["id"]
    (output := service.data / "out" / "foreign-manifest").mkdir(parents=True)
    (output / "manifest.json").write_text("[]")
    assert detail(client.get(f"{JOBS}/{job}/manifest"), 503).endswith("manifest.json: not a manifest")


@pytest.mark.parametrize(
    "wrong", [{"read": 10**400}, {"step": {"stage": "a", "phase": "b", "done": 10**400, "tasks": 1}}]
)
def test_numbers_beyond_all_bounds_take_nothing_down(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with served(tmp_path, f"sqlite:///{tmp_path}/crawlmill.db") as service, service.client() as client:
        job = client.post(JOBS, json=service.job("a")).json()["id"]
        running = service.move(job, State.STARTING, State.RUNNING)
        with service.service.database.write() as connection:
            jobs.keep_progress(connection, running, wrong, running.changed_at)
        for path in ("/", f"/jobs/{job}", "/metrics", JOBS, f"{JOBS}/{job}"):
            assert client.get(path).status_code == 200, path


def test_the_cluster_s_machines(client: httpx.Client) -> None:
    state = client.get("/api/v1/cluster").json()
    assert state["reachable"] is True
    assert [(node["address"], node["alive"]) for node in state["nodes"]] == [
        ("10.0.0.1", True),
        ("10.0.0.2", True),
        ("10.0.0.3", False),
        ("10.0.0.4", False),
    ]


def test_a_service_is_not_ready_without_its_tables(tmp_path: Path) -> None:
    with served(tmp_path, f"sqlite:///{tmp_path}/crawlmill.db") as service, service.client() as client:
        with service.service.database.write() as connection:
            connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0000'")
        assert "at 0000, this version's at" in detail(client.get("/readyz"), 503)
        with service.service.database.write() as connection:
            connection.exec_driver_sql("DROP TABLE jobs")
        said = detail(client.get(JOBS), 503)
        assert said == "the database does not answer; try again in a moment"
        assert client.get("/healthz").status_code == 200
