"""What a vision model answered for a page: is it the page's text, or one of the ways in which such models fail?

Known failures are loops (a line or phrase over and over until the limit of tokens), answers cut off by that limit,
refusals, and nothing at all. What is left is Markdown, kept as it came: headings, items, tables (Markdown or HTML).
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from stages.extract.pdf.content import Block, Kind
from stages.extract.pdf.ocr import Unread

MAX_LINE_REPEATS, _LINE_CYCLE = 10, 4
"""Lines repeat so often in a row, alone or in cycles of up to four, in no page; table rows without a letter may."""
MAX_WORD_REPEATS, _WORD_CYCLE = 20, 12
MAX_CHARACTER_REPEATS, _CHARACTER_CYCLE = 30, 40
"""For scripts that part no words. A cycle without a letter (leaders, rules, blanks of a form) is no loop."""

_REFUSAL = re.compile(r"(i'?m sorry|i am sorry|sorry,|i can(no|')t|i am unable|i'm unable|as an ai)\b", re.IGNORECASE)
_REFUSAL_CHARACTERS = 400
"""Longer answers are texts, which may begin so."""
_FRONT_MATTER = re.compile(r"---\n((?:[a-z_]+:[^\n]*\n)*)---(?:\n|$)")
_ROTATION = re.compile(r"^rotation_correction: *(90|180|270) *$", re.MULTILINE)
_FENCED = re.compile(r"```(?:markdown|md|text)?\n(.*)\n```", re.DOTALL)
_TAG = re.compile(r"</?[a-z]{1,10}(?: [^<>]{0,100})?>")
_HEADING = re.compile(r"#{1,6} +")
_ITEM = re.compile(r"(?:[-*+•]|\d{1,3}[.)]) +")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the endpoint gave for one page: `finish` is the protocol's finish_reason."""

    text: str
    finish: str | None = None
    refusal: str | None = None


@dataclass(frozen=True, slots=True)
class Turned:
    """The model says that the page lies on its side: ask again with the picture turned so many degrees clockwise."""

    degrees: int


def read_answer(answer: Answer) -> list[Block] | Unread | Turned:
    """The blocks of a good answer, or what is wrong with it."""
    text = answer.text.replace("\r\n", "\n").strip()
    front = _FRONT_MATTER.match(text)
    if front is not None:  # olmOCR's models begin with what they think of the page
        turned = _ROTATION.search(front.group(1))
        if turned and re.search(r"^is_rotation_valid: *false *$", front.group(1), re.MULTILINE | re.IGNORECASE):
            return Turned(int(turned.group(1)))
        text = text[front.end() :].strip()
    if fenced := _FENCED.fullmatch(text):
        text = fenced.group(1).strip()
    if answer.refusal or answer.finish == "content_filter":
        return Unread("ocr_refused", (answer.refusal or "content_filter")[:200])
    if loop := repeated(text):
        return Unread("ocr_repeats", loop)
    if answer.finish == "length":
        return Unread("ocr_truncated", f"after {len(text)} characters")
    if len(text) <= _REFUSAL_CHARACTERS and _REFUSAL.match(text):
        return Unread("ocr_refused", text[:200])
    return markdown_blocks(text) or Unread("ocr_empty")


def repeated(text: str) -> str | None:
    """What a loop repeats, and how often; None where nothing does."""
    text = _TAG.sub(" ", text)  # of cells without a letter
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return (
        _loop("line", lines, _LINE_CYCLE, MAX_LINE_REPEATS)
        or _loop("words", text.split(), _WORD_CYCLE, MAX_WORD_REPEATS)
        or _loop("characters", text, _CHARACTER_CYCLE, MAX_CHARACTER_REPEATS)
    )


def _loop(what: str, items: Sequence[str], longest: int, most: int) -> str | None:
    """The first cycle of up to `longest` items that comes more than `most` times in a row and has a letter."""
    numbers: dict[Hashable, int] = {}
    codes = np.array([numbers.setdefault(item, len(numbers)) for item in items], np.int64)
    for period in range(1, min(longest, len(codes) // 2) + 1):
        same = codes[:-period] == codes[period:]
        edges = np.flatnonzero(np.diff(same, prepend=False, append=False)).reshape(-1, 2)
        for start, end in edges[np.diff(edges, axis=1)[:, 0] >= period * most].tolist():
            cycle = (" " if what == "words" else "").join(items[start : start + period])
            if any(character.isalpha() for character in cycle):
                return f"{what} {(end - start) // period + 1} times: {cycle[:80]}"
    return None


def markdown_blocks(text: str) -> list[Block]:
    """Markdown parted at its blank lines, lists by item; line breaks and tables stay as they are."""
    blocks: list[Block] = []
    for chunk in _chunks(text.splitlines()):
        kind = _kind(chunk)
        if kind == "heading":
            blocks.append(Block("heading", _HEADING.sub("", chunk[0], count=1).strip("# ")))
            chunk = chunk[1:]
            kind = _kind(chunk)
        if kind == "item":
            blocks += [Block("item", item) for item in _items(chunk)]
        elif chunk:
            blocks.append(Block(kind, "\n".join(chunk)))
    return [block for block in blocks if block.text.strip()]


def _chunks(lines: Sequence[str]) -> list[list[str]]:
    """Lines between blank ones, or from `<table` to `</table`, or between fences."""
    chunks: list[list[str]] = [[]]
    until: str | None = None
    for line in lines:
        line = line.rstrip()
        opens = None
        if until is None:
            opens = "</table" if line.lstrip().startswith("<table") else "```" if line.startswith("```") else None
        if opens or (not line and not until) or (not until and _HEADING.match(line)):
            chunks.append([])
        chunks[-1].append(line.strip() if until != "```" else line)
        if (until and until in line) or (opens == "</table" and opens in line):
            until = None
            chunks.append([])
        else:
            until = until or opens
    return [chunk for chunk in ([line for line in each if line] for each in chunks) if chunk]


def _kind(chunk: Sequence[str]) -> Kind:
    if not chunk:
        return "paragraph"
    first = chunk[0]
    if first.startswith("```"):
        return "code"
    if first.startswith("<table") or (first.startswith("|") and len(chunk) > 1):
        return "table"
    return "heading" if _HEADING.match(first) else "item" if _ITEM.match(first) else "paragraph"


def _items(lines: Sequence[str]) -> list[str]:
    """Items of a list, each with the lines that go on with it."""
    items: list[str] = []
    for line in lines:
        if _ITEM.match(line) or not items:
            items.append(line)
        else:
            items[-1] += " " + line
    return items
