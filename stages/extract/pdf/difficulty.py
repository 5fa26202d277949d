"""Where the layout model is worth its time: what `auto` asks before it calls the network for a page.

Not the order of reading: the rules put columns in order better than the network does, on pages whose stream is in order
and on pages where it is not. What the rules cannot know is a head or foot that comes only once, as in a document of one
page: a short line that stands by itself at the page's edge after everything that repeats has been taken away.
"""

from __future__ import annotations

from stages.extract.pdf.content import Page

EDGE = 1 / 12
"""Of the page's height, above and below: heads and feet stand there. An inch of a letter page is 1/11."""
ALONE = 1.2
"""Of a line's height: what is farther from the text than that stands by itself."""
SHORT = 200
"""Characters on the outermost lines: more is text that fills the page."""
DIFFICULT = 0.5
"""The difficulty from which on `auto` uses the model."""


def difficulty(page: Page) -> float:
    """How likely the model sees what the rules do not, from 0 to 1: 0.5 for an edge of the page with lines by
    themselves, 1 for both. `page` is without its repeated furniture. O(lines).
    """
    boxes = [
        (line.box.y0, line.box.y1, sum(len(span.text) for span in line.spans)) for line in page.lines if not line.turned
    ]
    below = [(page.height - y1, page.height - y0, characters) for y0, y1, characters in boxes]
    return 0.5 * (_edge_alone(boxes, page.height) + _edge_alone(below, page.height))


def _edge_alone(boxes: list[tuple[float, float, int]], height: float) -> bool:
    """Whether lines (start, end, characters) within the edge at 0 stand apart from all others."""
    edge = [box for box in boxes if box[1] <= EDGE * height]
    rest = [box for box in boxes if box[1] > EDGE * height]
    if not edge or not rest or sum(characters for *_, characters in edge) > SHORT:
        return False
    last = max(end for _, end, _ in edge)
    tallest = max(end - start for start, end, _ in edge)
    return min(start for start, *_ in rest) - last >= ALONE * tallest
