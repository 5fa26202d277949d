"""The command line as people and scripts meet it: help, exit statuses, JSON, and one line for everything wrong."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest
from crawls import cut, digests, warcs, write_job
from program import Command, Said, calls

from pipeline.cli import cli
from pipeline.client import commands, schedule_commands
from pipeline.engine import Context
from pipeline.engine.inline import InlineEngine
from pipeline.sample.crawl import write_sample
from pipeline.service import operator_commands

PATIENCE = 300
FOR_A_SERVICE = {each.name for each in (*commands.COMMANDS, *schedule_commands.COMMANDS, *operator_commands.COMMANDS)}
"""Tried in test_service_commands.py and test_service_cli.py."""
HERE = {name: each for name, each in cli.commands.items() if name not in FOR_A_SERVICE}
COMMANDS = {"run", "plan", "report", "inspect", "verify", "gc", "recipes", "stages", "sample", "doctor"} | {
    *("submit", "jobs", "status", "logs", "cancel", "retry", "serve", "schedule", "snapshots", "token")
}
WITH_JSON = {"run", "plan", "inspect", "verify", "recipes", "stages", "doctor"}


@pytest.fixture
def crawlmill(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """Runs the program's `main` in this process: what it prints and its exit status."""
    return calls(monkeypatch, capfd)


