"""How much of the truth's prose a text has, and whether it has it in the right order.

Words. NFKC, lower case, tags such as `<br>` and `<sup>` taken out; then runs of word characters (regex's `\\w` without
the underscore, which Markdown uses for emphasis). A character of a script written without spaces is a word of its own,
so that line breaks do not matter there. Hyphens are left as they are on both sides: what breaks at the end of a line
and is not joined is two words, and missed.

Found is the share of the truth's word 3-grams, each as often as it occurs within paragraphs (a multiset), that the text
has anywhere.

Order. Anchors are 3-grams that occur once in the truth and once in the text. A paragraph of at least 8 words is located
where three of ten of its 3-grams that occur once in the truth are anchors; its place is the median of theirs. Order is
the share of all pairs of located paragraphs that stand in the truth's order; next is that of neighbours, which feels
single paragraphs more. A located paragraph is whole when, of all anchors in the text
between the first and last tenth of its own, at most one in twenty belongs to another paragraph: text read across
columns is not, and a figure or foot of a page in between, which the truth does not have, does no harm.

Similarity is 1 - the indel distance of the two sequences of words over the sum of their lengths, of the first 50,000
of each. What the truth does not have counts against it here, references and tables in the first place, so it is of use
side by side only.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_left, insort
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, islice, pairwise
from statistics import median

import regex
from rapidfuzz.distance import Indel

LEAST_WORDS = 8
"""Of a paragraph that is looked for; shorter ones (headings) repeat, or have too few anchors."""
LOCATED = 0.3
"""Share of a paragraph's 3-grams that occur once in the truth. Two columns read across still leave about half."""
FOREIGN = 0.05
LONGEST = 50_000
"""Words that are compared for similarity, which takes time by the square of it: half a second."""

Gram = tuple[str, str, str]

_WORD = regex.compile(
    r"(?V1)[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Myanmar}\p{Khmer}]"
    r"|[\w--[_\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Myanmar}\p{Khmer}]]+"
)
_TAG = regex.compile(r"</?(?:sup|sub|b|i|u|em|strong|mark)>")
_BREAK = regex.compile(r"<br ?/?>")


@dataclass(frozen=True)
class Prose:
    """The measures of one text. Where the truth has nothing to measure by, the figure is None."""

    found: float | None
    order: float | None
    next: float | None
    located: float | None
    whole: float | None
    similarity: float | None


@dataclass(frozen=True)
class Losses:
    """What a text does badly, as pieces of the truth for people to read."""

    missing: list[str]
    """The longest runs of words none of whose 3-grams are in the text, longest first."""
    lost: list[str]
    """Paragraphs that were not located."""
    moved: list[str]
    """The fewest paragraphs to take away for the rest to be in order."""
    mixed: list[str]
    """Paragraphs with words of others between theirs."""


@dataclass(frozen=True)
class _Place:
    paragraph: int
    median: float
    whole: bool


def plain(text: str) -> str:
    """The text without tags, NFKC."""
    return unicodedata.normalize("NFKC", _TAG.sub("", _BREAK.sub(" ", text)))


def words(text: str) -> list[str]:
    """Words as this module's docstring has them."""
    found: list[str] = _WORD.findall(plain(text).lower())
    return found


