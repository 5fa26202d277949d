"""From the blocks of all pages to one text, with the exact end of each page in it.

Paragraphs that go on in the next column or on the next page are joined around what stands between them: captions, notes
and tables wait until the paragraph has ended, or go before it where it leaves their page. Headings are marked by their
rank in size among the document's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stages.extract.pdf.content import Block
from stages.extract.pdf.hyphens import SOFT_HYPHEN, Hyphens
from stages.extract.pdf.lines import join

HEADING_LEVELS = 3
"""The deepest mark of a heading is `###`."""
SAME_SIZE = 0.06
"""Relative: text of one paragraph does not differ by more."""
MOST_BETWEEN = 40
"""Blocks that may stand between two parts of a paragraph: a page of a figure's labels."""


@dataclass(slots=True)
class _Item:
    """A block, or several that are one paragraph; each part with its page."""

    parts: list[tuple[int, str]]
    last: Block

    @property
    def first_page(self) -> int:
        return self.parts[0][0]

    @property
    def last_page(self) -> int:
        return self.parts[-1][0]


def compose(pages: Sequence[Sequence[Block]]) -> tuple[str, list[int]]:
    """The text of a document, and for each page the offset (in characters) at which its text ends.

    Blocks are parted by a blank line. A page without text ends where the one before it ends.
    """
    blocks = [(number, block) for number, page in enumerate(pages) for block in page if block.text.strip()]
    hyphens = Hyphens(block.text for _, block in blocks if block.kind != "table")
    ranks = _ranks([block for _, block in blocks if block.kind == "heading"])
    text: list[str] = []
    length = 0
    ends = [0] * len(pages)
    for item in _joined(blocks, hyphens):
        parts = [
            (number, _marked(part, item.last, ranks)) if not at else (number, part)
            for at, (number, part) in enumerate(item.parts)
        ]
        for at, (number, part) in enumerate(parts):
            piece = part if at or not length else "\n\n" + part
            text.append(piece)
            length += len(piece)
            ends[number] = length
    for number in range(1, len(ends)):
        ends[number] = max(ends[number], ends[number - 1])
    return "".join(text), ends


def _joined(blocks: Sequence[tuple[int, Block]], hyphens: Hyphens) -> list[_Item]:
    """Items in the order of the text; pages never go back."""
    items: list[_Item] = []
    open_item: _Item | None = None
    waiting: list[_Item] = []
    """What stands after the open item, and may stand within it."""
    for number, block in blocks:
        item = _Item([(number, block.text.strip())], block)
        if open_item is not None and _goes_on(open_item.last, block, waiting):
            early = [each for each in waiting if each.last_page < number]
            if all(each.first_page == open_item.first_page for each in early):
                items += early
                waiting = waiting[len(early) :]
                _append(open_item, item, hyphens)
                continue
        if open_item is not None and _may_stand_within(open_item.last, block) and len(waiting) < MOST_BETWEEN:
            waiting.append(item)
            continue
        if open_item is not None:
            items += [open_item, *waiting]
            open_item, waiting = None, []
        if block.open_end:
            open_item = item
        else:
            items.append(item)
    if open_item is not None:
        items += [open_item, *waiting]
    for item in items:
        item.parts = [(number, hyphens.resolved(part)) for number, part in item.parts]
    return items


def _goes_on(before: Block, block: Block, between: Sequence[_Item]) -> bool:
    """Whether `block` continues the paragraph that `before` left open."""
    if not before.open_end or not block.open_start or block.kind != "paragraph" or not _alike(before, block):
        return False
    lower = block.text[:1].islower()
    if before.text.endswith(("-", "\u2010", SOFT_HYPHEN)):
        return lower
    floats = all(item.last.kind in ("caption", "note", "table") for item in between)
    return lower or floats


def _may_stand_within(open_block: Block, block: Block) -> bool:
    """Whether a paragraph may go on after `block`: it is set apart from running text, or in another size."""
    return block.kind in ("caption", "note", "table") or (block.kind != "heading" and not _alike(open_block, block))


def _alike(one: Block, other: Block) -> bool:
    return abs(one.size - other.size) <= SAME_SIZE * max(one.size, other.size)


def _append(item: _Item, more: _Item, hyphens: Hyphens) -> None:
    """Make `more` the end of `item`. A hyphen that is kept belongs to the first's page, a space to the second's."""
    number, before = item.parts[-1]
    after_number, after = more.parts[0]
    after = hyphens.resolved(after)
    whole = hyphens.resolved(join(before, after))
    head = whole[: len(whole) - len(after)]
    kept = head.rstrip(" ")
    item.parts[-1:] = [(number, kept), (after_number, whole[len(kept) :])]
    item.last = more.last


def _ranks(headings: Sequence[Block]) -> dict[int, int]:
    """Level of a heading by its size in half points: the largest first, and no deeper than HEADING_LEVELS."""
    sizes = sorted({_half_points(block.size) for block in headings}, reverse=True)
    return {size: min(level, HEADING_LEVELS) for level, size in enumerate(sizes, 1)}


def _half_points(size: float) -> int:
    return round(size * 2)


def _marked(text: str, block: Block, ranks: dict[int, int]) -> str:
    if block.kind != "heading":
        return text
    return "#" * ranks.get(_half_points(block.size), HEADING_LEVELS) + " " + " ".join(text.split())
