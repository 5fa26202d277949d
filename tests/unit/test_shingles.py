"""Words and shingles against Python's own `re` and sets, and against the pairs that the corpus counted."""

from __future__ import annotations

import gzip
import json
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from text_cases import STRINGS, texts_of

from stages.dedup.shingles import jaccard, shingle_sets, shingles, word_table
from stages.filter.c4 import C4Quality
from stages.text.characters import MARK, UNSPACED, character_table
from stages.text.marks import word_hash

NGRAM = 5
MASK = 2**64 - 1


CJK = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]")
"""What the corpus's truth counts as words one by one, where no other word character stands before."""


def marked(flag: np.uint32) -> str:
    """The characters with a flag, as inside a class of `re`."""
    return "".join(map(chr, np.flatnonzero(character_table() & flag)))


WORD = re.compile(f"[{marked(UNSPACED)}][{marked(MARK)}]*|[^\\W{marked(UNSPACED)}]+")


def words(text: str) -> list[str]:
    return ["".join(char.lower()[0] for char in word) for word in WORD.findall(text)]


def mix(state: int) -> int:
    state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & MASK
    state = (state ^ state >> 27) * 0x94D049BB133111EB & MASK
    return state ^ state >> 31


def sequence_hash(values: list[int]) -> int:
    state = len(values)
    for value in values:
        state = (state ^ value) * 0x9E3779B97F4A7C15 & MASK
        state ^= state >> 32
    return mix(state)


def grams(sequence: list[str], ngram: int) -> list[tuple[str, ...]]:
    if not sequence:
        return []
    size = min(ngram, len(sequence))
    return [tuple(sequence[at : at + size]) for at in range(len(sequence) - size + 1)]


@settings(deadline=None)
@given(st.lists(STRINGS, max_size=4), st.integers(1, 7))
def test_shingles_are_those_of_the_definition(strings: list[str], ngram: int) -> None:
    found = shingles(texts_of(strings), ngram)
    for at, string in enumerate(strings):
        sequence = words(string)
        hashes = [sequence_hash([word_hash(word) for word in gram]) for gram in grams(sequence, ngram)]
        assert found.hashes[found.offsets[at] : found.offsets[at + 1]].tolist() == hashes
        assert found.digests[at] == sequence_hash([word_hash(word) for word in sequence])


@settings(deadline=None)
@given(st.lists(STRINGS, max_size=4), st.integers(1, 3))
def test_sets_are_the_different_shingles(strings: list[str], ngram: int) -> None:
    texts = texts_of(strings)
    found, (offsets, values) = shingles(texts, ngram), shingle_sets(texts, ngram)
    for at in range(len(strings)):
        every = found.hashes[found.offsets[at] : found.offsets[at + 1]]
        assert values[offsets[at] : offsets[at + 1]].tolist() == sorted(set(every.tolist()))


def test_a_word_character_is_what_python_says() -> None:
    table, flags = word_table(), character_table()
    everything = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    wordlike = {code for code in everything if re.match(r"\w", chr(code))}
    assert {code for code in everything if table[code] & (1 << 21)} == wordlike
    assert set(np.flatnonzero(flags & UNSPACED).tolist()) <= wordlike
    assert not wordlike & set(np.flatnonzero(flags & MARK).tolist())


@pytest.mark.parametrize(
    "one, other, equal",
    [
        ("The CAFÉ, of_course!", "the café\nof_course", True),
        ("ΣΟΦΟΣ İstanbul", "σοφοσ istanbul", True),
        ("don't", "don t", True),
        ("ab c", "a bc", False),
        ("a b", "b a", False),
        ("e\u0301a", "e a", True),  # a mark on a letter of a script with spaces parts words, as in `re`
        ("我们A4纸", "我 们 a4 纸", True),
        ("กิน", "กน", False),  # Thai vowels stand on consonants as marks
        ("กิน", "กิ น", True),
        ("one two three", "one two three three", False),
        ("x", "x x", False),
        ("", "—!\n", True),
    ],
)
def test_same_words(one: str, other: str, equal: bool) -> None:
    texts = texts_of([one, other])
    found, (offsets, values) = shingles(texts, NGRAM), shingle_sets(texts, NGRAM)
    assert (found.digests[0] == found.digests[1]) == equal
    assert np.array_equal(values[: offsets[1]], values[offsets[1] :]) == equal


def test_short_texts_never_collapse_into_one_another_or_into_long_ones() -> None:
    strings = [" ".join("abcdefgh"[:size]) for size in range(9)]
    offsets, values = shingle_sets(texts_of(strings), NGRAM)
    assert np.diff(offsets).tolist() == [0, 1, 1, 1, 1, 1, 2, 3, 4]
    assert len(set(values[: offsets[6]].tolist())) == 5


def test_lines_that_a_rule_removed_or_changed_count_as_if_they_had_never_been() -> None:
    kept = "This is a line of text that is long enough, and it ends as it should."
    text = "\n".join(["Menu", kept, f"{kept} [1] [edit]", "Please turn Javascript on in it.", kept.upper(), ""] * 3)
    edited = C4Quality(no_terminal_punct=False).edit(texts_of([text, kept, ""]))
    anew = texts_of(edited.strings)
    assert edited.strings[0] != text
    for one, other in zip(vars(shingles(edited, NGRAM)).values(), vars(shingles(anew, NGRAM)).values()):
        assert one.tolist() == other.tolist()


SETS = st.sets(st.integers(0, 30)).map(lambda values: np.array(sorted(values), np.uint64))


@settings(deadline=None)
@given(SETS, SETS)
def test_jaccard(one: np.ndarray, other: np.ndarray) -> None:
    shared, union = set(one.tolist()) & set(other.tolist()), set(one.tolist()) | set(other.tolist())
    assert jaccard(one, other) == (len(shared) / len(union) if union else 0.0)


@pytest.mark.corpus
def test_jaccard_is_the_one_that_was_counted_by_brute_force(corpora: Path) -> None:
    with gzip.open(corpora / "dedup" / "docs.jsonl.gz", "rt", encoding="utf-8") as lines:
        docs = {row["id"]: row["text"] for row in map(json.loads, lines)}
    rows = {name: at for at, name in enumerate(docs)}
    offsets, values = shingle_sets(texts_of(list(docs.values())), NGRAM)
    of = [values[a:b] for a, b in pairwise(offsets)]
    with gzip.open(corpora / "dedup" / "pairs.jsonl.gz", "rt", encoding="utf-8") as lines:
        pairs = [json.loads(line) for line in lines]
    same_words = [p for p in pairs if not CJK.search(docs[p["a"]]) and not CJK.search(docs[p["b"]])]
    unlike = [p for p in same_words if abs(jaccard(of[rows[p["a"]]], of[rows[p["b"]]]) - p["jaccard_w5"]) > 0.00006]
    assert len(same_words) > 0.9 * len(pairs)
    assert unlike == []
