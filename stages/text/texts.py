"""The texts of a batch, split into lines and words once; every rule reads the same arrays.

An editor that removes or changes lines makes a new `Texts` from the arrays that are there: only changed lines are split
again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stages.decision import Bools, Ints
from stages.stage import with_column
from stages.text.affixes import unit_codes
from stages.text.characters import character_table
from stages.text.english import special_table
from stages.text.marks import mark_lines, mark_words
from stages.text.pages import ends_after_keeping
from stages.text.split import split_lines, split_words

ENGLISH = "eng_Latn"
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Lines:
    """Lines of all texts in order. Text i has lines offsets[i]:offsets[i + 1]; offsets [n + 1], the rest [m]."""

    offsets: Ints
    starts: Ints  # into `Texts.codes`, line break left out
    ends: Ints

    @cached_property
    def text_of(self) -> Ints:
        """The text that each line belongs to, [m]."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))


@dataclass(frozen=True)
class Words:
    """Words of all lines in order. Line j has words offsets[j]:offsets[j + 1]; offsets [m + 1], the rest [w]."""

    offsets: Ints
    starts: Ints  # into `Texts.codes`
    ends: Ints
    hashes: npt.NDArray[np.uint64]
    marks: npt.NDArray[np.uint8]  # bits of stages.text.marks

    def of_texts(self, lines: Lines) -> Ints:
        """Word offsets by text, [n + 1]."""
        return self.offsets[lines.offsets]


