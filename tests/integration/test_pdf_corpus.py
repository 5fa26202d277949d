"""Real PDFs: the text of `fast` stays as close to the truth as it was, and ahead of the order in which text is drawn.

What is true and how it is measured is said in `bench/pdf.py` and the modules that it names, which print all figures.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

pytest.importorskip("rapidfuzz", reason="the bench's measures are not installed: pip install 'crawlmill[test]'")

from pdf_report import PROSE_FIGURES, TABLE_FIGURES, report
from pdf_scores import REMOVAL, Score, documents_of, mean, run, speed, total

pytestmark = pytest.mark.corpus

WANTED = "jats and same-source"
FLOORS = {
    WANTED: {"found": 0.975, "order": 0.98, "next": 0.98},
    "jats": {"found": 0.985, "order": 0.99, "next": 0.99, "located": 0.965, "whole": 0.985},
    "multi-column": {"found": 0.98, "order": 0.985, "next": 0.985, "located": 0.955, "whole": 0.985},
    "jats-across": {"found": 0.965, "order": 0.985, "next": 0.985, "located": 0.955, "whole": 0.985},
    "same-source": {"found": 0.94, "order": 0.99, "next": 0.975, "located": 0.865, "whole": 0.985},
    "abstract": {"found": 0.99, "order": 0.99, "located": 0.97},
    "tool-regression": {"found": 0.91, "located": 0.86},
}
"""A little under what `fast` reaches; means over the files of a kind. Tools' own texts are no truth to be close to."""
AHEAD_OF_PLAIN = {"jats": 0.01, "jats-across": 0.15}
"""How much more of the 3-grams is found than in PyMuPDF's plain text: joined words, and columns drawn across."""
TABLE_FLOORS = {"cells": 0.98, "follows": 0.92, "row": 0.92, "grid": 0.885}
CHECKS_FLOOR = 23
"""Of the 50 facts that people checked, on 10 pages, one of them a scan."""
PRECISION = 0.94
"""Share of the words left out that the truth does not have."""
UNEXPLAINED = 0.015
"""Share of all words that are left out and neither of recurring heads nor of the truth: first pages' feet, losses."""
HEADS_LEFT = 0.15
"""Most of them heads of chapters and sections in manuals."""
PAGES_PER_SECOND = 10
"""30 are wanted of a quiet core; this is for one that others use as well."""
WITHOUT_TEXT = {"olmocr-a3b8647a93"}
"""A letter in handwriting."""


@pytest.fixture(scope="module")
def scores(corpora: Path) -> dict[str, list[Score]]:
    """By contestant and kind, as `fast jats`; `multi-column` are those of jats in columns."""
    every = list(run(documents_of(corpora / "pdf"), ["fast", "plain"]))
    print("", report(every), sep="\n")
    found: dict[str, list[Score]] = {}
    for score in every:
        groups = [score.kind, WANTED] if score.kind in REMOVAL else [score.kind]
        for group in [*groups, *(["multi-column"] if score.kind == "jats" and score.multi_column else [])]:
            found.setdefault(f"{score.contestant} {group}", []).append(score)
    return found


def below(floors: dict[str, float], measured: dict[str, float | None]) -> dict[str, float | None]:
    """Figures that are not there, or less than their floors."""
    return {name: value for name, value in measured.items() if name in floors and (value or 0) < floors[name]}


@pytest.mark.parametrize("kind", FLOORS)
def test_prose_is_found_and_in_order(scores: dict[str, list[Score]], kind: str) -> None:
    own = scores[f"fast {kind}"]
    assert below(FLOORS[kind], {name: mean(own, figure) for name, figure in PROSE_FIGURES.items()}) == {}


@pytest.mark.parametrize("kind, by", AHEAD_OF_PLAIN.items())
def test_more_is_found_than_in_the_order_of_drawing(scores: dict[str, list[Score]], kind: str, by: float) -> None:
    ours, plain = (mean(scores[f"{name} {kind}"], PROSE_FIGURES["found"]) or 0 for name in ("fast", "plain"))
    assert ours >= plain + by


def test_only_furniture_is_left_out(scores: dict[str, list[Score]]) -> None:
    of = total(scores[f"fast {WANTED}"])
    assert of.heads > 2_000
    assert of.heads_left <= HEADS_LEFT * of.heads
    assert of.wrongly_removed <= (1 - PRECISION) * of.removed
    assert of.unexplained <= UNEXPLAINED * of.words


def test_tables_keep_their_cells_and_rows(scores: dict[str, list[Score]]) -> None:
    own = scores["fast table-xml"]
    assert len(own) == 24
    assert below(TABLE_FLOORS, {name: mean(own, figure) for name, figure in TABLE_FIGURES.items()}) == {}


def test_facts_that_people_checked_hold(scores: dict[str, list[Score]]) -> None:
    checks = [check for score in scores["fast olmocr-tests"] for check in score.checks]
    assert len(checks) == 50
    assert sum(check.passed for check in checks) >= CHECKS_FLOOR


def test_files_with_a_truth_are_not_refused(scores: dict[str, list[Score]]) -> None:
    ours = (score for name, own in scores.items() if name.startswith("fast ") for score in own)
    assert {score.id for score in ours if score.refusal} <= WITHOUT_TEXT


def test_it_is_fast_enough(scores: dict[str, list[Score]]) -> None:
    assert speed(scores[f"fast {WANTED}"]) >= PAGES_PER_SECOND
