"""`crawlmill inspect` finds records by what became of them, says why, and lets no string loose on a terminal."""

from __future__ import annotations

import io
import json
import math
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from invented_run import HOSTILE
from published import rewrite, run_over, setting
from rich.console import Console

from pipeline.audit.dataset import NotADataset
from pipeline.audit.explore import Found, as_json, explain, find, render
from pipeline.faults import StoreError
from pipeline.store import Store

EVERYTHING = 10**6
SGR = re.compile(r"\x1b\[[0-9;]*m")
UNSEEN = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def these(dataset: Path, limit: int = EVERYTHING, **wanted: Any) -> list[Found]:
    return list(find(Store(str(dataset)), limit=limit, **wanted))


def rows(dataset: Path, kind: str) -> Iterator[dict[str, Any]]:
    for path in sorted((dataset / kind).glob("*.parquet")):
        yield from pq.ParquetFile(path).read().to_pylist()


def printed(found: Found, **options: Any) -> str:
    out = io.StringIO()
    render(found, Console(file=out, width=140, **options))
    return out.getvalue()


def test_everything_is_the_ledger_in_its_order(dataset: Path) -> None:
    assert [each.record for each in these(dataset)] == list(rows(dataset, "ledger"))


def test_each_reason_is_found_and_explained(dataset: Path) -> None:
    drops = json.loads((dataset / "manifest.json").read_bytes())["drops"]
    assert {drop["stage"] for drop in drops} > {"url_filter", "extract_html", "language", "gopher_quality"}
    for drop in drops:
        found = these(dataset, stage=drop["stage"], reason=drop["reason"])
        assert len(found) == drop["count"]
        assert all(explain(each).startswith(f"dropped by {drop['stage']}: {drop['reason']}") for each in found)
        assert all(explain(each) in re.sub(r"\s+", " ", printed(each)) for each in found)


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [
        ("too_few_words", r"dropped by gopher_quality: too_few_words, \d+ is below 50 \(min_words\)"),
        ("repeated_lines", r"dropped by .*: repeated_lines, 0\.\d+ is above 0\.3 \(max_duplicate_lines\)"),
        ("too_many_hashes", r"dropped by .*: too_many_hashes, 0\.\d+ is above 0\.1 \(max_symbol_ratio\)"),
        ("wrong_language", r"dropped by language: wrong_language \(\w{3}_\w{4}\), [\d.]+ where min_score is 0\.65"),
        ("low_language_score", r"dropped by .* \(eng_Latn\), 0\.\d+ is below 0\.65 \(min_score\)"),
        ("blocked_word", r"dropped by url_filter: blocked_word \(\w+\)"),
        ("curly_bracket", r"dropped by c4_quality: curly_bracket, \d is above 0"),
    ],
)
def test_the_sentence(dataset: Path, reason: str, sentence: str) -> None:
    assert re.fullmatch(sentence, explain(these(dataset, reason=reason, limit=1)[0]))


def test_a_threshold_that_is_missed_by_a_hair(dataset: Path) -> None:
    found = these(dataset, reason="low_language_score", limit=1)[0]
    close = replace(found, record={**found.record, "value": 0.6499999})
    assert "0.6499999 is below 0.65 (min_score)" in explain(close)


def test_a_threshold_of_the_language(dataset: Path) -> None:
    """The recipe's 50 gives way to what Japanese needs, and is named by the same field."""
    found = these(dataset, reason="too_few_words", limit=1)[0]
    japanese = replace(found, language="jpn_Jpan", record={**found.record, "threshold": 110.0})
    assert explain(japanese).endswith("is below 110 (min_words)")
    assert "≥ 50, ≤ 100,000, jpn_Jpan ≥ 110" in printed(japanese)


