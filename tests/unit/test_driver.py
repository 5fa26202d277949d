"""The driver of a job when storage is away for a while. With Ray it runs in tests/integration/test_service_on_ray.py.

The engine is the one of this process; storage is a disk that fails in a way that may pass.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest
from crawls import FAST, cut, warcs

from pipeline.engine.inline import InlineEngine
from pipeline.engine.installed import installed
from pipeline.faults import StoreError
from pipeline.patience import Terms
from pipeline.service import driver
from pipeline.service.progress import FILE, SUBMITTED

NAME = "crawlmill-x-1"


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An output with the order of an attempt at a small job. Nothing but what a test waits for is written meanwhile."""
    monkeypatch.setattr(driver, "SECONDS", 3_600.0)
    monkeypatch.setattr(driver, "RayEngine", Breaking)
    (tmp_path / "crawl.warc.gz").write_bytes(cut(1, every=40)[0])
    out = tmp_path / "out"
    job = {"name": "x", "source": warcs(tmp_path / "crawl.warc.gz"), "override": FAST, "output": {"path": str(out)}}
    storage = {"data": str(tmp_path), "policy": {}}
    order = out / SUBMITTED / f"{NAME}.json"
    order.parent.mkdir(parents=True)
    order.write_text(json.dumps({"job": job, "installed": installed(), "storage": storage}))
    return out


class Breaking(InlineEngine):
    """Once it has done its work, the place of the progress is not to be written to."""

    output: ClassVar[Path]

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(1.0)

    def __exit__(self, *raised: Any) -> None:
        super().__exit__(*raised)
        (self.output / FILE).unlink()
        away(self.output)


def away(out: Path) -> None:
    """From now on progress cannot be written: a folder is in its place."""
    (out / FILE / "away").mkdir(parents=True)


def back(out: Path) -> None:
    (out / FILE / "away").rmdir()
    (out / FILE).rmdir()


def outcome(out: Path) -> Any:
    return json.loads((out / FILE).read_text())["outcome"]


class Sleeps(list[float]):
    """The waits so far; at the `last` of them storage is back."""

    def __init__(self, out: Path, last: int | None) -> None:
        super().__init__()
        self._out, self._last = out, last

    def __call__(self, seconds: float) -> None:
        self.append(seconds)
        if len(self) == self._last:
            back(self._out)


def test_the_last_word_is_said_when_storage_is_back(out: Path) -> None:
    Breaking.output, sleeps = out, Sleeps(out, last=4)
    assert driver.drive(str(out), NAME, Terms(patience=300.0, sleep=sleeps)) == driver.DONE
    assert outcome(out) == {"state": "complete", "said": ""}
    assert len(sleeps) == 4 and sleeps == sorted(sleeps)


def test_a_complete_dataset_is_complete_though_nobody_hears_of_it(
    out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Breaking.output, sleeps = out, Sleeps(out, last=None)
    assert driver.drive(str(out), NAME, Terms(patience=300.0, sleep=sleeps)) == driver.DONE
    assert json.loads((out / "manifest.json").read_text())["state"] == "complete"
    assert 200 < sum(sleeps) <= 300
    assert capsys.readouterr().err.endswith("\ncomplete: \n")


def test_the_first_word_waits_for_storage_and_not_for_ever(out: Path) -> None:
    away(out)
    sleeps = Sleeps(out, last=None)
    with pytest.raises(StoreError, match="progress.json"):
        driver.drive(str(out), NAME, Terms(patience=300.0, sleep=sleeps))
    assert 200 < sum(sleeps) <= 300
    Breaking.output, sleeps = out, Sleeps(out, last=2)
    assert driver.drive(str(out), NAME, Terms(patience=5.0, sleep=sleeps)) == driver.DONE
    assert (out / "manifest.json").is_file()


def test_why_a_run_failed_is_the_last_that_the_log_says(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (out.parent / "crawl.warc.gz").unlink()
    Breaking.output, sleeps = out, Sleeps(out, last=None)
    assert driver.drive(str(out), NAME, Terms(patience=300.0, sleep=sleeps)) != driver.DONE
    assert "failed: " in capsys.readouterr().err.splitlines()[-1] and sleeps


def test_an_order_that_is_gone_is_not_waited_for(out: Path) -> None:
    (out / SUBMITTED / f"{NAME}.json").unlink()
    sleeps = Sleeps(out, last=None)
    with pytest.raises(StoreError, match="no such file|No such file"):
        driver.drive(str(out), NAME, Terms(patience=300.0, sleep=sleeps))
    assert sleeps == []
