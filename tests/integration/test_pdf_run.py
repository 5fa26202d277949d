"""Real PDFs through the whole recipe: every one is accounted for, and hardly any that has text is lost."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from pipeline.audit.verify import verify
from pipeline.engine.inline import InlineEngine
from pipeline.events import Finished
from pipeline.plan import make_plan
from pipeline.run import run
from pipeline.store import Store

pytestmark = pytest.mark.corpus

KEPT_SHARE = 0.97
"""Of PDFs that another tool found 200 letters in, and that need no password; duplicates stand for one another."""


@pytest.fixture(scope="module")
def pdf_run(corpora: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished output of `finepdfs`, every language welcome; takes a minute."""
    folder = tmp_path_factory.mktemp("pdf_run")
    source = {"kind": "warc", "paths": [str(corpora / "pdf" / "pdf-bench.warc.gz")]}
    job = {"name": "pdf-run", "source": source, "recipe": "finepdfs", "override": {"language": {"min_score": 0.0}}}
    (folder / "job.yaml").write_text(yaml.safe_dump(job))
    with InlineEngine(requests_per_second=1) as engine:
        *_, last = run(make_plan(folder / "job.yaml", str(folder / "out")), engine)
    assert isinstance(last, Finished)
    assert last.manifest["state"] == "complete"
    return folder / "out"


@pytest.fixture(scope="module")
def ledger(pdf_run: Path) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in pq.read_table(pdf_run / "ledger").to_pylist()}


@pytest.fixture(scope="module")
def captures(corpora: Path) -> list[dict[str, Any]]:
    with (corpora / "pdf" / "mapping.jsonl").open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def test_every_pdf_is_in_the_ledger_and_none_failed(
    ledger: dict[str, dict[str, Any]], captures: list[dict[str, Any]], pdf_run: Path
) -> None:
    assert set(ledger) == {capture["warc_record_id"] for capture in captures}
    assert {row["media"] for row in ledger.values()} == {"pdf"}
    assert json.loads((pdf_run / "manifest.json").read_bytes())["totals"]["failed"] == 0
    assert list(verify(Store(str(pdf_run)))) == []


def test_pdfs_with_text_are_kept(ledger: dict[str, dict[str, Any]], captures: list[dict[str, Any]]) -> None:
    rows = [
        ledger[capture["warc_record_id"]]
        for capture in captures
        if sum(capture["scripts"].values()) >= 200 and not capture["needs_password"]
    ]
    assert len(rows) > 150
    stay = [row for row in rows if row["outcome"] == "kept" or row["stage"] in ("dedup_text", "minhash")]
    print(f"\n{len(stay)} of {len(rows)}", [(row["id"], row["reason"]) for row in rows if row not in stay])
    assert len(stay) >= KEPT_SHARE * len(rows)


def test_what_asks_for_a_password_is_dropped_as_encrypted(
    ledger: dict[str, dict[str, Any]], captures: list[dict[str, Any]]
) -> None:
    locked = [ledger[capture["warc_record_id"]] for capture in captures if capture["needs_password"]]
    assert locked and {row["reason"] for row in locked} == {"encrypted"}


def test_pages_end_where_their_texts_do(pdf_run: Path) -> None:
    columns = ["text", "page_ends", "per_page_languages", "is_truncated", "extractor", "media"]
    rows = pq.read_table(pdf_run / "data", columns=columns).to_pylist()
    assert sum(row["is_truncated"] for row in rows) > 0
    for row in rows:
        ends = row["page_ends"]
        assert len(ends) == len(row["per_page_languages"])
        assert all(0 <= before <= after for before, after in pairwise([0, *ends]))
        assert ends[-1] == len(row["text"])
        assert row["extractor"]
