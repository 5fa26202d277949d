"""`crawlmill verify` holds each duplicate against the record it says it repeats, and cluster sizes against both."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from published import edit, rewrite, run_over, setting

from pipeline.audit.verify import verify
from pipeline.store import Store

THRESHOLD = 0.7
FAST = {"extract_html": {"extractor": "resiliparse"}}
SIZE = "minhash_cluster_size"
Row = dict[str, Any]


@pytest.fixture(scope="module")
def crawl(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample with one file given twice, so that every id of it repeats."""
    crawl = Path(shutil.copytree(dataset.parent / "crawl", tmp_path_factory.mktemp("twice") / "crawl"))
    shutil.copy(crawl / "sample-00000.warc.gz", crawl / "sample-00009.warc.gz")
    return crawl


@pytest.fixture(scope="module")
def met(crawl: Path) -> Path:
    """A run with three meetings, and a rule behind them that drops records which others left for."""
    stages = [
        {"dedup_url": {"only": "html"}},
        FAST,
        {"language": {"keep": ["en"]}},
        "dedup_text",
        {"minhash": {"verify": True, "threshold": THRESHOLD, "only": "html"}},
        {"gopher_quality": {"min_words": 150}},
    ]
    return finished(crawl, crawl.parent / "met", stages)


@pytest.fixture
def copy(met: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(met, tmp_path / "out"))


def finished(crawl: Path, out: Path, stages: list[Any]) -> Path:
    recipe = out.with_suffix(".yaml")
    recipe.write_text(yaml.safe_dump({"stages": stages}))
    run_over(crawl, out, recipe=str(recipe))
    return out


def some_of(crawl: Path, folder: Path, name: str) -> Path:
    """A crawl of one of its files."""
    folder.mkdir()
    shutil.copy(crawl / name, folder)
    return folder


def said(dataset: Path) -> str:
    return "\n".join(f"{each.path}: {each.problem}" for each in verify(Store(str(dataset))))


def rows(dataset: Path, kind: str) -> Iterator[tuple[str, int, Row]]:
    """Path, number and content of each row."""
    for path in sorted(dataset.glob(f"{kind}/**/*.parquet")):
        for row, content in enumerate(pq.ParquetFile(path).read().to_pylist()):
            yield path.relative_to(dataset).as_posix(), row, content


def first(dataset: Path, kind: str, **wanted: Any) -> tuple[str, int, Row]:
    return next(found for found in rows(dataset, kind) if wanted.items() <= found[2].items())


def damaged(dataset: Path, path: str, row: int, /, **values: Any) -> str:
    for column, value in values.items():
        rewrite(dataset, path, setting(column, row, value), hide=True)
    return said(dataset)


def test_duplicates_of_a_run_are_as_they_should_be(met: Path) -> None:
    """With ids that repeat, and originals that left later."""
    ledger = [row for _, _, row in rows(met, "ledger")]
    outcomes = {row["id"]: row["stage"] for row in ledger}  # of those that repeat, what came of the last
    named = {(row["stage"], outcomes[row["duplicate_of"]]) for row in ledger if row["duplicate_of"]}
    assert {stage for stage, _ in named} == {"dedup_url", "dedup_text", "minhash"}
    assert ("minhash", "gopher_quality") in named
    assert len(outcomes) < len(ledger)
    assert max(row[SIZE] for _, _, row in rows(met, "data")) > 2
    assert said(met) == ""


@pytest.mark.parametrize("stage", ["dedup_url", "dedup_text", "minhash"])
def test_a_duplicate_that_does_not_say_of_what(copy: Path, stage: str) -> None:
    path, row, _ = first(copy, "ledger", stage=stage)
    assert f"{path}: 1 row that left as duplicates and do not say of what" in damaged(
        copy, path, row, duplicate_of=None
    )


