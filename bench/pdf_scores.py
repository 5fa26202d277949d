"""Lets contestants take documents, and scores each text by every measure that the document's truth allows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean
from typing import TypeVar

import pdf_checks
import pdf_contestants
import pdf_furniture
import pdf_prose
import pdf_tables
from pdf_across import across
from pdf_checks import JUDGED
from pdf_furniture import Plain, Removal
from pdf_prose import Prose
from pdf_tables import Tables
from pdf_truth import ACROSS, KINDS, PROSE, Document, read_documents

LONG_KIND = "same-source"
"""What slow contestants leave out: ten manuals of 1,256 pages."""
REMOVAL = ("jats", LONG_KIND)
"""Kinds whose truth is the whole body, so that what it does not have may go."""

T = TypeVar("T")


def documents_of(folder: Path, kinds: Collection[str] = KINDS, only: Collection[str] = ()) -> Iterator[Document]:
    """The documents of some kinds, those that are drawn again included. folder: corpora/pdf; only: ids."""
    yield from read_documents(folder, kinds, only)
    if ACROSS in kinds:
        yield from (across(document) for document in read_documents(folder, ["jats"], only) if document.multi_column)


@dataclass(frozen=True)
class Check:
    """A test of olmOCR-Bench and whether the text passes it."""

    id: str
    type: str
    passed: bool


@dataclass(frozen=True)
class Score:
    """What one contestant's text of one file is worth; measures that the file's truth does not allow are None."""

    id: str
    kind: str
    multi_column: bool
    contestant: str
    pages: int
    cpu_seconds: float
    refusal: str | None
    text: str
    prose: Prose | None
    removal: Removal | None
    tables: Tables | None
    checks: list[Check]


def run(
    documents: Iterable[Document], contestants: Sequence[str], jobs: int = 1, slow_too: bool = False
) -> Iterator[Score]:
    """Let the contestants take all documents, `jobs` documents at a time, in processes of their own."""

    def takers(document: Document) -> list[str]:
        too_long = document.kind == LONG_KIND and not slow_too
        return [name for name in contestants if not (too_long and name in pdf_contestants.SLOW)]

    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        asked = [pool.submit(score, document, takers(document)) for document in documents]
        for each in asked:
            yield from each.result()


_contestant = cache(pdf_contestants.make)
"""One of each in a process."""


def score(document: Document, contestants: Iterable[str]) -> list[Score]:
    """Score the texts that some contestants make of a document."""
    plain = pdf_furniture.read_plain(document.payload) if document.kind in REMOVAL else None
    return [_score(document, plain, name) for name in contestants]


def _score(document: Document, plain: Plain | None, name: str) -> Score:
    made = pdf_contestants.run(_contestant(name), document.payload, document.record)
    return Score(
        document.id,
        document.kind,
        document.multi_column,
        name,
        document.pages,
        made.cpu_seconds,
        made.refusal,
        made.text,
        pdf_prose.measure(document.paragraphs, made.text) if document.kind in PROSE else None,
        pdf_furniture.measure(document.paragraphs, plain, made.pages) if plain else None,
        pdf_tables.measure(document.tables, made.text) if document.tables else None,
        [
            Check(test["id"], test["type"], pdf_checks.passes(test, made.text))
            for test in document.tests
            if test["type"] in JUDGED
        ],
    )


def mean(scores: Iterable[Score], figure: Callable[[Score], float | None]) -> float | None:
    """Mean of a figure over the files that have it."""
    values = [value for each in scores if (value := figure(each)) is not None]
    return fmean(values) if values else None


def figures(measure: Callable[[Score], T | None], names: Iterable[str]) -> dict[str, Callable[[Score], float | None]]:
    """Fields of one of the measures, by name, each None where the measure is."""

    def field(name: str) -> Callable[[Score], float | None]:
        return lambda each: getattr(measure(each), name, None)

    return {name: field(name) for name in names}


def speed(scores: Sequence[Score]) -> float:
    """Pages per CPU second."""
    return sum(each.pages for each in scores) / sum(each.cpu_seconds for each in scores)


def total(scores: Iterable[Score]) -> Removal:
    """What was removed from all files together."""
    of = [each.removal for each in scores if each.removal]
    return Removal(
        sum(each.words for each in of),
        sum(each.removed for each in of),
        sum(each.wrongly_removed for each in of),
        sum(each.unexplained for each in of),
        sum(each.heads for each in of),
        sum(each.heads_left for each in of),
    )
