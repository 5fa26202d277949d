"""What a text leaves out: is it running heads and page numbers, or was it worth keeping?

Everything is measured against PyMuPDF's plain text of the same file, which leaves nothing out.

- removed: words of the plain text that the text does not have, as bags; the two halves of a word broken at the end of
  a line do not count, nor does what they were joined to.
- wrongly removed: those of them that stand in the truth in three words in a row that the plain text has, and in none
  that the text has. By words alone the loss of a paragraph would hide behind the same words in the references.
- heads: lines in the outer eighth of a page, above or below, that recur at the same height on three pages or more, with
  other digits or not; of numbers alone, those that count pages. Heads left are those still on their page of the text:
  as words in a row, or, where they are fewer than three, as a line of their own.
- unexplained: words removed that are neither of heads nor wrongly removed. The truth has no references, tables or
  captions: this is where their loss would be seen, among furniture that does not recur and words that were repaired.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import pymupdf
from pdf_prose import Gram, trigrams, words

MARGIN = 1 / 8
"""Of a page's height, above and below."""
LEAST_PAGES = 3
"""A chapter's head is on few pages; what recurs by chance is hardly at the same height."""
SAME_HEIGHT = 2.0
"""Points."""

_BROKEN = re.compile(r"[^\W\d_]+[-‐\u00ad]\s*\n\s*[^\W\d_]+")
_DIGITS = re.compile(r"\d+")

Head = str
"""The words of a line."""


@dataclass(frozen=True)
class Plain:
    """What a file has before anything is left out."""

    words: Counter[str]
    trigrams: set[Gram]
    heads: list[list[Head]]
    """Of each page."""


@dataclass(frozen=True)
class Removal:
    """Numbers of words and of heads, to be added up over files."""

    words: int
    """Of the plain text."""
    removed: int
    wrongly_removed: int
    unexplained: int
    heads: int
    heads_left: int


def read_plain(payload: bytes) -> Plain:
    """The plain text's words and the heads of a PDF."""
    with pymupdf.open(stream=payload, filetype="pdf") as document:
        lines = [[*_marginal_lines(page)] for page in document.pages()]
        text = "\n".join(page.get_text() for page in document.pages())
    return Plain(Counter(words(_BROKEN.sub(" ", text))), set(trigrams(words(text))), _heads(lines))


def measure(paragraphs: Sequence[str], there: Plain, pages: Sequence[str]) -> Removal:
    """What the text, given by page, leaves out of what is there. paragraphs: the truth's."""
    kept = words("".join(pages))
    removed = there.words - Counter(kept)
    wrongly = removed & _lost(map(words, paragraphs), there.trigrams, set(trigrams(kept)))
    of_heads = Counter(word for heads in there.heads for head in heads for word in head.split())
    left = sum(_has(page, head) for page, heads in zip(pages, there.heads) for head in heads)
    return Removal(
        there.words.total(),
        removed.total(),
        wrongly.total(),
        (removed - wrongly - of_heads).total(),
        sum(map(len, there.heads)),
        left,
    )


def gone(payload: bytes, text: str) -> list[str]:
    """Runs of lines of the plain text, heads aside, of which the text has no three words in a row; longest first."""
    with pymupdf.open(stream=payload, filetype="pdf") as document:
        pages = [page.get_text().splitlines() for page in document.pages()]
    heads = set(chain.from_iterable(read_plain(payload).heads))
    present = set(trigrams(words(text)))
    runs = [""]
    for line in chain.from_iterable(pages):
        own = words(line)
        if " ".join(own) in heads or len(own) < 3:
            continue
        if present.isdisjoint(trigrams(own)):
            runs[-1] += f"{line} / "
        elif runs[-1]:
            runs.append("")
    return sorted(filter(None, runs), key=len, reverse=True)


def _lost(truth: Iterable[Sequence[str]], there: set[Gram], kept: set[Gram]) -> Counter[str]:
    """Words of the truth that are in runs of three that are there, and in none that was kept."""
    lost: Counter[str] = Counter()
    for paragraph in truth:
        grams = list(trigrams(paragraph))
        for at, word in enumerate(paragraph):
            own = grams[max(0, at - 2) : at + 1]
            if kept.isdisjoint(own) and not there.isdisjoint(own):
                lost[word] += 1
    return lost


def _marginal_lines(page: pymupdf.Page) -> Iterator[tuple[Head, int]]:
    """Lines above and below, and their heights."""
    top, bottom = page.rect.height * MARGIN, page.rect.height * (1 - MARGIN)
    for block in page.get_text("dict", flags=pymupdf.TEXTFLAGS_TEXT)["blocks"]:
        for line in block.get("lines", ()):
            middle = (line["bbox"][1] + line["bbox"][3]) / 2
            if not top < middle < bottom and (head := _key("".join(span["text"] for span in line["spans"]))):
                yield head, round(middle / SAME_HEIGHT)


def _heads(pages: Sequence[Sequence[tuple[Head, int]]]) -> list[list[Head]]:
    """The lines of each page that recur."""
    on_pages = defaultdict(set)
    for at, lines in enumerate(pages):
        for line, height in lines:
            on_pages[_kind(line, at), height].add(at)
    recurring = {kind for kind, at in on_pages.items() if len(at) >= LEAST_PAGES}
    return [
        [line for line, height in lines if (_kind(line, at), height) in recurring] for at, lines in enumerate(pages)
    ]


def _kind(line: Head, page: int) -> str:
    """What recurs: the line with its digits folded, or how far a number is ahead of the page's own."""
    return f"page {int(line) - page}" if line.isdecimal() and len(line) < 6 else _DIGITS.sub("0", line)


def _has(page: str, head: Head) -> bool:
    lines = list(map(_key, page.splitlines()))
    return head in lines if head.count(" ") < 2 else f" {head} " in f" {' '.join(filter(None, lines))} "


def _key(line: str) -> Head:
    return " ".join(words(line))
