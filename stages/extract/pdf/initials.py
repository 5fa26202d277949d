"""Letters and marks that stand apart from the line that they begin: tall initials, bullets drawn after all text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from stages.extract.pdf.content import Box, Line

LARGER = 1.7
"""Times the usual size of the page: an initial is two lines tall at least."""
LONGEST = 2
"""Characters: a letter, perhaps after a quotation mark."""
BESIDE = 1.5
"""Of the usual size: the most white between an initial and the line that goes on."""
MOST = 20
"""Initials on a page; one with more large letters is a poster or a puzzle."""
BULLET_GAP = 4.0
"""Of the size: the most white between a bullet and its item."""
MOST_COMPARISONS = 200_000
"""Of bullets with lines, each with each; a page with more keeps its order. An ordinary one has 1,000."""

BULLETS = "\ufffd•◦▪▫■□●○‣⁃∙·►▶➢➤✓✔❖◆◇\uf0b7\uf0a7\uf0d8\uf02d\uf076"
"""U+FFFD is what a bullet of a symbol font without a map becomes."""


def with_initials_joined(lines: Sequence[Line]) -> list[Line]:
    """Upright lines with each initial at the head of the line that it begins; the lines that make room for it are moved
    to its left edge, so that they show no indent.
    """
    weight: Counter[float] = Counter()
    for line in lines:
        for span in line.spans:
            weight[span.size] += len(span.text)
    usual = max(weight, key=lambda size: (weight[size], -size), default=0.0)
    initials = [i for i, line in enumerate(lines) if _is_initial(line, usual)]
    result: list[Line | None] = list(lines)
    for i in initials if len(initials) <= MOST else ():
        box = lines[i].box
        beside = [
            j
            for j, line in enumerate(lines)
            if j != i
            and box.y0 - usual < (line.box.y0 + line.box.y1) / 2 < box.y1
            and box.x1 - 0.3 * box.width <= line.box.x0 <= box.x1 + BESIDE * usual
            and line.spans[0].size < box.height / LARGER
        ]
        if not beside:
            continue
        first = min(beside, key=lambda j: (lines[j].box.y0, j))
        if not lines[first].spans[0].text[:1].isalpha():
            continue
        for j in beside:
            moved = result[j]
            if moved is not None:
                result[j] = _moved(moved, box.x0, _letters(lines[i]) if j == first else "")
        result[i] = None
    return [line for line in result if line is not None]


def with_bullets_joined(lines: Sequence[Line]) -> list[Line]:
    """Lines in their order, but for lone bullets: each comes just before the line that it stands beside."""
    bullets = [i for i, line in enumerate(lines) if len(text := _letters(line)) == 1 and text in BULLETS]
    before: dict[int, int] = {}
    for i in bullets if len(bullets) * len(lines) <= MOST_COMPARISONS else ():
        box = lines[i].box
        reach = box.x1 + BULLET_GAP * lines[i].spans[0].size
        beside = [
            j
            for j, line in enumerate(lines)
            if box.x1 - 1 <= line.box.x0 <= reach and line.box.overlap_y(box) > 0.5 * min(box.height, line.box.height)
        ]
        if beside:
            before[min(beside, key=lambda j: (lines[j].box.x0, j))] = i
    moved = set(before.values())
    result: list[Line] = []
    for i, line in enumerate(lines):
        if i in before:
            result.append(lines[before[i]])
        if i not in moved:
            result.append(line)
    return result


def _letters(line: Line) -> str:
    return "".join(span.text for span in line.spans).strip()


def _is_initial(line: Line, usual: float) -> bool:
    if line.spans[0].size < LARGER * usual:
        return False
    text = _letters(line)
    return 0 < len(text) <= LONGEST and text[-1].isupper()


def _moved(line: Line, left: float, before: str) -> Line:
    first = line.spans[0]
    box = Box(left, first.box.y0, first.box.x1, first.box.y1)
    spans = [replace(first, text=before + first.text, box=box), *line.spans[1:]]
    return replace(line, spans=spans, box=Box(left, line.box.y0, line.box.x1, line.box.y1))
