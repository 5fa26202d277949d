"""Stamps and watermarks: text beside or across the page's own that comes back at its exact place."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from stages.extract.pdf.content import Box, Page
from stages.extract.pdf.recurring import SAME_PLACE, folded, often, text_of

WATERMARK_SHARE, WATERMARK_SIZE = 0.5, 20.0
"""Of all pages; points. What lies across the page, or is that large, and comes back at its exact place."""


def stamps(pages: Sequence[Page]) -> set[int]:
    """ids of lines beside or across the page's text that come back at their exact place."""
    groups: defaultdict[tuple[int, str, int, int], list[tuple[int, int]]] = defaultdict(list)
    for at, page in enumerate(pages):
        counts = Counter[int]()
        for line in page.lines:
            counts[line.turned] += len(line.spans)
        main = max(counts, key=lambda turned: (counts[turned], -turned), default=0)
        for line in page.lines:
            large = line.turned % 90 != 0 or line.spans[0].size >= WATERMARK_SIZE
            if large or (line.turned != main and _in_margin(line.box, page)):
                place = (round(line.box.x0 / SAME_PLACE), round(line.box.y0 / SAME_PLACE))
                groups[line.turned if not large else -1, folded(text_of(line)), *place].append((at, id(line)))
    taken: set[int] = set()
    for (turned, *_), members in groups.items():
        on = {at for at, _ in members}
        if often(on, len(pages)) and (turned != -1 or len(on) >= max(3, WATERMARK_SHARE * len(pages))):
            taken.update(line for _, line in members)
    return taken


def _in_margin(box: Box, page: Page) -> bool:
    middle = (box.x0 + box.x1) / 2
    return middle < page.width / 8 or middle > page.width * 7 / 8