@pytest.mark.parametrize("stage", ["dedup_url", "dedup_text", "minhash"])
def test_a_duplicate_of_nobody(copy: Path, stage: str) -> None:
    path, row, content = first(copy, "ledger", stage=stage)
    problems = damaged(copy, path, row, duplicate_of="<urn:uuid:nobody>")
    assert f"{path}: 1 row that are duplicates of a record that is not here" in problems
    assert f"(first: offset {content['offset']}, ordinal {content['ordinal']})" in problems


@pytest.mark.parametrize(
    ("stage", "left"),
    [
        ("dedup_url", "dedup_url"),
        ("dedup_text", "dedup_url"),
        ("dedup_text", "language"),
        ("minhash", "dedup_text"),
        ("minhash", "minhash"),
    ],
)
def test_a_duplicate_of_one_that_did_not_stay_itself(copy: Path, stage: str, left: str) -> None:
    path, row, _ = first(copy, "ledger", stage=stage)
    others = {content["id"] for _, _, content in rows(copy, "ledger") if content["stage"] != left}
    gone = next(
        content["id"]
        for _, _, content in rows(copy, "ledger")
        if content["stage"] == left and (content["id"] not in others or left == "dedup_url")
    )
    if left == "dedup_url":  # of ids that repeat, one stays: here none does
        for at, number, content in list(rows(copy, "ledger")):
            if content["id"] == gone and content["stage"] != left:
                rewrite(copy, at, setting("id", number, "<urn:uuid:another>"), hide=True)
    assert f"{path}: 1 row that are duplicates of a record that is not here, or did not stay" in damaged(
        copy, path, row, duplicate_of=gone
    )


@pytest.mark.parametrize(
    ("similarity", "problem"),
    [
        (0.69, "1 row less similar to what they repeat than the threshold 0.7"),
        (None, "1 row that left as near duplicates without a similarity"),
        (1.01, "1 row with a similarity that is not between 0 and 1"),
        (-0.1, "1 row with a similarity that is not between 0 and 1"),
        (float("nan"), "1 row with a similarity that is not between 0 and 1"),
    ],
)
def test_a_similarity_that_cannot_be(copy: Path, similarity: float | None, problem: str) -> None:
    path, row, _ = first(copy, "ledger", stage="minhash")
    assert f"{path}: {problem}" in damaged(copy, path, row, similarity=similarity)


@pytest.mark.parametrize("given", [{"duplicate_of": "<urn:uuid:nobody>"}, {"similarity": 0.9}])
@pytest.mark.parametrize("outcome", ["kept", "dropped"])
def test_a_record_that_is_no_duplicate_and_says_it_is(copy: Path, given: Row, outcome: str) -> None:
    path, row, _ = first(copy, "ledger", outcome=outcome, duplicate_of=None)
    problem = f"{path}: 1 row that did not leave as duplicates and say of what, or how similar"
    assert problem in damaged(copy, path, row, **given)


@pytest.mark.parametrize(("size", "another"), [(1, 2), (2, 1), (2, 3), (3, 2), (3, 2**62)])
def test_a_cluster_size_that_is_another(copy: Path, size: int, another: int) -> None:
    path, row, _ = first(copy, "data", **{SIZE: size})
    problem = f"data: 1 id has another {SIZE} than 1 + the near duplicates that left for it"
    assert problem in damaged(copy, path, row, **{SIZE: another})


def test_a_cluster_of_nobody(copy: Path) -> None:
    path, row, content = first(copy, "data", **{SIZE: 1})
    assert f"{path}: 1 row with a {SIZE} below 1 (first: id {content['id']})" in damaged(copy, path, row, **{SIZE: 0})


def test_cluster_sizes_that_cancel_out(copy: Path) -> None:
    one, other = first(copy, "data", **{SIZE: 1}), first(copy, "data", **{SIZE: 2})
    damaged(copy, *one[:2], **{SIZE: 2})
    assert said(copy).count("data: 1 id has another") == 1
    assert "data: 2 ids have another" in damaged(copy, *other[:2], **{SIZE: 1})