class Texts:
    """n texts and their records. `batch` is a RECORD batch with non-null `text`; lines and words are found when first
    asked for.
    """

    def __init__(
        self,
        batch: pa.RecordBatch,
        codes: npt.NDArray[np.uint32] | None = None,
        lines: Lines | None = None,
        words: Words | None = None,
        lines_removed: Ints | None = None,
    ) -> None:
        self.batch = batch
        self._codes, self._lines, self._words = codes, lines, words
        self.lines_removed = np.zeros(len(self), np.int64) if lines_removed is None else lines_removed

    @classmethod
    def of(cls, batch: pa.RecordBatch) -> Texts:
        return cls(batch)

    def __len__(self) -> int:
        return int(self.batch.num_rows)

    @property
    def text(self) -> pa.LargeStringArray:
        return self.batch.column("text")

    @cached_property
    def strings(self) -> list[str]:
        strings: list[str] = self.text.to_pylist()
        return strings

    @cached_property
    def lengths(self) -> Ints:
        """Characters of each text, [n]."""
        return np.array([len(string) for string in self.strings], np.int64)

    @cached_property
    def line_breaks(self) -> Ints:
        """Line feeds in each text, [n]."""
        return np.array([string.count("\n") for string in self.strings], np.int64)

    @cached_property
    def languages(self) -> npt.NDArray[np.object_]:
        """Language of each text, ENGLISH where none was measured."""
        return np.array(self.batch.column("language").fill_null(ENGLISH).to_pylist(), object)

    def with_column(self, name: str, values: Any) -> Texts:
        """The same texts with another record column; `text` and `language` reset lines and words."""
        batch = with_column(self.batch, name, values)
        if name in ("text", "language"):
            return Texts(batch)
        return Texts(batch, self._codes, self._lines, self._words, self.lines_removed)

    def filter(self, keep: Bools) -> Texts:
        """Some of the texts, [n] of them, with the lines and words that were found already."""
        lines, words = self._lines, self._words
        some = keep[self.lines.text_of]
        if words is not None:
            words = _take(words, np.flatnonzero(some))
        if lines is not None:
            counts = np.diff(lines.offsets)[keep]
            lines = Lines(np.concatenate([[0], np.cumsum(counts)]), lines.starts[some], lines.ends[some])
        batch = self.batch.filter(pa.array(keep))
        return Texts(batch, self._codes, lines, words, self.lines_removed[keep])

    @property
    def codes(self) -> npt.NDArray[np.uint32]:
        """Code points of all texts, one after the other."""
        if self._codes is None:
            self._codes = _code_points("".join(self.strings))
        return self._codes

    @property
    def lines(self) -> Lines:
        if self._lines is None:
            offsets = np.zeros(len(self) + 1, np.int64)
            np.cumsum(self.lengths, out=offsets[1:])
            self._lines = Lines(*split_lines(self.codes, offsets, character_table()))
        return self._lines

    @property
    def words(self) -> Words:
        if self._words is None:
            english = (self.languages == ENGLISH)[self.lines.text_of]
            self._words = _words(self.codes, self.lines.starts, self.lines.ends, english)
        return self._words

    @cached_property
    def line_marks(self) -> npt.NDArray[np.int64]:
        """Measures of each line, [m, len(stages.text.marks.LINE_MARKS)]."""
        words = self.words
        return mark_lines(
            self.codes,
            character_table(),
            self.lines.starts,
            self.lines.ends,
            words.offsets,
            words.starts,
            words.ends,
            words.marks,
        )

    def keep_lines(self, keep: Bools, edits: Mapping[int, str], strings: Sequence[str]) -> Texts:
        """The texts without some lines.

        keep: [m], which lines stay, shorn of white space at both ends; edits: what some of them became; strings: the n
        texts that result.
        """
        codes, lines, words = self.codes, self.lines, self.words
        changed = np.array(sorted(line for line in edits if keep[line]), np.int64)
        starts, ends = self.line_marks[:, 0].copy(), self.line_marks[:, 1].copy()
        source = np.arange(len(keep))
        if len(changed):
            new = [edits[int(line)] for line in changed]
            bounds = np.cumsum([0, *map(len, new)]) + len(codes)
            codes = np.concatenate([codes, _code_points("".join(new))])
            starts[changed], ends[changed] = bounds[:-1], bounds[1:]
            english = (self.languages == ENGLISH)[lines.text_of[changed]]
            words = _append(words, _words(codes, bounds[:-1], bounds[1:], english))
            source[changed] = len(keep) + np.arange(len(changed))
        kept = np.flatnonzero(keep)
        offsets = np.concatenate([[0], np.cumsum(keep)])[lines.offsets]
        batch = with_column(self.batch, "text", list(strings))
        if batch.column("page_ends").null_count < len(self):
            lengths = (ends - starts)[kept]
            was = self.line_marks[kept, 0:2] - np.repeat(np.cumsum([0, *self.lengths])[:-1], np.diff(offsets))[:, None]
            moved = [
                page_ends and ends_after_keeping(page_ends, was[a:b].tolist(), lengths[a:b].tolist())
                for page_ends, a, b in zip(batch.column("page_ends").to_pylist(), offsets, offsets[1:])
            ]
            batch = with_column(batch, "page_ends", moved)
        removed = self.lines_removed + np.diff(lines.offsets) - np.diff(offsets)
        return Texts(batch, codes, Lines(offsets, starts[kept], ends[kept]), _take(words, source[kept]), removed)


def _code_points(text: str) -> npt.NDArray[np.uint32]:
    """A copy, since numba compiles anew for arrays that cannot be written to."""
    return np.frombuffer(text.encode("utf-32-le"), np.uint32).copy()


def _words(codes: npt.NDArray[np.uint32], starts: Ints, ends: Ints, english: Bools) -> Words:
    flags = character_table()
    slots, special_codes = special_table()
    offsets, word_starts, word_ends = split_words(
        codes, flags, starts, ends, english, slots, special_codes, unit_codes()
    )
    return Words(offsets, word_starts, word_ends, *mark_words(codes, flags, word_starts, word_ends))


def _append(words: Words, more: Words) -> Words:
    """The lines of `words`, then those of `more`."""
    return Words(
        np.concatenate([words.offsets, more.offsets[1:] + words.offsets[-1]]),
        *(np.concatenate([getattr(words, f), getattr(more, f)]) for f in ("starts", "ends", "hashes", "marks")),
    )


def _take(words: Words, lines: Indices) -> Words:
    """The words of some lines, in the order given."""
    counts = np.diff(words.offsets)[lines]
    offsets = np.concatenate([[0], np.cumsum(counts)])
    rows = np.arange(offsets[-1]) + np.repeat(words.offsets[lines] - offsets[:-1], counts)
    return Words(offsets, words.starts[rows], words.ends[rows], words.hashes[rows], words.marks[rows])
