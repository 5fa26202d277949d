"""Planning in a process of its own: the command line's answers, and an end whatever happens."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from published import run_over

from pipeline.audit.verify import verify
from pipeline.cli import cli
from pipeline.sample.crawl import write_sample
from pipeline.service.planning import Undecided, check, plan_in_child
from pipeline.service.policy import Storage, StoragePolicy
from pipeline.spec import JobError, self_contained
from pipeline.store import Store

pytestmark = pytest.mark.service

RECIPE = {"description": "short", "stages": ["extract_html", {"language": {"keep": ["en"]}}, "token_count"]}


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Storage:
    data = tmp_path_factory.mktemp("data")
    write_sample(data / "crawl")
    return Storage(data)


def job(**more: Any) -> dict[str, Any]:
    return {"name": "x", "source": {"kind": "warc", "paths": ["crawl/*.warc.gz"]}, "output": {"path": "out"}} | more


def children() -> set[str]:
    """Processes that this one has started and that have not ended."""
    found = set()
    for folder in Path("/proc/self/task").iterdir():
        found |= set((folder / "children").read_text().split())
    return found


def test_the_answer_is_the_command_lines(storage: Storage, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(RECIPE))
    here = job(source={"kind": "warc", "paths": [f"{storage.data}/crawl/*.warc.gz"]}, recipe="r.yaml")
    here["output"] = {"path": f"{storage.data}/out"}
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(here))
    ran = CliRunner().invoke(cli, ["plan", str(tmp_path / "job.yaml"), "--json"], catch_exceptions=False)
    said = json.loads(ran.stdout)
    sizes = [size for _, size in said.pop("inputs")]
    sent = json.loads(json.dumps(self_contained(tmp_path / "job.yaml")))
    planned = plan_in_child(check(sent, storage), storage)
    assert planned == said | {"inputs": {"count": len(sizes), "bytes": sum(sizes)}}, "the fingerprint among others"
    assert not (storage.data / "out").exists()


def test_a_run_whose_job_holds_its_recipe_says_so_wherever_it_is_named(storage: Storage, tmp_path: Path) -> None:
    placed = check(job(recipe=RECIPE), storage).model_dump(mode="json", exclude_unset=True)
    (tmp_path / "job.yaml").write_text(json.dumps(placed))
    shown = CliRunner().invoke(cli, ["plan", str(tmp_path / "job.yaml")], catch_exceptions=False)
    assert "recipe   inline" in shown.stdout
    out = storage.data / "out-inline"
    run_over(storage.data / "crawl", out, recipe=RECIPE)
    manifest = json.loads((out / "manifest.json").read_bytes())
    assert (manifest["recipe"]["name"], manifest["job"]["recipe"]) == ("inline", RECIPE)
    assert "with the recipe `inline`" in (out / "README.md").read_text()
    assert ">inline<" in (out / "report.html").read_text()
    assert not list(verify(Store(str(out))))


def test_it_can_be_called_from_several_threads(storage: Storage) -> None:
    answers: list[dict[str, Any]] = []
    threads = [
        threading.Thread(target=lambda: answers.append(plan_in_child(check(job(recipe=RECIPE), storage), storage)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 3 and answers[0] == answers[1] == answers[2]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (job(source={"kind": "warc", "paths": ["none/*.gz"]}), r"none/\*.gz: matches no file"),
        (job(recipe={"stages": ["extract_html", {"language": {"model": "crawl/none.bin"}}]}), "none.bin: no such file"),
        (job(output={"path": "crawl/x"}, source={"kind": "warc", "paths": ["linked.warc"]}), "linked.warc.*a link"),
        (job(output={"path": "full"}), "full: not empty"),
    ],
)
def test_refusals_of_a_plan(content: dict[str, Any], said: str, storage: Storage) -> None:
    (storage.data / "full").mkdir(exist_ok=True)
    (storage.data / "full/file").touch()
    (storage.data / "linked.warc").unlink(missing_ok=True)
    placed = check(content, storage)
    (storage.data / "linked.warc").symlink_to("/etc/hostname")  # between one look and the next
    with pytest.raises(JobError, match=said) as raised:
        plan_in_child(placed, storage)
    assert len(str(raised.value).splitlines()) == 1


def test_a_job_that_was_not_placed_is_refused_in_the_child_as_well(storage: Storage) -> None:
    placed = check(job(), storage)
    elsewhere = placed.model_copy(update={"output": placed.output.model_copy(update={"path": "/etc/x"})})
    with pytest.raises(JobError, match="output.path: '/etc/x'"):
        plan_in_child(elsewhere, storage)


def test_a_plan_that_does_not_end(tmp_path: Path) -> None:
    class Silent(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            over.wait()

    over = threading.Event()
    with ThreadingHTTPServer(("127.0.0.1", 0), Silent) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_port}/"
        storage = Storage(tmp_path, StoragePolicy(read=(base,)))
        source = {"kind": "commoncrawl", "snapshot": "CC-MAIN-2026-43", "base": base}
        placed, before = check(job(source=source, recipe=RECIPE), storage), children()
        with pytest.raises(Undecided, match="planning took more than 4 s; the job can be submitted all the same"):
            plan_in_child(placed, storage, seconds=4)
        assert children() <= before
        over.set()
        server.shutdown()


def test_a_plan_that_takes_too_much_memory(storage: Storage) -> None:
    (storage.data / "words.txt").write_text("\n".join(f"word{number}" for number in range(10**6)))
    placed = check(job(recipe={"stages": [{"url_filter": {"words": "words.txt"}}]}), storage)
    with pytest.raises(Undecided, match="planning took more than 32 MiB of memory"):
        plan_in_child(placed, storage, memory=2**25)


@pytest.mark.parametrize(
    "content",
    [
        None, 5, "name: x", [], {}, {"name": "x"}, job(recipe={}), job(recipe={"stages": {}}),
        job(recipe={"stages": [[]]}),
        job(recipe={"stages": [{"language": 5}]}), job(recipe={"stages": [None]}), job(override={"pii": None}),
        job(recipe={"stages": ["pii"], 5: 6}), job(source={"kind": ["warc"], "paths": []}), job(recipe=True),
        job(output=[]),
        job(run={"memory_per_shard": "1e999 B"}), job(name="a\ud800b"),
    ],
)  # fmt: skip
def test_whatever_is_sent_is_a_job_or_refused_in_one_line(content: object, storage: Storage) -> None:
    with pytest.raises(JobError) as raised:
        check(content, storage)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"recipe": {"stages": ["pii"] * 201}}, "recipe: 201 stages; 200 at most"),
        ({"recipe": {"stages": ["pii"], "description": "x" * 2**17}}, "bytes as JSON, its places written out; 131,072"),
        ({"source": {"kind": "warc", "paths": [f"c/{n}" for n in range(10_000)]}}, "name many files by a pattern"),
    ],
)
def test_a_job_is_not_endless(more: dict[str, Any], said: str, storage: Storage) -> None:
    with pytest.raises(JobError, match=said):
        check(job(**more), storage)


def test_deep_nests(storage: Storage) -> None:
    deep: Any = "x"
    for _ in range(100_000):
        deep = [deep]
    for content in (deep, job(recipe=deep), job(recipe={"stages": [{"datatrove": {"block": "a.b", "x": deep}}]})):
        with pytest.raises(JobError):
            check(content, storage)