def test_a_near_duplicate_that_names_another_kept_record(copy: Path) -> None:
    """Who it names did stay, but counted without it."""
    path, row, _ = first(copy, "ledger", stage="minhash")
    alone = first(copy, "data", **{SIZE: 1})[2]["id"]
    assert "another minhash_cluster_size than" in damaged(copy, path, row, duplicate_of=alone)


def test_a_missing_cluster_size(copy: Path) -> None:
    path, row, content = first(copy, "data", **{SIZE: 1})
    problem = f"{path}: 1 row that met others by their words and have no {SIZE} (first: id {content['id']})"
    assert problem in damaged(copy, path, row, **{SIZE: None})


def test_records_that_passed_by_have_no_cluster_size(crawl: Path, tmp_path: Path) -> None:
    out = finished(crawl, tmp_path / "out", [FAST, {"minhash": {"only": "pdf"}}])
    assert {row[SIZE] for _, _, row in rows(out, "data")} == {None}
    assert said(out) == ""
    path, row, content = next(rows(out, "data"))
    problem = f"{path}: 1 row that met nobody by their words and have a {SIZE} (first: id {content['id']})"
    assert problem in damaged(out, path, row, **{SIZE: 1})


def test_who_repeats_an_index_names_nobody_of_this_run(crawl: Path, tmp_path: Path) -> None:
    index = str(tmp_path / "index")
    earlier, again = (some_of(crawl, tmp_path / name, f"sample-{name}.warc.gz") for name in ("00000", "00001"))
    finished(earlier, tmp_path / "one", [FAST, {"minhash": {"index": index}}])
    for verified in (False, True):
        out = finished(again, tmp_path / f"two-{verified}", [FAST, {"minhash": {"against": index, "verify": verified}}])
        here = {row["id"] for _, _, row in rows(out, "ledger") if row["outcome"] == "kept"}
        path, row, content = first(out, "ledger", reason="duplicate_in_index")
        assert content["duplicate_of"] not in here
        assert said(out) == ""
    assert "less similar to what they repeat" in damaged(out, path, row, similarity=0.1)


def test_a_meeting_for_each_media(crawl: Path, tmp_path: Path) -> None:
    stages = [FAST, {"minhash": {"only": "html"}}, {"minhash": {"only": "pdf"}}]
    out = finished(crawl, tmp_path / "out", stages)
    assert said(out) == ""
    path, row, _ = first(out, "ledger", stage="minhash")
    assert "are duplicates of a record that is not here" in damaged(out, path, row, duplicate_of="nobody")


def test_a_run_that_failed_before_its_rules_measured_nobody(crawl: Path, tmp_path: Path) -> None:
    other = some_of(crawl, tmp_path / "crawl", "sample-00000.warc.gz")
    (other / "sample-00001.warc.gz").write_bytes(b"no gzip, no WARC")
    out = finished(other, tmp_path / "out", ["dedup_url", FAST, "gopher_quality"])
    assert any(row["outcome"] == "kept" for _, _, row in rows(out, "ledger"))
    assert list(rows(out, "data")) == list(rows(out, "signals")) == []
    assert said(out) == ""


def test_duplicates_that_cannot_be_checked_accuse_nobody(copy: Path) -> None:
    """Where a ledger is gone, so are records that others may name."""
    (copy / "ledger" / "part-00000.parquet").unlink()
    problems = said(copy)
    assert "ledger/part-00000.parquet: missing" in problems
    assert "duplicates of a record that is not here" not in problems
    assert SIZE not in problems


def test_a_recipe_of_strangers(copy: Path) -> None:
    """Stages that nobody knows, by the hundred, and fields of any type."""

    def change(manifest: Row) -> None:
        odd = [{"kind": f"stage\x1f{n}", "only": ["html"], "verify": "yes"} for n in range(300)]
        for stage in manifest["recipe"]["stages"]:
            if stage["kind"] == "minhash":
                stage.update(threshold="0.7", only={"a": 1})
        manifest["recipe"]["stages"][1:1] = odd

    edit(copy, change)
    assert "funnel: its stages are not the recipe's" in said(copy)
