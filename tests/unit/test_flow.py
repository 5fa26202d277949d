"""A batch through stages: every row is kept or leaves once, with its text; rules measure each record once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cage_stages
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.flow import READ, Flow, Flowed
from pipeline.ledger import signals_schema
from stages.decision import Decision, Words, below
from stages.edit.pii import Pii
from stages.extract.html import ExtractHtml
from stages.filter.c4 import C4Quality
from stages.filter.fineweb import FineWebQuality
from stages.filter.gopher import GopherQuality, GopherQualitySignals
from stages.filter.repetition import GopherRepetition
from stages.filter.url import UrlFilter
from stages.language.identify import Language
from stages.stage import DEPARTED, RECORD, Stage
from stages.tokens import TokenCount

GOOD = "\n".join(
    f"In the year {year} the {thing} of the village was built by people who had come from the {side} with their tools."
    for year, thing, side in zip(
        range(1700, 1708), ("mill", "bridge", "church", "well", "barn", "forge", "inn", "quay"), ("north", "south") * 4
    )
)
TEXTS = (GOOD, GOOD.replace("the", "der"), "", "short", "a\n" * 60, f"{GOOD}\n{{ }}", "Write to joe@site.org. " * 20)
FAULTS = (None, None, None, None, "payload_too_large", "undecodable_payload")
MISBEHAVE = cage_stages.Misbehave(cpu_seconds=2)


def record(n: int, media: str, content: str | None = None, **columns: Any) -> dict[str, Any]:
    """An html, pdf or other record has `content` as its payload, one of text as its text."""
    place = {"id": f"<{n}>", "shard": "s", "offset": n // 3, "ordinal": n % 3, "url": f"http://a{n}.org/", "dump": "d"}
    body = {"text": content} if media == "text" else {"payload": (content or "").encode()}
    return {**place, "media": media, "mime": f"{media}/x", "status": 200, **body, **columns}


def run(stages: Sequence[Stage], rows: Sequence[dict[str, Any]], faults: Sequence[str | None] = ()) -> Flowed:
    batch = pa.RecordBatch.from_pylist(list(rows), schema=RECORD)
    flowed = Flow(stages).run(batch, list(faults) or [None] * len(rows))
    assert_accounted(batch, flowed)
    return flowed


def places(batch: pa.RecordBatch) -> list[tuple[int, int]]:
    return list(zip(batch.column("offset").to_pylist(), batch.column("ordinal").to_pylist()))


def assert_accounted(batch: pa.RecordBatch, flowed: Flowed) -> None:
    """Every row is in one place; what is kept is in order and has a text."""
    assert flowed.kept.schema == RECORD
    left = [batch for _, _, batch in flowed.left]
    assert all(each.schema == DEPARTED and each.num_rows for each in left)
    everywhere = [place for each in (flowed.kept, *left) for place in places(each)]
    assert sorted(everywhere) == places(batch)
    assert places(flowed.kept) == sorted(places(flowed.kept))
    assert flowed.kept.column("text").null_count == 0
    assert all(each.column("reason").null_count == 0 for each in left)
    if flowed.measured is not None:
        measured = places(flowed.measured.records)
        assert len(set(measured)) == len(measured)
        assert set(places(flowed.kept)) <= set(measured)


def departures(flowed: Flowed) -> dict[str, tuple[str, str, str]]:
    """(stage, outcome, reason) by id."""
    return {
        id: (stage, outcome, reason)
        for stage, outcome, batch in flowed.left
        for id, reason in zip(batch.column("id").to_pylist(), batch.column("reason").to_pylist())
    }


STAGES: tuple[Stage, ...] = (
    *(UrlFilter(), UrlFilter(only="pdf"), Language(keep=["en"]), GopherRepetition(), FineWebQuality(), TokenCount()),
    *(GopherQuality(), GopherQuality(only="html"), C4Quality(no_terminal_punct=False), C4Quality(only="html")),
    *(Pii(), Pii(only="html")),
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(st.sampled_from(["html", "pdf", "other", "text"]), st.sampled_from(TEXTS)), max_size=7),
    st.lists(st.sampled_from(FAULTS), min_size=7, max_size=7),
    st.booleans(),
    st.lists(st.sampled_from(STAGES), unique_by=lambda stage: stage.kind, max_size=6),
)
def test_every_row_is_kept_or_leaves_exactly_once(
    contents: list[tuple[str, str]], faults: list[str | None], extracts: bool, stages: list[Stage]
) -> None:
    rows = [record(n, media, f"say {text}" if media == "html" else text) for n, (media, text) in enumerate(contents)]
    flowed = run([*([MISBEHAVE] if extracts else []), *stages], rows, faults[: len(rows)])
    left = departures(flowed)
    for row, fault in zip(rows, faults):
        if fault is not None:
            assert left[row["id"]] == (READ, "failed" if fault == "payload_too_large" else "dropped", fault)
        elif row["media"] in ("pdf", "other"):
            assert left[row["id"]][1:] == ("dropped", "unsupported_type")


def test_stages_are_named_as_they_come_and_the_first_to_fail_a_record_has_it() -> None:
    rules: list[Stage] = [Language(keep=["en"]), GopherQuality(), FineWebQuality()]
    stages: list[Stage] = [UrlFilter(), ExtractHtml(), *rules, Pii(), TokenCount()]
    page = "<html><body><article>{}</article></body></html>".format
    paragraphs = "".join(f"<p>{line}</p>" for line in GOOD.split("\n"))
    german = "Der Fluss fließt an der alten Mühle vorbei, und dort müssen wir mit dem Boot hin. "
    rows = [
        record(0, "html", page(paragraphs)),
        record(1, "html", page(paragraphs), url="http://xxxporn.com/"),
        record(2, "html", page(paragraphs), status=404),
        record(3, "html", " "),
        record(4, "other", "GIF89a", mime="image/gif"),
        record(5, "html", page(f"<p>{german * 9}</p>")),
        record(6, "html", page("<p>It is a very short text, and in English.</p>")),
        record(7, "text", GOOD),
        record(8, "text", None),
    ]
    flowed = run(stages, rows)
    assert flowed.kept.column("id").to_pylist() == ["<0>", "<7>"]
    assert flowed.kept.column("text").to_pylist() == [GOOD, GOOD]
    assert flowed.kept.column("payload").null_count == 2
    assert flowed.kept.column("token_count").null_count == 0
    left = departures(flowed)
    assert left.pop("<1>")[:2] == ("url_filter", "dropped")
    assert left == {
        "<2>": ("extract_html", "dropped", "http_error_status"),
        "<3>": ("extract_html", "dropped", "empty_payload"),
        "<4>": ("extract_html", "dropped", "unsupported_type"),
        "<5>": ("language", "dropped", "wrong_language"),
        "<6>": ("gopher_quality", "dropped", "too_few_words"),
        "<8>": ("extract_html", "dropped", "no_text"),
    }
    assert set(Flow(stages).seconds) <= {stage.kind for stage in stages}


def test_what_the_cage_answers_decides() -> None:
    deeds = ["say text", "refuse no_text_here", "exit 3", "raise hell"]
    flowed = run([MISBEHAVE], [record(n, "html", deed) for n, deed in enumerate(deeds)])
    assert flowed.kept.column("text").to_pylist() == ["text"]
    assert departures(flowed) == {
        "<1>": ("misbehave", "dropped", "no_text_here"),
        "<2>": ("misbehave", "failed", "crashed"),
        "<3>": ("misbehave", "failed", "extraction_error"),
    }
    refused = flowed.left[0][2].to_pylist()[0]
    assert (refused["value"], refused["threshold"]) == (1, 2)


@pytest.mark.parametrize("stages", [[], [UrlFilter()], [TokenCount()], [GopherQuality()], [MISBEHAVE]])
def test_a_record_that_nothing_reads_is_of_an_unsupported_type(stages: list[Stage]) -> None:
    flowed = run(stages, [record(0, "pdf", "x", mime="application/pdf"), record(1, "other", "x")])
    assert flowed.kept.num_rows == 0
    ((_, outcome, batch),) = flowed.left
    assert outcome == "dropped"
    assert batch.column("reason").to_pylist() == ["unsupported_type"] * 2
    assert batch.column("detail").to_pylist() == ["application/pdf", "other/x"]


def test_an_extractor_of_other_records_only_reads_nothing() -> None:
    flowed = run([MISBEHAVE.model_copy(update={"only": "pdf"}), GopherQuality()], [record(0, "html", "say x")])
    assert departures(flowed) == {"<0>": ("misbehave", "dropped", "unsupported_type")}


class FirstLine(GopherQuality):
    """A rule that edits: it keeps the first line, and drops texts of which it removed nothing."""

    def edit(self, texts: Any) -> Any:
        keep = np.zeros(len(texts.lines.starts), bool)
        first = texts.lines.offsets[:-1][np.diff(texts.lines.offsets) > 0]
        keep[first] = True
        return texts.keep_lines(keep, {}, [(string.splitlines() or [""])[0].strip() for string in texts.strings])

    def decide(self, signals: GopherQualitySignals, languages: Words) -> Decision:
        return below("nothing_new", signals.words, 2)


def test_a_record_leaves_with_the_text_that_came_to_the_stage() -> None:
    rows = [record(0, "text", "one two\nthree"), record(1, "text", "one\ntwo three")]
    flowed = run([FirstLine()], rows)
    assert flowed.kept.column("text").to_pylist() == ["one two"]
    assert flowed.left[0][2].column("text").to_pylist() == ["one\ntwo three"]
    c4 = C4Quality(no_terminal_punct=False, min_sentences=0)
    flowed = run([c4, GopherQuality()], [record(0, "text", "menu\nIt is too short for Gopher.")])
    assert flowed.left[0][2].column("text").to_pylist() == ["It is too short for Gopher."]


def test_only_limits_a_stage_wherever_it_stands() -> None:
    rows = [record(0, "html", "say joe@a.org"), record(1, "text", "joe@a.org"), record(2, "html", "say joe@a.org")]
    kept = run([MISBEHAVE, Pii(only="html")], rows).kept.column("text").to_pylist()
    assert kept[0] == kept[2] != kept[1] == "joe@a.org"
    blocked = {"url": "http://xxxporn.com/"}
    flowed = run([UrlFilter(only="pdf"), MISBEHAVE], [record(0, "html", "say x", **blocked)])
    assert flowed.kept.num_rows == 1
    assert departures(run([UrlFilter(only="html"), MISBEHAVE], [record(0, "html", "say x", **blocked)]))
    assert not departures(run([MISBEHAVE, GopherQuality(only="pdf")], [record(0, "html", "say x")]))


def signals(stages: list[Stage], flowed: Flowed) -> list[dict[str, Any]]:
    assert flowed.measured is not None
    schema = signals_schema(stages)
    batch = flowed.measured.batch(schema)
    assert batch.schema == schema
    rows: list[dict[str, Any]] = batch.to_pylist()
    return rows


def test_rules_around_another_stage_make_one_row_of_signals_for_each_record() -> None:
    stages: list[Stage] = [Language(keep=["en"]), GopherQuality(min_words=3), Pii(), FineWebQuality()]
    texts = [GOOD, "to be", f"{GOOD} joe@site.org", "Ein deutscher Satz ist das hier, und noch einer."]
    batch = pa.RecordBatch.from_pylist([record(n, "text", text) for n, text in enumerate(texts)], schema=RECORD)
    flow = Flow(stages)
    flowed = flow.run(batch, [None] * 4)
    rows = signals(stages, flowed)
    assert [row["id"] for row in rows] == ["<0>", "<1>", "<2>", "<3>"]
    assert [row["gopher_quality"]["words"] for row in rows][1] == 2
    assert [row["gopher_quality"] is None for row in rows] == [False] * 4  # rules side by side see every text
    assert [row["fineweb_quality"] is None for row in rows] == [False, True, False, True]
    assert rows[3]["language"]["language"] == "deu_Latn"
    assert flowed.kept.column("id").to_pylist() == ["<0>", "<2>"]


def test_a_rule_may_stand_once_for_each_media() -> None:
    stages: list[Stage] = [
        MISBEHAVE,
        GopherQuality(only="html", min_words=3),
        GopherQuality(only="pdf"),
        FineWebQuality(),
    ]
    flow = Flow(stages)
    assert signals_schema(stages).names.count("gopher_quality") == 1
    batch = pa.RecordBatch.from_pylist([record(0, "html", f"say {GOOD}"), record(1, "text", GOOD)], schema=RECORD)
    rows = signals(stages, flow.run(batch, [None, None]))
    assert [row["gopher_quality"] is None for row in rows] == [False, True]
    assert [row["fineweb_quality"] is None for row in rows] == [False, False]


def test_no_records() -> None:
    flowed = run([UrlFilter(), ExtractHtml(), Language(), GopherQuality(only="html"), Pii(), TokenCount()], [])
    assert (flowed.kept.num_rows, flowed.left) == (0, [])


def test_a_record_keeps_its_columns_on_every_way() -> None:
    rows = [record(n, "text", GOOD, date="2024-01-01", charset="utf-8") for n in range(3)]
    kept = run([Language(), GopherQuality(), Pii(), TokenCount()], rows).kept
    before = pa.RecordBatch.from_pylist(rows, schema=RECORD)
    for name in set(RECORD.names) - {"language", "language_score", "token_count"}:
        assert kept.column(name) == before.column(name), name
    assert pc.all(pc.equal(kept.column("language"), "eng_Latn")).as_py()