def test_kept_records_come_with_their_texts(dataset: Path) -> None:
    found = these(dataset, kept=True)
    texts = {(row["file_path"], row["id"]): row["text"] for row in rows(dataset, "data")}
    assert len(found) == len(texts) > 100
    assert all(each.text == texts[each.record["shard"], each.record["id"]] for each in found)
    sizes = {row["id"]: row["minhash_cluster_size"] for row in rows(dataset, "data")}
    assert all(each.cluster_size == sizes[each.record["id"]] for each in found)
    for size, others in ((1, ""), (2, "; 1 near duplicate left for it"), (4, "; 3 near duplicates left for it")):
        of_size = next(each for each in found if each.cluster_size == size)
        assert explain(of_size) == f"kept: no stage of 10 found fault with it{others}"
        assert as_json(of_size)["cluster_size"] == size


def test_a_duplicate_leads_to_what_it_repeats(dataset: Path) -> None:
    for found in these(dataset, reason="near_duplicate"):
        original, similarity = found.record["duplicate_of"], found.record["similarity"]
        assert explain(found) == f"dropped by minhash: near_duplicate of {original}, similarity {similarity:.4g}"
        assert found.cluster_size is None
        (kept,) = these(dataset, id=original)
        assert kept.cluster_size is not None
        assert kept.cluster_size > 1


@pytest.mark.parametrize(
    ("record", "sentence"),
    [
        ({"threshold": 0.7, "similarity": 0.83}, "near_duplicate of <a>, similarity 0.83 (threshold 0.7)"),
        ({"threshold": 0.7, "similarity": 0.70001}, "near_duplicate of <a>, similarity 0.70001 (threshold 0.7)"),
        ({"reason": "duplicate_url", "similarity": None, "value": None}, "duplicate_url of <a>"),
        (
            {"reason": "duplicate_in_index", "detail": "CC-MAIN-2026-38", "similarity": 1.0},
            "duplicate_in_index (CC-MAIN-2026-38) of <a>, similarity 1",
        ),
    ],
)
def test_how_a_duplicate_is_explained(dataset: Path, record: dict[str, Any], sentence: str) -> None:
    found = these(dataset, reason="near_duplicate", limit=1)[0]
    other = replace(found, record={**found.record, "duplicate_of": "<a>", **record})
    assert explain(other) == f"dropped by minhash: {sentence}"


def test_texts_of_records_that_left(dataset: Path) -> None:
    found = these(dataset, kept=False)
    stored = {(row["shard"], row["offset"], row["ordinal"]): row["text"] for row in rows(dataset, "dropped")}
    for each in found:
        place = (each.record["shard"], each.record["offset"], each.record["ordinal"])
        assert each.text == stored.get(place)
        assert (each.text is None) == (each.no_text is not None)
    why = {each.no_text for each in found} - {None}
    assert "not among the 20 of its input that are stored for this reason (output.dropped_text: sample)" in why
    assert "it left at url_filter, before it had any" in why


def test_no_texts_are_stored_where_the_job_wants_none(dataset: Path, tmp_path: Path) -> None:
    run_over(dataset.parent / "crawl", tmp_path / "out", output={"dropped_text": "none"})
    found = these(tmp_path / "out", reason="too_few_words", limit=1)[0]
    assert found.no_text is not None
    assert "dropped_text: none" in found.no_text
    assert "dropped_text: none" in printed(found)


def test_signals_are_those_of_the_record(dataset: Path) -> None:
    for each in these(dataset):
        reached = each.record["outcome"] == "kept" or each.record["stage"] not in ("url_filter", "extract_html")
        assert (each.signals is not None) == reached
    few = these(dataset, reason="too_few_words", limit=1)[0]
    assert few.signals is not None
    assert few.signals["gopher_quality"]["words"] == few.record["value"]  # type: ignore[index]
    assert re.search(r"words +\d+ +≥ 50, ≤ 100,000", printed(few))


def test_by_id_and_url(dataset: Path) -> None:
    record = these(dataset, kept=True, limit=1)[0].record
    for spelling in (record["id"], record["id"].strip("<>"), record["id"].removeprefix("<urn:uuid:").rstrip(">")):
        assert [each.record for each in these(dataset, id=spelling)] == [record]
    assert record in [each.record for each in these(dataset, url=record["url"])]
    assert these(dataset, url=record["url"].replace(".", "?")) == []
    host = record["url"].split("/")[2]
    found = these(dataset, url=f"*//{host}/*")
    assert record in [each.record for each in found]
    assert {each.record["url"].split("/")[2] for each in found} == {host}
    assert these(dataset, url=f"{host}*") == []
    assert these(dataset, url="*a" * 500 + "*") == []