def process(*words: str | Path, **options: Any) -> Said:
    """Runs the program as a process."""
    command = [sys.executable, "-m", "pipeline.cli", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, **options)
    return Said(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small WARC files, and an ARC file apart."""
    folder = tmp_path_factory.mktemp("cli")
    for at, pack in enumerate(cut(2, every=12)):
        (folder / f"{at}.warc.gz").write_bytes(pack)
    (folder / "old.arc").write_bytes(b"filedesc://old.arc 0.0.0.0 20010101000000 text/plain 77\n1 0 X\n\n")
    return folder


@pytest.fixture(scope="module")
def job(folder: Path) -> Path:
    return write_job(folder, warcs(folder / "*.warc.gz"))


@pytest.fixture(scope="module")
def first_run(job: Path, folder: Path) -> Said:
    """The process that made `dataset`."""
    return process("run", job, "--output", folder / "out", "--engine", "inline", "--json")


@pytest.fixture(scope="module")
def dataset(first_run: Said, folder: Path) -> Path:
    assert first_run.status == 0, first_run.err
    return folder / "out"


def test_every_command_of_the_contract_is_there() -> None:
    assert isinstance(cli, click.Group)
    assert set(cli.commands) >= COMMANDS
    assert {name for name, command in cli.commands.items() if takes_json(command)} >= WITH_JSON


def takes_json(command: click.Command) -> bool:
    return any("--json" in parameter.opts for parameter in command.params)


@pytest.mark.parametrize("name", sorted(HERE))
def test_every_command_has_help_with_an_example(crawlmill: Command, name: str) -> None:
    for flag in ("--help", "-h"):
        said = crawlmill(name, flag)
        assert (said.status, said.err) == (0, "")
    example = re.search(r"Example:\s+(crawlmill .+)", said.out)
    assert example
    assert example[1].split()[1] == name
    words = example[1].split()[2:]
    command = cli.commands[name]
    assert command.make_context(name, list(words)).params, "the example parses"
    for parameter in command.params:
        assert not isinstance(parameter, click.Option) or parameter.help, parameter.name


def test_the_bare_name_shows_what_there_is(crawlmill: Command) -> None:
    said = crawlmill()
    assert (said.status, said.out) == (2, "")
    assert said.err.startswith("Usage: crawlmill")
    assert all(f"\n  {name} " in said.err for name in COMMANDS)
    assert crawlmill("--version").out.startswith("crawlmill, version ")


def test_a_run_says_what_came_of_it(first_run: Said, dataset: Path) -> None:
    manifest = json.loads(first_run.out)
    assert manifest == json.loads((dataset / "manifest.json").read_bytes())
    totals = manifest["totals"]
    assert f"{totals['records_read']} read = {totals['kept']} kept" in first_run.err
    assert f"dataset  {dataset}/data\nreport   {dataset}/report.html\n" in first_run.err
    assert "\x1b" not in first_run.err, "no colours where there is no terminal"


def test_a_second_run_says_that_there_was_nothing_to_do(crawlmill: Command, job: Path, dataset: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in dataset.rglob("*")}
    said = crawlmill("run", job, "--output", dataset, "--engine", "inline")
    assert (said.status, said.out) == (0, "")
    assert "an earlier attempt finished this run" in said.err
    assert {path: path.stat().st_mtime_ns for path in dataset.rglob("*")} == before


JSON: dict[str, list[str]] = {
    "run": ["run", "JOB", "--output", "DIR", "--engine", "inline"],
    "plan": ["plan", "JOB", "--output", "DIR"],
    "inspect": ["inspect", "DIR", "-n", "2"],
    "inspect nothing": ["inspect", "DIR", "--url", "http://nowhere.example/"],
    "verify": ["verify", "DIR"],
    "recipes": ["recipes"],
    "recipes fineweb": ["recipes", "fineweb"],
    "stages": ["stages"],
    "stages pii": ["stages", "pii"],
    "stages minhash": ["stages", "minhash"],
    "stages minhash's curve": ["stages", "minhash", "--set", "bands=20", "--similarity", "0.8"],
    "doctor": ["doctor"],
}


@pytest.mark.parametrize("words", JSON.values(), ids=JSON)
def test_json_is_one_document_and_nothing_else(crawlmill: Command, job: Path, dataset: Path, words: list[str]) -> None:
    known = {"JOB": str(job), "DIR": str(dataset)}
    said = crawlmill(*(known.get(word, word) for word in words), "--json")
    assert said.status == 0
    json.loads(said.out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_every_command_with_json_is_tried() -> None:
    assert {words[0] for words in JSON.values()} == {name for name, each in HERE.items() if takes_json(each)}


@pytest.mark.parametrize("words", [words for name, words in JSON.items() if name != "run"])
def test_people_get_text_without_escape_codes(
    crawlmill: Command, job: Path, dataset: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")  # NO_COLOR goes first, whatever else is set
    known = {"JOB": str(job), "DIR": str(dataset)}
    said = crawlmill(*(known.get(word, word) for word in words))
    assert said.status == 0
    assert said.out + said.err
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", said.out + said.err)
    said = process(*(known.get(word, word) for word in words[:1]), "--help")
    assert "\x1b" not in said.out


def test_a_plan_changes_nothing(crawlmill: Command, job: Path, tmp_path: Path) -> None:
    said = crawlmill("plan", job, "--output", tmp_path / "out")
    assert said.status == 0
    assert "2 files" in said.out
    assert "gopher_quality" in said.out
    assert list(tmp_path.iterdir()) == []


BOMB = "b0: &b0 [x]\n" + "".join(f"b{n}: &b{n} [{', '.join([f'*b{n - 1}'] * 9)}]\n" for n in range(1, 12))
WARC = "source: {kind: warc, paths: ['*.warc.gz']}\n"
WRONG_JOBS: dict[str, tuple[str, str]] = {
    "nothing": ("", "not a job"),
    "not YAML": ("name: [", "job.yaml:1: not valid YAML"),
    "not text": ("name: \0", "not valid YAML"),
    "no name": (WARC, "name: missing"),
    "unknown field": (
        f"name: t\n{WARC}output: {{shard_byte: 1}}",
        "output.shard_byte: unknown; did you mean shard_bytes?",
    ),
    "unknown kind": ("name: t\nsource: {kind: wark, paths: [a]}", "source.kind: unknown; did you mean warc?"),
    "unknown stage": (f"name: t\n{WARC}override: {{minhas: {{}}}}", "override.minhas: the recipe has no such stage"),
    "unknown stage's field": (f"name: t\n{WARC}override: {{language: {{kep: [en]}}}}", "did you mean keep?"),
    "unknown recipe": (f"name: t\n{WARC}recipe: finweb", "did you mean fineweb?"),
    "missing input": ("name: t\nsource: {kind: warc, paths: [nothere.warc.gz]}", "nothere.warc.gz: No such file"),
    "missing inputs": ("name: t\nsource: {kind: warc, paths: ['nothere/*']}", "nothere/*: matches no file"),
    "missing mirror": (
        "name: t\nsource: {kind: commoncrawl, snapshot: CC-MAIN-2026-43, base: nothere}",
        "source.snapshot CC-MAIN-2026-43: nothere/crawl-data/CC-MAIN-2026-43/warc.paths.gz: No such file",
    ),
    "unreadable model": (f"name: t\n{WARC}override: {{language: {{model: /etc/hostname}}}}", "no fastText model"),
    "missing model": (
        f"name: t\n{WARC}override: {{language: {{model: /nothere}}}}",
        "language.model: /nothere: no such file",
    ),
    "missing list": (
        f"name: t\n{WARC}override: {{url_filter: {{domains: nothere}}}}",
        "url_filter.domains: nothere: no such",
    ),
    "bad tokenizer": (f"name: t\n{WARC}override: {{token_count: {{tokenizer: /etc/hostname}}}}", "no tokenizer.json"),
    "laughs": (f"{BOMB}name: t\n{WARC}override: {{language: {{keep: *b11}}}}", "job.yaml:2: not valid YAML: aliases"),
    "endless": (f"name: t\n{WARC}override: &o {{language: *o}}", "job.yaml:3: not valid YAML: aliases"),
    "lists of lists": (f"name: t\n{WARC}override: {{language: {{keep: [[en]]}}}}", "override.language.keep"),
    "deep": (f"name: t\n{WARC}override: {'[' * 50_000}", "job.yaml"),
    "python": (f"name: t\n{WARC}override: !!python/object/apply:os.system [id]", "python/object/apply"),
    "5 MB": (f"name: t\n{WARC}# {'x' * 5_000_000}", "larger than"),
    "long number": (f"name: t\n{WARC}run: {{max_failed_shards: {'9' * 5_000}}}", "job.yaml"),
    "escape codes": ('name: "\\e[31m\\u202e"\n' + WARC, "name: "),
}


def one_line(said: Said) -> str:
    """The one line that wrong usage gives."""
    assert said.out == ""
    assert re.fullmatch("crawlmill: .+\n", said.err), said.err
    assert "defect" not in said.err
    assert len(said.err) < 1_100
    assert said.err[:-1].isprintable()
    return said.err


@pytest.mark.parametrize(("content", "complaint"), WRONG_JOBS.values(), ids=WRONG_JOBS)
def test_a_wrong_job_is_refused_in_one_line_before_any_work(
    crawlmill: Command, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, complaint: str
) -> None:
    monkeypatch.chdir(folder)
    (tmp_path / "job.yaml").write_text(content)
    said = crawlmill("run", tmp_path / "job.yaml", "--output", tmp_path / "out", "--engine", "inline")
    assert complaint in one_line(said)
    assert said.status == 2
    assert not (tmp_path / "out").exists()


WRONG_WORDS: dict[str, tuple[list[str], str]] = {
    "unknown command": (["rum"], "No such command 'rum'. Did you mean 'run'?"),
    "unknown option": (["run", "JOB", "--worker", "2"], "No such option '--worker'. Did you mean '--workers'?"),
    "no job": (["run"], "Missing argument 'JOB'"),
    "missing job": (["run", "nothere.yaml"], "nothere.yaml: No such file or directory"),
    "folder as job": (["run", "/etc"], "/etc: Is a directory"),
    "no output": (["run", "JOB"], "output.path: missing"),
    "no workers": (["run", "JOB", "--workers", "0"], "'--workers': 0 is not in the range"),
    "unknown engine": (["run", "JOB", "--engine", "spark"], "'--engine': 'spark' is not one of"),
    "workers of one": (["run", "JOB", "--output", "x", "--engine", "inline", "--workers", "2"], "leave --workers"),
    "workers of a cluster": (["run", "JOB", "--output", "x", "--workers", "2", "--address", "auto"], "leave one"),
    "foreign output": (["run", "JOB", "--output", "FOLDER"], "not empty"),
    "output in a file": (["run", "JOB", "--output", "JOB/out", "--engine", "inline"], "Not a directory"),
    "output nowhere": (["run", "JOB", "--output", "nosuch://x", "--engine", "inline"], "nosuch"),
    "output on a website": (["run", "JOB", "--output", "http://127.0.0.1:1/", "--engine", "inline"], "http://127"),
    "plan into a foreign output": (["plan", "JOB", "--output", "FOLDER"], "not empty"),
    "verify nothing": (["verify", "nothere"], "no manifest.json"),
    "inspect nothing": (["inspect", "FOLDER"], "no manifest.json there"),
    "report nothing": (["report", "FOLDER"], "no manifest.json there"),
    "gc of a foreign folder": (["gc", "FOLDER"], "crawlmill"),
    "unknown reason": (["inspect", "DIR", "--stage", "minhas"], "minhas"),
    "unknown recipe": (["recipes", "finweb"], "did you mean fineweb?"),
    "unknown stage": (["stages", "gopher"], "gopher is no stage"),
    "unknown field": (["stages", "minhash", "--set", "row=6"], "--set.row: unknown; did you mean rows?"),
    "no field": (["stages", "minhash", "--set", "rows"], "--set rows: write FIELD=VALUE"),
    "no value": (["stages", "minhash", "--set", "rows=[1"], "--set rows=[1: write FIELD=VALUE"),
    "bad value": (["stages", "minhash", "--set", "rows=0"], "--set.rows: input should be greater than or equal to 1"),
    "another stage's curve": (["stages", "pii", "--similarity", "0.8"], "--similarity is for minhash"),
    "sample into a file": (["sample", "JOB"], "is a file"),
    "two lines and colours": (["run", "a\nb\x1b[31m.yaml"], "No such file"),
}


@pytest.mark.parametrize(("words", "complaint"), WRONG_WORDS.values(), ids=WRONG_WORDS)
def test_wrong_usage_is_said_in_one_line(
    crawlmill: Command, folder: Path, job: Path, dataset: Path, words: list[str], complaint: str
) -> None:
    def known(word: str) -> str:
        places = {"JOB": job, "JOB/out": job / "out", "FOLDER": folder, "DIR": dataset}
        return str(places.get(word, word))

    before = sorted(folder.rglob("*"))
    said = crawlmill(*map(known, words))
    assert complaint in one_line(said)
    assert said.status == 2
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("words", [["--debug", "plan", "nothere.yaml"], ["plan", "nothere.yaml", "--debug"]])
def test_debug_shows_where(words: list[str]) -> None:
    said = process(*words)
    assert said.status == 2
    assert "Traceback" in said.err
    assert "JobError" in said.err
    assert said.err.splitlines()[-1] == "crawlmill: nothere.yaml: No such file or directory"


def test_a_damaged_manifest_is_no_defect_of_ours(crawlmill: Command, dataset: Path, tmp_path: Path) -> None:
    shutil.copytree(dataset, tmp_path / "out")
    (tmp_path / "out" / "manifest.json").write_text("{")
    for words, status in ((["verify"], 3), (["report"], 2), (["inspect"], 2)):
        said = crawlmill(*words, tmp_path / "out")
        assert said.status == status
        assert "manifest.json" in said.out + said.err
        assert "defect" not in said.err


def test_verification_that_finds_a_difference_ends_with_3(crawlmill: Command, dataset: Path, tmp_path: Path) -> None:
    shutil.copytree(dataset, tmp_path / "out")
    path = tmp_path / "out" / "data" / "part-00000.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    said = crawlmill("verify", tmp_path / "out")
    assert said.status == 3
    assert "data/part-00000.parquet: " in said.out
    said = crawlmill("verify", tmp_path / "out", "--json")
    assert said.status == 3
    assert json.loads(said.out)[0]["path"] == "data/part-00000.parquet"


def test_a_failed_run_ends_with_1_and_goes_on_when_the_limit_is_raised(
    crawlmill: Command, folder: Path, tmp_path: Path
) -> None:
    source = warcs(folder / "0.warc.gz", folder / "old.arc")
    words = ["--output", str(tmp_path / "out"), "--engine", "inline", "--json"]
    said = crawlmill("run", write_job(tmp_path, source), *words)
    assert said.status == 1
    assert json.loads(said.out)["state"] == "failed"
    (line,) = [line for line in said.err.splitlines() if line.startswith("failed: ")]
    assert str(folder / "old.arc") in line
    assert "ARC" in line
    assert "FAILED: data/ was not written" in said.err
    said = crawlmill("run", write_job(tmp_path, source, run={"max_failed_shards": 1}), *words)
    assert said.status == 0
    assert "1 of 2 shards were finished by an earlier attempt" in said.err


def test_ctrl_c_ends_with_130_and_the_command_that_goes_on(tmp_path: Path) -> None:
    write_sample(tmp_path / "two words")
    job = write_job(tmp_path, warcs(tmp_path / "two words" / "*.gz"), override={})
    output = tmp_path / "out of it"
    command = [sys.executable, "-m", "pipeline.cli", "run", str(job), "--output", str(output), "--engine", "inline"]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until(lambda: any((output / ".work" / "shards").glob("*.json")), run)
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=PATIENCE)
    assert (run.returncode, out) == (130, "")
    assert err.endswith(f"Go on with: crawlmill run {job} --output '{output}' --engine inline\n")
    assert "Traceback" not in err
    again = process("run", job, "--output", output, "--engine", "inline")
    assert again.status == 0
    assert "finished by an earlier attempt" in again.err


@pytest.mark.parametrize("swallowed", [True, False], ids=["lost", "turned into another error"])
def test_ctrl_c_is_not_lost_in_native_code(swallowed: bool) -> None:
    done = []

    def native(item: int, context: Context) -> int:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt as interrupt:
            if not swallowed:
                raise SystemError("returned a result with an exception set") from interrupt
        done.append(item)
        return item

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), InlineEngine(1.0) as engine:
        list(engine.map(native, [1, 2], str))
    assert done == [1] * swallowed
    assert signal.getsignal(signal.SIGINT) is before


def until(condition: Callable[[], bool], running: subprocess.Popen[str]) -> None:
    """Wait for something that a process brings about."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_who_stops_reading_gets_no_traceback() -> None:
    command = [sys.executable, "-m", "pipeline.cli", "recipes", "fineweb"]
    closed, theirs = os.pipe()
    os.close(closed)
    with os.fdopen(theirs, "wb") as out:
        done = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, timeout=PATIENCE)
    assert (done.returncode, done.stderr) == (1, b"")


