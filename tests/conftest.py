"""What every test may ask for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml
from filelock import FileLock

pytest_plugins = ["browsing", "postgres"]

PROJECT = Path(__file__).resolve().parent.parent


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI nothing is skipped for want of something that it should have installed; corpora it cannot install."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and os.environ.get("CRAWLMILL_NO_SKIPS"):
        skipped = [each for each in reporter.stats.get("skipped", []) if "no corpora at" not in str(each.longrepr)]
        if skipped:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def corpora() -> Path:
    """The folder of real pages and files, which lies beside the project and not in it."""
    path = Path(os.environ.get("CRAWLMILL_CORPORA", PROJECT.parent / "shared" / "corpora"))
    if not path.is_dir():
        pytest.skip(f"no corpora at {path}: set CRAWLMILL_CORPORA to the folder that holds html/, warc/, lang/")
    return path


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the fineweb recipe over the sample crawl (in `../crawl`), with several data parts.

    For all tests of the session: copy it before damaging it.
    """
    from published import run_over  # pays for numba and pyarrow only where a test wants it

    from pipeline.sample.crawl import write_sample

    folder = tmp_path_factory.mktemp("sample")
    write_sample(folder / "crawl")
    run_over(folder / "crawl", folder / "out", output={"shard_bytes": "20KB"})
    return folder / "out"


@pytest.fixture(scope="session")
def html_run(corpora: Path, tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The finished output of the recipe extract-only over the corpus's web pages; takes a minute, once for all workers
    of a session.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "html_run"
    with FileLock(f"{folder}.lock"):
        if not (folder / "out" / "manifest.json").exists():
            _run_over_pages(corpora, folder)
    return folder / "out"


def _run_over_pages(corpora: Path, folder: Path) -> None:
    from pipeline.engine.inline import InlineEngine
    from pipeline.events import Finished
    from pipeline.plan import make_plan
    from pipeline.run import run

    folder.mkdir(exist_ok=True)
    source = {"kind": "warc", "paths": [str(corpora / "html" / "web-bench.warc.gz")]}
    job = {"name": "html-run", "source": source, "recipe": "extract-only"}
    (folder / "job.yaml").write_text(yaml.safe_dump(job))
    with InlineEngine(requests_per_second=1) as engine:
        *_, last = run(make_plan(folder / "job.yaml", str(folder / "out")), engine)
    assert isinstance(last, Finished)
    assert last.manifest["state"] == "complete"


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Bytes are named by their place: gzip and MuPDF write the time into some, which changes them and even their
    length, and workers must agree on all names.
    """
    return argname if isinstance(val, bytes) else None