def test_a_limit_is_where_reading_stops(dataset: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(dataset, tmp_path / "out"))
    for number in (1, 2, 3):
        (copy / f"ledger/part-0000{number}.parquet").unlink()
    assert len(these(copy, limit=5)) == 5
    with pytest.raises(StoreError, match="part-00001"):
        these(copy)


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"reason": "too_few_word"}, "did you mean too_few_words?"),
        ({"stage": "gopher_qualty"}, "did you mean gopher_quality?"),
        ({"kept": True, "reason": "too_few_words"}, "kept records have no reason"),
    ],
)
def test_what_no_record_can_be_is_refused(dataset: Path, wanted: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        these(dataset, **wanted)


def test_a_reason_of_the_recipe_that_nobody_left_for_finds_nothing(dataset: Path) -> None:
    assert these(dataset, reason="too_many_words") == []


def test_a_folder_of_somebody_else(tmp_path: Path) -> None:
    with pytest.raises(NotADataset):
        these(tmp_path)


def test_a_damaged_file_is_one_line(dataset: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(dataset, tmp_path / "out"))
    (copy / "ledger/part-00000.parquet").write_bytes(b"PAR1" + bytes(2000) + b"PAR1")
    with pytest.raises(StoreError) as raised:
        these(copy)
    assert "crawlmill verify" in str(raised.value)
    assert "\n" not in str(raised.value)


ATTACKS = (
    *HOSTILE,
    "[bold red]owned[/] [/] [link=file:///etc/passwd]x[/link] :skull:",
    "\x1b]0;owned\x07\x9b31m\r\n\b\b",
)


@pytest.mark.parametrize("attack", ATTACKS, ids=range(len(ATTACKS)))
@pytest.mark.parametrize("terminal", [False, True])
def test_strangers_strings_are_inert(dataset: Path, attack: str, terminal: bool) -> None:
    found = these(dataset, reason="too_few_words", limit=1)[0]
    record = {
        **found.record,
        **dict.fromkeys(("url", "id", "shard", "detail", "media", "stage", "reason", "duplicate_of"), attack),
    }
    signals = {attack: {attack: attack, "words": 3}}
    out = printed(replace(found, record=record, text=attack, signals=signals, language=attack), force_terminal=terminal)
    assert not UNSEEN.search(SGR.sub("", out))
    assert ("\x1b" in out) == terminal
    if "[bold" in attack:
        assert out.count("[bold red]owned[/] [/] [link=file:///etc/passwd]x[/link] :skull:") >= 5
    if "\x1b" in attack:
        assert "⟨U+001B⟩" in out
    assert not UNSEEN.search(explain(replace(found, record=record)))


def test_a_hostile_url_in_the_files(dataset: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(dataset, tmp_path / "out"))
    rewrite(copy, "ledger/part-00000.parquet", setting("url", 0, "https://[/]\x1b[2J.example/"), hide=True)
    (found,) = these(copy, url="https://[/]*.example/")
    assert "https://[/]⟨U+001B⟩[2J.example/" in printed(found)


def test_a_long_text_is_cut(dataset: Path) -> None:
    found = these(dataset, kept=True, limit=1)[0]
    out = printed(replace(found, text="word " * 10**6))
    assert len(out) < 10_000
    assert "(4,999,200 more characters)" in out


def test_json_is_json(dataset: Path) -> None:
    for found in these(dataset, limit=50):
        content = json.loads(json.dumps(as_json(found), allow_nan=False))
        assert content["record"] == found.record
        assert content["explained"] == explain(found)
    odd = replace(found, record={**found.record, "value": math.inf, "threshold": math.nan})
    assert as_json(odd)["record"]["value"] is None
    assert explain(odd)
    json.dumps(as_json(odd), allow_nan=False)
