"""Jobs over HTTP: what is taken, what is refused and how, who may do what, and what is told of them."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
import yaml
from serving import Served, served
from test_service_api_gate import detail

from pipeline.sample.crawl import write_sample
from pipeline.service import jobs
from pipeline.service.api.problems import problem_of
from pipeline.service.cluster import MAX_LOG
from pipeline.service.jobs import State
from pipeline.spec import parse_job

JOBS = "/api/v1/jobs"
YAML = {"Content-Type": "application/yaml"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("jobs")
    with served(folder, f"sqlite:///{folder}/crawlmill.db", limits={"requests_per_minute": 100_000}) as made:
        made.token("any")
        yield made


@pytest.fixture(scope="module")
def mine(service: Served) -> Iterator[httpx.Client]:
    with service.client(service.token("mine", "red")) as client:
        yield client


@pytest.fixture(scope="module")
def theirs(service: Served) -> Iterator[httpx.Client]:
    with service.client(service.token("theirs", "blue")) as client:
        yield client


def submitted(client: httpx.Client, job: dict[str, Any], **headers: str) -> dict[str, Any]:
    answer = client.post(JOBS, json=job, headers=headers)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


@pytest.mark.parametrize(
    "kind", ["application/json", "application/yaml", "application/x-yaml", "text/yaml; charset=utf-8"]
)
def test_a_job_is_queued_for_the_team_of_its_token(service: Served, mine: httpx.Client, kind: str) -> None:
    job = service.job("kind-" + kind.partition(";")[0].replace("/", "-"))
    content = json.dumps(job) if "json" in kind else yaml.safe_dump(job)
    answer = mine.post(f"{JOBS}?priority=7", content=content, headers={"Content-Type": kind})
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert (made["name"], made["team"], made["created_by"]) == (job["name"], "red", "mine")
    assert (made["state"], made["priority"], made["attempt"]) == ("queued", 7, 0)
    assert made["output"] == str(service.data / job["output"]["path"])
    assert mine.get(answer.headers["location"]).json() == made
    placed = parse_job(made["spec"], "job")
    assert placed.source.paths == (str(service.data / "crawl/*.warc.gz"),)
    assert service.service.check(made["spec"]) == placed, "what is stored is a job again, and the same one"


REFUSED = [
    ("name: a\nsource: [", "job:2: not valid YAML"),
    ("- a\n", "job: not a job"),
    ("", "job: not a job"),
    ("name: a\nname: b\n", "name stands here twice"),
    ("a: &a [1]\nb: *a\n", "aliases are not taken"),
    ('name: "a\\0"\n', "U+0000"),
    ("name: a\nrun: {max_failed_share: .nan}", "nan is no number"),
    ("name: a\nrun: {max_failed_shards: 0x" + "f" * 5_000 + "}", "more than 63 bits"),
    ("name: 2026-11-21\n", "write it in quotes"),
    ("[" * 2_000, "nested too deeply"),
    (b"\xff\xfe", "not UTF-8"),
    ("name: a\nsource: {kind: warc, paths: [crawl/a.warc.gz]}\noutput: {paht: x}\n", "did you mean path"),
    ("name: a\nsource: {kind: warc, paths: [crawl/a.warc.gz]}\n", "output.path"),
    ("name: a\nsource: {kind: warc, paths: [/etc/passwd]}\noutput: {path: x}\n", "source.paths"),
    ("name: a\nsource: {kind: warc, paths: [crawl/a.gz]}\noutput: {path: ../x}\n", "output.path"),
]


@pytest.mark.parametrize(("content", "said"), REFUSED, ids=[said for _, said in REFUSED])
@pytest.mark.parametrize("path", [JOBS, "/api/v1/plan"])
def test_what_is_wrong_with_a_job_is_said_in_a_line(mine: httpx.Client, path: str, content: str, said: str) -> None:
    assert said in detail(mine.post(path, content=content, headers=YAML), 422)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "job:1: not valid JSON"),
        ('{"name": "a", "name": "b"}', "'name' stands here twice"),
        ('{"name": "\\ud800"}', "U+D800"),
        ('{"a": NaN}', "nan is no number"),
        ("[" * 100_000, "nested too deeply"),
        ("1" * 5_000, "job: "),
    ],
)
def test_json_is_read_as_strictly(mine: httpx.Client, content: str, said: str) -> None:
    answer = mine.post(JOBS, content=content, headers={"Content-Type": "application/json"})
    assert said in detail(answer, 422)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_other_media_types(service: Served, mine: httpx.Client, kind: str) -> None:
    answer = mine.post(JOBS, content=json.dumps(service.job("form")), headers={"Content-Type": kind})
    assert "application/yaml" in detail(answer, 415)


def test_a_key_stands_for_a_job(service: Served, mine: httpx.Client, theirs: httpx.Client) -> None:
    job, key = service.job("keyed"), {"Idempotency-Key": "k-1"}
    first = submitted(mine, job, **key)
    again = mine.post(JOBS, json=job, headers=key)
    assert (again.status_code, again.json()["id"]) == (200, first["id"])
    assert "stands for another job" in detail(mine.post(JOBS, json=service.job("other"), headers=key), 409)
    assert submitted(theirs, service.job("keyed-by-others"), **key)["id"] != first["id"], "keys are each caller's own"


def test_one_key_at_the_same_time(service: Served, mine: httpx.Client) -> None:
    job, key = service.job("at-once"), {"Idempotency-Key": "k-2"}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: mine.post(JOBS, json=job, headers=key), range(8)))
    assert sorted(each.status_code for each in answers) == [200] * 7 + [201]
    assert len({each.json()["id"] for each in answers}) == 1


def test_one_job_an_output(service: Served, mine: httpx.Client, theirs: httpx.Client) -> None:
    job = service.job("same-output")
    first = submitted(mine, job)
    assert first["id"] in detail(theirs.post(JOBS, json=job), 409)


def test_the_queue_has_an_end(service: Served, mine: httpx.Client, tmp_path: Any) -> None:
    with (
        served(tmp_path, f"sqlite:///{tmp_path}/crawlmill.db", limits={"queued": 2}) as small,
        small.client() as client,
    ):
        submitted(client, small.job("a"), **{"Idempotency-Key": "a"})
        submitted(client, small.job("b"))
        answer = client.post(JOBS, json=small.job("c"))
        assert "2 jobs wait already" in detail(answer, 503)
        assert "retry-after" in answer.headers
        assert client.post(JOBS, json=small.job("a"), headers={"Idempotency-Key": "a"}).status_code == 200
        assert len(client.get(JOBS).json()["jobs"]) == 2


def test_pages_of_a_list(service: Served, mine: httpx.Client) -> None:
    made = [submitted(mine, service.job(f"page_{number}"))["id"] for number in range(5)]
    found: list[str] = []
    path: str | None = f"{JOBS}?name=page_&team=red&limit=2&state=queued&state=running"
    sizes = []
    while path is not None:
        answer = mine.get(path)
        sizes.append(len(answer.json()["jobs"]))
        found += [job["id"] for job in answer.json()["jobs"]]
        assert ("next" in answer.links) == (answer.json()["next"] is not None)
        path = answer.links["next"]["url"] if "next" in answer.links else None
    assert sizes == [2, 2, 1]
    assert found == made[::-1]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "limit=x",
        "state=done",
        "team=%00",
        "name=%25",
        "name=",
        "cursor=%ff",
        "cursor=YQ",
        "cursor=a",
    ],
)
def test_filters_that_cannot_be(mine: httpx.Client, query: str) -> None:
    assert detail(mine.get(f"{JOBS}?{query}"), 422).startswith(query.partition("=")[0])


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", f"{JOBS}/aaaaaaaaaaaa", 404),
        ("GET", f"{JOBS}/AAAAAAAAAAAA", 404),
        ("GET", f"{JOBS}/%00", 404),
        ("GET", f"{JOBS}/", 404),
        ("GET", "/api/v1", 404),
        ("GET", "/api/v1/jobs/aaaaaaaaaaaa/nothing", 404),
        ("POST", f"{JOBS}/aaaaaaaaaaaa/cancel", 404),
        ("DELETE", JOBS, 405),
        ("PATCH", f"{JOBS}/aaaaaaaaaaaa", 405),
        ("TRACE", "/healthz", 405),
    ],
)
def test_what_is_not_there_is_a_problem_too(mine: httpx.Client, method: str, path: str, status: int) -> None:
    answer = mine.request(method, path)
    detail(answer, status)
    if status == 405:
        expected = {JOBS: "GET, HEAD, POST", "/healthz": "GET, HEAD"}.get(path, "DELETE, GET, HEAD")
        assert answer.headers["allow"] == expected


def test_only_its_team_changes_a_job(service: Served, mine: httpx.Client, theirs: httpx.Client) -> None:
    job = submitted(mine, service.job("guarded"))["id"]
    assert theirs.get(f"{JOBS}/{job}").json()["team"] == "red"
    for method, path in (("POST", f"{job}/cancel"), ("POST", f"{job}/retry"), ("DELETE", job)):
        said = detail(theirs.request(method, f"{JOBS}/{path}"), 403)
        assert said == f"job {job} belongs to team red; token theirs is of team blue"
    assert mine.get(f"{JOBS}/{job}").json()["state"] == "queued"


def test_a_team_does_not_fill_the_queue(tmp_path: Any) -> None:
    limits = {"queued": 3, "queued_per_team": 2}
    with served(tmp_path, f"sqlite:///{tmp_path}/crawlmill.db", limits=limits) as small:
        reds, blues = (small.client(small.token(team, team)) for team in ("red", "blue"))
        with reds, blues:
            first = submitted(reds, small.job("a"))["id"]
            reds.post(f"{JOBS}/{first}/cancel")
            for name in "bc":
                submitted(reds, small.job(name))
            full = "2 jobs of team red wait already (setting limits.queued_per_team)"
            assert full in detail(reds.post(JOBS, json=small.job("d")), 503)
            assert full in detail(reds.post(f"{JOBS}/{first}/retry"), 503)
            page = reds.post(f"/jobs/{first}/retry", headers={"Accept": "text/html"})
            assert page.status_code == 503
            assert reds.get(f"{JOBS}/{first}").json()["state"] == "cancelled"
            submitted(blues, small.job("e"))
            assert "3 jobs wait already" in detail(blues.post(JOBS, json=small.job("f")), 503)


def test_what_no_database_takes_is_the_askers_fault(database_url: str, tmp_path: Any) -> None:
    far = base64.urlsafe_b64encode(b"0001-01-01T00:00:00+23:00 k3v7q2m7xyab").decode().rstrip("=")
    nul = base64.urlsafe_b64encode(b"2026-01-01T00:00:00+00:00 k3v7q2m7xya\0").decode().rstrip("=")
    with served(tmp_path, database_url) as small, small.client() as client:
        for path in ("/schedules/%00", "/schedules/x%00/remove"):
            assert client.get(path).status_code == 404
        for path in ("/?name=%00", "/?team=a%00", "/?cursor=%00", f"{JOBS}?cursor={nul}", f"{JOBS}?cursor={far}"):
            assert client.get(path).status_code == 422, path
        assert client.get(f"/?cursor={far}").status_code == 400
        assert client.post("/schedules/x%00/retry", data={"occasion": "A"}).status_code == 404
        assert client.post("/schedules/x/retry", data={"occasion": "A\0"}).status_code == 422
        assert client.get("/?name=a b ü").status_code == 200
    refused = problem_of(sa.exc.DataError("INSERT", None, ValueError("a NUL")))
    assert refused is not None and refused.status == 422


def test_cancel_retry_forget(service: Served, mine: httpx.Client) -> None:
    job = submitted(mine, service.job("life"))["id"]
    detail(mine.delete(f"{JOBS}/{job}"), 409)
    assert mine.post(f"{JOBS}/{job}/cancel").json()["state"] == "cancelled"
    assert "cancelled already" in detail(mine.post(f"{JOBS}/{job}/cancel"), 409)
    assert mine.post(f"{JOBS}/{job}/retry").json()["state"] == "queued"
    detail(mine.post(f"{JOBS}/{job}/retry"), 409)
    mine.post(f"{JOBS}/{job}/cancel")
    answer = mine.delete(f"{JOBS}/{job}")
    assert (answer.status_code, answer.content) == (204, b"")
    detail(mine.get(f"{JOBS}/{job}"), 404)


def test_logs(service: Served, mine: httpx.Client) -> None:
    made = submitted(mine, service.job("printing"))["id"]
    path = f"{JOBS}/{made}/logs"
    assert "not started yet" in mine.get(path).text
    job = service.move(made, State.STARTING, State.RUNNING, attempt=1)
    assert "the cluster has none" in mine.get(path).text
    service.cluster.printed[job.submission_id] = "one\ntwo\nthree ü\n"
    answer = mine.get(path)
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text == "one\ntwo\nthree ü\n"
    assert mine.get(path, params={"tail": 2}).text == "two\nthree ü\n"
    assert mine.get(path, params={"tail": 0}).text == ""
    most = f"the last {MAX_LOG // 2**20} MiB"
    assert most in mine.get("/api/v1/openapi.json").json()["paths"][f"{JOBS}/{{job_id}}/logs"]["get"]["description"]
    page = mine.get(f"/jobs/{made}/log").text
    assert re.findall(f'href="{path}">(.+)</a>', page) == [f"As text, up to {most}"]
    service.cluster.away = "the cluster is away"
    try:
        assert "the cluster is away" in detail(mine.get(path), 503)
    finally:
        service.cluster.away = None


def test_a_list_spares_what_is_long(service: Served, mine: httpx.Client) -> None:
    job = service.move(submitted(mine, service.job("long"))["id"], State.STARTING, State.RUNNING)
    progress = {"read": 3, "states": "ddr", "stages": [], "failures": [], "rate": float("nan"), "\ud800": [[[]]] * 2}
    with service.service.database.write() as connection:
        jobs.keep_progress(connection, job, progress, job.changed_at)
    whole, short = mine.get(f"{JOBS}/{job.id}").json(), mine.get(JOBS, params={"name": "long"}).json()["jobs"][0]
    assert whole["progress"] == {
        "read": 3,
        "states": "ddr",
        "stages": [],
        "failures": [],
        "rate": None,
        "?": [[[]]] * 2,
    }
    assert short["progress"] == {"read": 3, "rate": None, "?": [[[]]] * 2}
    assert "spec" not in short and whole["spec"]["name"] == "long"


def test_a_plan_says_what_a_job_would_read(service: Served, mine: httpx.Client) -> None:
    write_sample(service.data / "crawl")
    answer = mine.post("/api/v1/plan", json=service.job("planned"))
    assert answer.status_code == 200, answer.text
    plan = answer.json()
    assert (plan["name"], plan["resumes"], plan["undecided"]) == ("planned", False, None)
    assert plan["inputs"]["count"] == 4
    assert not (service.data / "out" / "planned").exists()
