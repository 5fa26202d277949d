"""Scores of PDFs' texts as tables in Markdown, and what is wrong with single files, for people to read."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict

import pdf_furniture
import pdf_prose
import pdf_tables
from pdf_checks import JUDGED
from pdf_scores import LONG_KIND, REMOVAL, Score, figures, mean, speed, total
from pdf_truth import PROSE, Document

PROSE_FIGURES = figures(lambda score: score.prose, ("found", "order", "next", "located", "whole", "similarity"))
TABLE_FIGURES = figures(lambda score: score.tables, ("cells", "follows", "row", "grid"))


def report(scores: Sequence[Score]) -> str:
    """All tables that the scores have anything for."""
    parts = {
        "Prose": _prose(scores),
        "Left out": _removal(scores),
        "Tables": _tables(scores),
        "Facts that people checked: passed": _checks(scores),
        "Refused": _refused(scores),
    }
    return "\n\n".join(f"{title}\n\n{table}" for title, table in parts.items() if table)


def worst(scores: Iterable[Score], documents: Iterable[Document], contestant: str, number: int) -> str:
    """What is missing or out of place in the files that a contestant is furthest from the truth in."""
    known = {(document.id, document.kind): document for document in documents}
    own = sorted((score for score in scores if score.contestant == contestant), key=_goodness)[:number]
    described = (_describe(score, known[score.id, score.kind]) for score in own)
    return "\n\n".join([f"\n# Worst of {contestant}", *described])


def _goodness(score: Score) -> float:
    """What sorts files: the mean of what a kind is judged by first of all."""
    if score.prose:
        return ((score.prose.found or 0) + (score.prose.next or 0)) / 2
    if score.tables:
        return score.tables.row
    return sum(check.passed for check in score.checks) / max(1, len(score.checks))


def _describe(score: Score, document: Document, examples: int = 5) -> str:
    own = {name: figure(score) for name, figure in {**PROSE_FIGURES, **TABLE_FIGURES}.items()}
    said = ", ".join(f"{name} {_figure(value)}" for name, value in own.items() if value is not None)
    lines = [f"## {score.id} ({score.kind}, {score.pages} pages): {score.refusal or said}"]
    lines += [f"failed: {test}" for test in _failed(score, document)]
    for name, pieces in _losses(score, document).items():
        lines += [f"{name}: {len(pieces)}"] + [f"    {_shorten(piece)}" for piece in pieces[:examples]]
    return "\n".join(lines)


def _losses(score: Score, document: Document) -> dict[str, list[str]]:
    if score.refusal:
        return {}
    if score.tables:
        return dict(zip(("cells missing", "not in a row"), pdf_tables.losses(document.tables, score.text)))
    prose = asdict(pdf_prose.losses(document.paragraphs, score.text)) if score.prose else {}
    return {**prose, **({"gone": pdf_furniture.gone(document.payload, score.text)} if score.removal else {})}


def _failed(score: Score, document: Document) -> list[str]:
    failed = {check.id for check in score.checks if not check.passed}
    return [
        ", ".join(f"{key} {value!r}" for key, value in test.items() if key not in ("pdf", "page", "checked"))
        for test in document.tests
        if test["id"] in failed
    ]


def _prose(scores: Sequence[Score]) -> str:
    groups = {kind: [score for score in scores if score.kind == kind] for kind in PROSE}
    groups["jats, multi-column"] = [score for score in groups["jats"] if score.multi_column]
    groups[f"jats and {LONG_KIND}"] = groups["jats"] + groups[LONG_KIND] if groups[LONG_KIND] else []
    rows = []
    for group, members in groups.items():
        for name, own in _by_contestant(members).items():
            means = [_figure(mean(own, figure)) for figure in PROSE_FIGURES.values()]
            rows.append([group, name, str(len(own)), *means, f"{speed(own):.0f}"])
    return _markdown(["files", "contestant", "number", *PROSE_FIGURES, "pages/s"], rows)


def _removal(scores: Sequence[Score]) -> str:
    rows = []
    for name, own in _by_contestant(score for score in scores if score.removal).items():
        for kind in REMOVAL:
            of = total(score for score in own if score.kind == kind)
            if of.words:
                right = _figure(1 - of.wrongly_removed / of.removed) if of.removed else ""
                left = _figure(of.heads_left / of.heads) if of.heads else ""
                counts = (of.words, of.removed, of.wrongly_removed, of.unexplained)
                rows.append([kind, name, *map(str, counts), right, str(of.heads), left])
    head = ["files", "contestant", "words", "removed", "wrongly", "unexplained", "precision", "heads", "share left"]
    return _markdown(head, sorted(rows, key=lambda row: row[0]))


def _tables(scores: Sequence[Score]) -> str:
    rows = []
    for name, own in _by_contestant(score for score in scores if score.tables).items():
        means = [_figure(mean(own, figure)) for figure in TABLE_FIGURES.values()]
        rows.append(["table-xml", name, str(len(own)), *means, f"{speed(own):.0f}"])
    return _markdown(["files", "contestant", "number", *TABLE_FIGURES, "pages/s"], rows)


def _checks(scores: Sequence[Score]) -> str:
    rows = []
    for name, own in _by_contestant(score for score in scores if score.checks).items():
        checks = [check for score in own for check in score.checks]
        every, passed = (Counter(check.type for check in some) for some in (checks, [c for c in checks if c.passed]))
        rows.append(["olmocr-tests", name, *(f"{passed[kind]} of {every[kind]}" for kind in JUDGED)])
    return _markdown(["files", "contestant", *JUDGED], rows)


def _refused(scores: Sequence[Score]) -> str:
    rows = [[score.id, score.contestant, score.refusal] for score in scores if score.refusal]
    return _markdown(["file", "contestant", "why"], rows)


def _by_contestant(scores: Iterable[Score]) -> dict[str, list[Score]]:
    found = defaultdict(list)
    for score in scores:
        found[score.contestant].append(score)
    return dict(found)


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table, its first two columns to the left; nothing where there are no rows."""
    lines = [head, ["---"] * 2 + ["---:"] * (len(head) - 2), *rows] if rows else []
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _shorten(text: str, to: int = 160) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= to else f"{flat[: to // 2]} … {flat[-to // 2 :]}"
