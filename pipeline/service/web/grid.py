"""The shards of a job as a picture: one small mark a shard, or a mark for several where there are too many to see.

Each state has a shape of its own, so that nobody needs to tell colours apart, and is one SVG path, so that a hundred
thousand shards cost a page no more than five elements. No markup here, and no colours.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MAX_MARKS = 2_000
"""More are neither seen nor quickly drawn."""
MAX_COLUMNS = 70
PITCH = 10
"""Units of the picture from one mark to the next."""

NAMES = {"d": "done", "r": "running", "w": "waiting", "f": "unreadable"}
"""States by their letter in a progress snapshot, in the order of the legend."""
_SHAPES = {
    "d": "h8v8h-8z",
    "r": "h8v8h-8zm2 2v4h4v-4z",  # a hollow square
    "w": "m2.5 2.5h3v3h-3z",  # a dot
    "f": "l1.5 0 2.5 2.5 2.5-2.5 1.5 0 0 1.5-2.5 2.5 2.5 2.5 0 1.5-1.5 0-2.5-2.5-2.5 2.5-1.5 0 0-1.5 2.5-2.5-2.5-2.5z",
}
"""Each drawn from the upper left of a field of 8 × 8 units."""


@dataclass(frozen=True)
class Grid:
    """A picture of `width` × `height` units. paths: by the name of the state; each: shards in one mark."""

    width: int
    height: int
    paths: Mapping[str, str]
    counts: Mapping[str, int]
    each: int


def draw(states: str) -> Grid | None:
    """The grid of shards given by one letter each; None where there are none. Unknown letters count as waiting."""
    if not states:
        return None
    letters = "".join(letter if letter in NAMES else "w" for letter in states)
    each = math.ceil(len(letters) / MAX_MARKS)
    marks = [_loudest(letters[at : at + each]) for at in range(0, len(letters), each)]
    columns = min(MAX_COLUMNS, max(8, math.ceil(math.sqrt(4 * len(marks)))), len(marks))
    counted = Counter(letters)
    return Grid(
        width=columns * PITCH,
        height=math.ceil(len(marks) / columns) * PITCH,
        paths={name: path for letter, name in NAMES.items() if (path := _path(marks, letter, columns))},
        counts={name: counted[letter] for letter, name in NAMES.items()},
        each=each,
    )


def _loudest(letters: str) -> str:
    """What a mark for these shards shows: done only where all are, waiting only where none was begun."""
    if "f" in letters:
        return "f"
    if "r" in letters or ("w" in letters and "d" in letters):
        return "r"
    return letters[0]


def _path(marks: Sequence[str], letter: str, columns: int) -> str:
    return "".join(
        f"M{at % columns * PITCH + 1} {at // columns * PITCH + 1}{_SHAPES[letter]}"
        for at, mark in enumerate(marks)
        if mark == letter
    )


def signs() -> Mapping[str, str]:
    """The mark of each state by its name, for a legend."""
    return {name: f"M1 1{_SHAPES[letter]}" for letter, name in NAMES.items()}