def test_paths_are_those_of_the_working_directory(folder: Path, dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    (tmp_path / "elsewhere" / "crawl").mkdir(parents=True)
    (tmp_path / "jobs" / "mine.yaml").write_text("stages: [extract_html: {extractor: resiliparse}, token_count]\n")
    for pack in folder.glob("*.warc.gz"):
        shutil.copy(pack, tmp_path / "elsewhere" / "crawl")
    write_job(tmp_path / "jobs", warcs("crawl/*.warc.gz"), recipe="mine.yaml", override={}, output={"path": "out"})
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])}
    said = process("run", "../jobs/job-0.yaml", "--engine", "inline", cwd=tmp_path / "elsewhere", env=environment)
    assert said.status == 0, said.err
    manifest = json.loads((tmp_path / "elsewhere" / "out" / "manifest.json").read_bytes())
    assert [each["path"] for each in manifest["inputs"]] == ["crawl/0.warc.gz", "crawl/1.warc.gz"]
    assert manifest["totals"]["kept"] > 0
    assert "dataset  out/data\n" in said.err


def test_sample_writes_where_it_is_told(crawlmill: Command, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    said = crawlmill("sample", tmp_path)
    again = crawlmill("sample", tmp_path / "a" / "b")
    assert said.status == again.status == 0
    assert said.out.splitlines() == [str(path) for path in sorted(tmp_path.glob("sample-*.warc.gz"))]
    assert (tmp_path / "notes.txt").read_text() == "mine"
    for path in map(Path, said.out.splitlines()):
        assert path.read_bytes() == (tmp_path / "a" / "b" / path.name).read_bytes()


def test_doctor_finds_this_environment_well(crawlmill: Command) -> None:
    said = crawlmill("doctor")
    assert said.status == 0, said.out
    assert "BAD" not in said.out
    assert {"python", "ray", "language model", "module fasttext"} <= {
        line[5:].partition(":")[0] for line in said.out.splitlines()
    }


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.mark.cluster
@pytest.mark.parametrize("silent", [False, True], ids=["refused", "silent"])
def test_an_unreachable_cluster_is_said_soon_and_before_any_work(job: Path, tmp_path: Path, silent: bool) -> None:
    with socket.socket() as listener:
        listener.bind(("0.0.0.0", 0))
        if silent:
            listener.listen()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        start = time.monotonic()
        said = process("run", job, "--output", tmp_path / "out", "--address", address)
    assert said.status == 2
    assert address in one_line(said)
    assert "--address" in said.err
    assert time.monotonic() - start < 90, "20 s of patience, and what imports take on a busy machine"
    assert not (tmp_path / "out").exists()


@dataclass(frozen=True)
class Cluster:
    address: str
    token: str
    head: subprocess.Popen[bytes]

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {"RAY_AUTH_TOKEN": self.token}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A Ray that `ray start` started, in a process group of its own, which alone is ended afterwards."""
    folder = tempfile.mkdtemp(prefix="ray-")  # Ray's sockets want a short path, pytest's folders have long ones
    token, port = secrets.token_hex(32), free_port()
    options = ["--head", "--block", f"--port={port}", "--num-cpus=2", "--include-dashboard=false"]
    command = [
        str(Path(sys.executable).with_name("ray")),
        "start",
        *options,
        "--disable-usage-stats",
        f"--temp-dir={folder}",
    ]
    log = tmp_path_factory.mktemp("head") / "log"
    with log.open("wb") as out:
        environment = os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
        head = subprocess.Popen(command, stdout=out, stderr=out, env=environment, start_new_session=True)
    try:
        deadline = time.monotonic() + PATIENCE
        while b"--block" not in log.read_bytes():
            assert head.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield Cluster(f"127.0.0.1:{port}", token, head)
    finally:
        os.killpg(head.pid, signal.SIGKILL)
        head.wait(PATIENCE)
        while Path(folder).exists():  # workers notice a little later that they are alone, and log it
            shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.cluster
def test_a_run_joins_a_cluster_and_leaves_it_running(
    cluster: Cluster, job: Path, dataset: Path, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        said = process("run", job, "--output", tmp_path / name, "--address", cluster.address, env=cluster.environment)
        assert said.status == 0, said.err
        assert said.out == ""
        assert digests(tmp_path / name) == digests(dataset)
    assert cluster.head.poll() is None


@pytest.mark.cluster
def test_a_wrong_token_is_said(cluster: Cluster, job: Path, tmp_path: Path) -> None:
    environment = cluster.environment | {"RAY_AUTH_TOKEN": secrets.token_hex(32)}
    said = process("run", job, "--output", tmp_path / "out", "--address", cluster.address, env=environment)
    assert said.status == 2
    assert "token" in one_line(said)
    assert not (tmp_path / "out").exists()


@pytest.mark.cluster
def test_without_an_address_no_cluster_is_joined(cluster: Cluster, job: Path, dataset: Path, tmp_path: Path) -> None:
    """`--workers` asks for a Ray of one's own, whatever RAY_ADDRESS says."""
    environment = cluster.environment | {"RAY_ADDRESS": cluster.address}
    said = process("run", job, "--output", tmp_path / "out", "--workers", "1", env=environment)
    assert said.status == 0, said.err
    assert digests(tmp_path / "out") == digests(dataset)


@pytest.mark.cluster
def test_ctrl_c_in_a_terminal_ends_a_ray_run_with_130(tmp_path: Path) -> None:
    """A terminal sends the signal to Ray's processes too."""
    write_sample(tmp_path / "crawl")
    job = write_job(tmp_path, warcs(tmp_path / "crawl" / "*.gz"), override={})
    output = tmp_path / "out"
    command = [sys.executable, "-m", "pipeline.cli", "run", str(job), "--output", str(output), "--workers", "1"]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    until(lambda: any((output / ".work" / "shards").glob("*.json")), run)
    os.killpg(run.pid, signal.SIGINT)
    out, err = run.communicate(timeout=PATIENCE)
    assert (run.returncode, out) == (130, "")
    assert "Go on with: crawlmill run" in err
    assert "Traceback" not in err
    assert process("run", job, "--output", output, "--engine", "inline").status == 0
