"""Where the pages of a PDF's text end, in characters, kept true while editors change the text."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

Piece = tuple[int, int, int]
"""Start and end of a piece of the old text, and the characters that stand for it in the new one."""


def ends_after_replacing(ends: Sequence[int], pieces: Sequence[Piece]) -> list[int]:
    """Page ends in the new text, of which `pieces`, in order and apart from one another, were replaced.

    A page that ends within a piece ends behind what replaced it.
    """
    starts = [start for start, _, _ in pieces]
    grown = [0]
    for start, end, length in pieces:
        grown.append(grown[-1] + length - (end - start))
    moved = []
    for page_end in ends:
        before = bisect_left(starts, page_end)
        inside = before and pieces[before - 1][1] > page_end
        moved.append((pieces[before - 1][1] if inside else page_end) + grown[before])
    return moved


def ends_after_keeping(ends: Sequence[int], kept: Sequence[tuple[int, int]], lengths: Sequence[int]) -> list[int]:
    """Page ends in a text made of some lines of the old one, joined by a line feed each.

    kept: start and end of each line that stays, in the old text; lengths: its characters in the new one.
    """
    starts = [start for start, _ in kept]
    new_starts = [0]
    for length in lengths:
        new_starts.append(new_starts[-1] + length + 1)
    moved = []
    for page_end in ends:
        line = bisect_right(starts, page_end - 1) - 1
        if line < 0:
            moved.append(0)
        else:
            whole = page_end >= kept[line][1]
            moved.append(new_starts[line] + (lengths[line] if whole else min(page_end - starts[line], lengths[line])))
    return moved