def measure(paragraphs: Sequence[str], text: str) -> Prose:
    """All measures. paragraphs: the truth's, in reading order."""
    truth, found = [words(paragraph) for paragraph in paragraphs], words(text)
    grams = Counter(chain.from_iterable(map(trigrams, truth)))
    places = _places(truth, found)
    candidates = sum(len(paragraph) >= LEAST_WORDS for paragraph in truth)
    medians = [place.median for place in places]
    return Prose(
        _ratio((grams & Counter(trigrams(found))).total(), grams.total()),
        _ratio(_pairs_in_order(medians), len(medians) * (len(medians) - 1) // 2),
        _ratio(sum(a < b for a, b in pairwise(medians)), len(medians) - 1),
        _ratio(len(places), candidates),
        _ratio(sum(place.whole for place in places), len(places)),
        Indel.normalized_similarity([*islice(chain.from_iterable(truth), LONGEST)], found[:LONGEST]) if grams else None,
    )


def losses(paragraphs: Sequence[str], text: str) -> Losses:
    """What to look at when `measure` gives little."""
    truth, found = [words(paragraph) for paragraph in paragraphs], words(text)
    places = _places(truth, found)
    rising = _longest_rising([place.median for place in places])
    located = {place.paragraph for place in places}
    return Losses(
        _missing(truth, set(trigrams(found))),
        [paragraphs[at] for at, each in enumerate(truth) if len(each) >= LEAST_WORDS and at not in located],
        [paragraphs[place.paragraph] for at, place in enumerate(places) if at not in rising],
        [paragraphs[place.paragraph] for place in places if not place.whole],
    )


def trigrams(of: Sequence[str]) -> Iterable[Gram]:
    """All runs of three words."""
    return zip(of, of[1:], of[2:])


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None


def _places(truth: Sequence[Sequence[str]], found: Sequence[str]) -> list[_Place]:
    """Where the located paragraphs are, in the truth's order."""
    in_truth = Counter(chain.from_iterable(map(trigrams, truth)))
    in_text: defaultdict[Gram, list[int]] = defaultdict(list)
    for at, gram in enumerate(trigrams(found)):
        if gram in in_truth:
            in_text[gram].append(at)
    once = [[gram for gram in trigrams(paragraph) if in_truth[gram] == 1] for paragraph in truth]
    anchors = [sorted(in_text[gram][0] for gram in grams if len(in_text[gram]) == 1) for grams in once]
    everywhere = sorted(chain.from_iterable(anchors))
    return [
        _Place(at, median(own), _is_whole(own, everywhere))
        for at, (paragraph, grams, own) in enumerate(zip(truth, once, anchors))
        if len(paragraph) >= LEAST_WORDS and len(own) >= max(1, LOCATED * len(grams))
    ]


def _is_whole(own: Sequence[int], everywhere: Sequence[int]) -> bool:
    """Whether hardly any other paragraph's anchors are among one's own; both are sorted."""
    tenth = len(own) // 10
    first, last = own[tenth], own[-1 - tenth]
    between = bisect_left(everywhere, last + 1) - bisect_left(everywhere, first)
    return between - (len(own) - 2 * tenth) <= FOREIGN * between


def _pairs_in_order(values: Sequence[float]) -> int:
    """Pairs of which the later one is greater, in n log n comparisons."""
    seen: list[float] = []
    count = 0
    for value in values:
        count += bisect_left(seen, value)
        insort(seen, value)
    return count


def _longest_rising(values: Sequence[float]) -> set[int]:
    """Positions of a longest rising subsequence, by patience sorting."""
    tops: list[float] = []
    at_top: list[int] = []
    before: list[int | None] = []
    for at, value in enumerate(values):
        pile = bisect_left(tops, value)
        before.append(at_top[pile - 1] if pile else None)
        tops[pile : pile + 1], at_top[pile : pile + 1] = [value], [at]
    chosen: set[int] = set()
    last = at_top[-1] if at_top else None
    while last is not None:
        chosen.add(last)
        last = before[last]
    return chosen


def _missing(truth: Iterable[Sequence[str]], present: set[Gram]) -> list[str]:
    """Runs of words whose 3-grams the text does not have, a 3-gram's length at least; longest first."""
    runs: list[Sequence[str]] = []
    for paragraph in truth:
        start = None
        for at, gram in enumerate(chain(trigrams(paragraph), [None])):
            if gram is not None and gram not in present:
                start = at if start is None else start
            elif start is not None:
                runs.append(paragraph[start : at + 2])
                start = None
    return [" ".join(run) for run in sorted(runs, key=len, reverse=True)]
