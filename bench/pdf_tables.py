"""How much of a document's tables a text has: their cells, and which cells are neighbours.

The truth is the cells of every table of the document; neighbours are those of the ICDAR 2013 competition (Göbel et al.,
2013): of each cell that is not blank, the next one that is not blank to the right and below, in every row and column
that it spans. Cells are compared as sequences of words, numbers and other characters, NFKC, without case, dashes all
alike and Markdown's marks taken out; each as often as it occurs.

- cells: share of the cells whose content stands somewhere in the text.
- follows: share of horizontal neighbours that follow one another in the text, line breaks or not: the order is right.
- row: the same within one line of the text, which is what makes it a row for a reader.
- grid: F1 of neighbours, horizontal and vertical, of the truth and of the Markdown tables in the text, as the
  competition measures it. A text without Markdown tables has 0, whatever its rows are like.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby, pairwise

from pdf_prose import plain
from pdf_truth import Cell, Table

_TOKEN = re.compile(r"\w+|[^\w\s]")
_MARKUP = re.compile(r"^[ |:-]*---[ |:-]*$|[|*]|\\(?=[^\w\s])|(?<!\w)_+|_+(?!\w)", re.MULTILINE)
_BORDER = re.compile(r"(?<!\\)\|")
_RULE = re.compile(r":?-+:?")

Neighbours = Counter[tuple[str, str, str]]
"""(content, content, "right" or "below")."""


@dataclass(frozen=True)
class Tables:
    """Measures of the tables of one document."""

    cells: float
    follows: float
    row: float
    grid: float


def measure(tables: Sequence[Table], text: str) -> Tables:
    """All measures. tables: the truth's; there must be one with two cells side by side at least."""
    lines = list(map(content, text.splitlines()))
    everything = content(text)
    truth = sum(map(neighbours, tables), Neighbours())
    side_by_side = [(f"{a} {b}", times) for (a, b, way), times in truth.items() if way == "right"]
    cells = Counter(content(cell.text) for cell in chain.from_iterable(tables))
    return Tables(
        _share(cells.items(), [everything]),
        _share(side_by_side, [everything]),
        _share(side_by_side, lines),
        _f1(sum(map(neighbours, markdown_tables(text)), Neighbours()), truth),
    )


def losses(tables: Sequence[Table], text: str) -> tuple[list[str], list[str]]:
    """Cells that are nowhere in the text, and horizontal neighbours that are not in a row."""
    lines = [f" {content(line)} " for line in text.splitlines()]
    everything = f" {content(text)} "
    cells = [cell.text for cell in chain.from_iterable(tables) if f" {content(cell.text)} " not in everything]
    pairs = (f"{a} {b}" for a, b, way in sum(map(neighbours, tables), Neighbours()) if way == "right")
    return cells, [pair for pair in pairs if not any(f" {pair} " in line for line in lines)]


def content(text: str) -> str:
    """What is compared: tokens with a space between each."""
    tokens = _TOKEN.findall(_MARKUP.sub(" ", plain(text).lower()))
    return " ".join("-" if unicodedata.category(token[0]) == "Pd" or token == "−" else token for token in tokens)


def neighbours(table: Table) -> Neighbours:
    """The pairs of neighbours in one table, each pair of cells once however many rows they share."""
    by_row: defaultdict[int, dict[int, int]] = defaultdict(dict)
    by_column: defaultdict[int, dict[int, int]] = defaultdict(dict)
    for at, cell in enumerate(table):
        for row in range(cell.rows[0], cell.rows[1] + 1):
            for column in range(cell.columns[0], cell.columns[1] + 1):
                by_row[row][column] = by_column[column][row] = at
    right, below = set(_next(by_row.values())), set(_next(by_column.values()))
    texts = [content(cell.text) for cell in table]
    return Counter((texts[a], texts[b], way) for way, pairs in (("right", right), ("below", below)) for a, b in pairs)


def markdown_tables(text: str) -> list[Table]:
    """The tables of a text in Markdown: runs of lines that begin with `|`, blank cells and the rule left out."""
    tables = []
    for is_table, lines in groupby(text.splitlines(), lambda line: line.lstrip().startswith("|")):
        if is_table:
            rows = ([each.strip() for each in _BORDER.split(line.strip())[1:-1]] for line in lines)
            kept = [row for row in rows if not all(map(_RULE.fullmatch, row))]
            tables.append(
                [
                    Cell(text, (at, at), (column, column))
                    for at, row in enumerate(kept)
                    for column, text in enumerate(row)
                    if content(text)
                ]
            )
    return tables


def _next(lines: Iterable[dict[int, int]]) -> Iterator[tuple[int, int]]:
    """Cells that stand next to each other along lines of position -> cell."""
    for line in lines:
        order = [line[position] for position in sorted(line)]
        yield from ((a, b) for a, b in pairwise(order) if a != b)


def _share(wanted: Iterable[tuple[str, int]], lines: Sequence[str]) -> float:
    """Share of the wanted pieces that occur in the lines, each counted as often as it is wanted at most."""
    padded = [f" {line} " for line in lines]
    total = found = 0
    for piece, times in wanted:
        total += times
        found += min(times, sum(_occurrences(f" {piece} ", line) for line in padded))
    return found / total


def _occurrences(piece: str, line: str) -> int:
    """How often a piece occurs; occurrences may overlap, as in `0 0 0` with its two pairs."""
    count, at = 0, line.find(piece)
    while at >= 0:
        count, at = count + 1, line.find(piece, at + 1)
    return count


def _f1(found: Neighbours, truth: Neighbours) -> float:
    return 2 * (found & truth).total() / (found.total() + truth.total())
