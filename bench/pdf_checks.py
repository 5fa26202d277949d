"""Single facts about a page that people checked: olmOCR-Bench (Poznanski et al., 2025; rules of its `bench/tests.py`).

A text passes `present` and `absent` by the best partial match with the wanted text, of at least 1 - max_diffs / length
(case matters; `first_n` and `last_n` look at the ends only); `order` when the one occurs somewhere before the other;
`table` when a Markdown table has a cell with the wanted neighbours. Tests of formulas need LaTeX rendered, and are not
judged.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from pdf_tables import markdown_tables
from rapidfuzz import fuzz

JUDGED = ("present", "absent", "order", "table")

Test = Mapping[str, Any]
Grid = dict[tuple[int, int], str]

_EMPHASIS = re.compile(r"(\*\*|__|\*|(?<!\w)_|_(?!\w))")
_BREAK = re.compile(r"<br ?/?>")
_TAG = re.compile(r"</?[bi]>")
_LIKE_ASCII = str.maketrans("‘’‚“”„＿–—‑‒−\u00b5", "'''\"\"\"_-----\u03bc")
_LOOSEST = 0.5
"""The least similarity of two cells, however many differences a test allows."""


def passes(test: Test, text: str) -> bool:
    """Whether a text passes a test of a kind in JUDGED. Raises ValueError for others."""
    match test["type"]:
        case "present":
            return _occurs(test, text)
        case "absent":
            return not _occurs(test, text)
        case "order":
            first, last = normal(text).find(normal(test["before"])), normal(text).rfind(normal(test["after"]))
            return 0 <= first < last
        case "table":
            return any(_stands_in(test, _grid(cells)) for cells in markdown_tables(text))
    raise ValueError(f"tests of type {test['type']} are not judged")


def normal(text: str) -> str:
    """NFC, white space made one, emphasis taken out, quotes and dashes as in ASCII."""
    bare = _EMPHASIS.sub("", _TAG.sub("", _BREAK.sub(" ", text)))
    return unicodedata.normalize("NFC", " ".join(bare.split())).translate(_LIKE_ASCII)


def _occurs(test: Test, text: str) -> bool:
    wanted, there = normal(test["text"]), normal(text)
    first, last = test.get("first_n"), test.get("last_n")
    if first or last:
        there = (there[:first] if first else "") + (there[-last:] if last else "")
    differences = test.get("max_diffs", 0)
    if len(there) < len(wanted) - differences:  # a partial match would look for the text in what is wanted
        return False
    return bool(fuzz.partial_ratio(wanted, there) / 100 >= 1 - differences / len(wanted))


def _grid(cells: list[Any]) -> Grid:
    return {(cell.rows[0], cell.columns[0]): normal(cell.text) for cell in cells}


def _stands_in(test: Test, grid: Grid) -> bool:
    """Whether some cell with the test's content has all the neighbours that the test names."""

    def same(wanted: str, there: str) -> bool:
        least = max(_LOOSEST, 1 - test.get("max_diffs", 0) / len(wanted))
        return bool(fuzz.ratio(wanted, there) / 100 >= least)

    def has(way: str, at: tuple[int, int]) -> bool:
        return any(same(normal(test[way]), grid[other]) for other in _towards(way, at, grid))

    ways = [way for way in ("up", "down", "left", "right", "top_heading", "left_heading") if test.get(way)]
    return any(same(normal(test["cell"]), there) and all(has(way, at) for way in ways) for at, there in grid.items())


def _towards(way: str, at: tuple[int, int], grid: Grid) -> list[tuple[int, int]]:
    """The next cell in a direction, or all of a row or column before it, which may be its headings."""
    row, column = at
    up = [cell for cell in sorted(grid) if cell[1] == column and cell[0] < row]
    down = [cell for cell in sorted(grid) if cell[1] == column and cell[0] > row]
    left = [cell for cell in sorted(grid) if cell[0] == row and cell[1] < column]
    right = [cell for cell in sorted(grid) if cell[0] == row and cell[1] > column]
    next_to = {"up": up[-1:], "down": down[:1], "left": left[-1:], "right": right[:1]}
    return {**next_to, "top_heading": up, "left_heading": left}[way]
