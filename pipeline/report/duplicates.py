"""What a report says of duplicates: how many left at which stage, of which hosts, and the largest clusters with two
members side by side. No markup, no files.

All of it comes from the manifest, and texts in there are strangers': the comparison of two of them takes time and
memory that grow with the product of their lengths, so both are cut first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import nlargest
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt
import regex

from pipeline.report.samples import Reason
from pipeline.report.shape import Cut, Manifest, Row, top
from stages.catalog import STAGES
from stages.stage import Meeting

MAX_CLUSTERS = 20
EXCERPT = 2_000
"""Characters of a text that are compared: at most as many words, and a table of 4 million 16-bit numbers."""
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_WORD = regex.compile(rf"(?:[{_UNSPACED}]\p{{M}}*+|[[\p{{L}}\p{{M}}\p{{N}}_]--[{_UNSPACED}]]++|\S)\s*+|\s++", regex.V1)
"""A word, a character of a script without spaces, or any other character; with the white space behind it."""

Bools = npt.NDArray[np.bool_]
Piece = tuple[bool, str]
"""Some of a text, and whether the other text has it too."""


@dataclass(frozen=True, slots=True)
class Member:
    """A record of a cluster: place, id and URL, and the beginning of its text, cut at every change."""

    who: Row
    pieces: Sequence[Piece] | None


@dataclass(frozen=True, slots=True)
class Cluster:
    size: int
    similarity: float | None
    stayed: Member
    left: Member


@dataclass(frozen=True, slots=True)
class Duplicates:
    """stages: rows with stage, reason, count and how many came (`in`); total: of all counts."""

    stages: Sequence[Row]
    total: int
    domains: Cut[Row]
    clusters: Cut[Cluster]


def duplicates_of(manifest: Manifest) -> Duplicates | None:
    """None where no stage looked for duplicates."""
    clusters, domains = (manifest.get(name, ()) for name in ("clusters", "duplicates"))
    coming = {row["stage"]: row["in"] for row in manifest["funnel"]}
    reasons = set(duplicate_reasons(manifest))
    stages = [
        {**drop, "in": coming.get(drop["stage"], 0)}
        for drop in manifest["drops"]
        if (drop["stage"], drop["reason"]) in reasons
    ]
    if not any((reasons, clusters, domains)):
        return None
    largest = nlargest(MAX_CLUSTERS, clusters, key=lambda cluster: cluster["size"])
    return Duplicates(
        stages,
        sum(row["count"] for row in stages),
        top(domains, "duplicates"),
        Cut([_cluster(each) for each in largest], len(clusters) - len(largest)),
    )


def duplicate_reasons(manifest: Manifest) -> list[Reason]:
    """The stages of the recipe whose records meet, each with the reasons that make a record a duplicate."""
    kinds = dict.fromkeys(stage["kind"] for stage in manifest["recipe"]["stages"])
    return [(kind, reason) for kind in kinds if _is_meeting(kind) for reason in STAGES[kind].reasons]


def _is_meeting(kind: str) -> bool:
    return kind in STAGES and issubclass(STAGES[kind], Meeting)


def _cluster(cluster: Mapping[str, Any]) -> Cluster:
    kept, other = cluster["kept"], cluster["other"]
    pieces: Sequence[Sequence[Piece] | None] = (None, None)
    if kept["text"] and other["text"]:
        pieces = compared(kept["text"], other["text"])
    else:
        pieces = [[(True, each["text"][:EXCERPT])] if each["text"] else None for each in (kept, other)]
    return Cluster(cluster["size"], cluster["similarity"], Member(kept, pieces[0]), Member(other, pieces[1]))


def compared(one: str, other: str) -> tuple[list[Piece], list[Piece]]:
    """Two texts, each in pieces that both have in the same order and pieces that only it has; white space counts for
    nothing. Of each the first EXCERPT characters.
    """
    words = [_WORD.findall(text[:EXCERPT].strip()) for text in (one, other)]
    numbers: dict[str, int] = {}
    codes = [np.array([numbers.setdefault(word.strip(), len(numbers)) for word in some], np.int32) for some in words]
    first, second = (_pieces(some, shared) for some, shared in zip(words, in_common(*codes)))
    return first, second


def _pieces(words: Iterable[str], shared: Bools) -> list[Piece]:
    runs = groupby(zip(shared.tolist(), words), key=lambda pair: pair[0])
    return [(is_shared, "".join(word for _, word in run)) for is_shared, run in runs]


def in_common(one: npt.NDArray[np.int32], other: npt.NDArray[np.int32]) -> tuple[Bools, Bools]:
    """Which items of each sequence belong to a longest common subsequence (Wagner and Fischer, 1974), the last one of
    several. Always n * m steps: difflib needs a minute for 2,000 words of two kinds.
    """
    n, m = len(one), len(other)
    lengths = np.zeros((n + 1, m + 1), np.uint16)  # of what the first i and the first j items have in common
    for i in range(n):
        longer = np.where(other == one[i], lengths[i, :-1] + 1, lengths[i, 1:])
        lengths[i + 1, 1:] = np.maximum.accumulate(longer)
    shared = np.zeros(n, bool), np.zeros(m, bool)
    i, j = n, m
    while i and j:
        if one[i - 1] == other[j - 1]:
            i, j = i - 1, j - 1
            shared[0][i] = shared[1][j] = True
        elif lengths[i - 1, j] >= lengths[i, j - 1]:
            i -= 1
        else:
            j -= 1
    return shared
