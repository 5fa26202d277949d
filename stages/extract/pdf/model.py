"""The `model` layout: the rules' order and paragraphs, with what a neural network says the regions are.

The network that ships inside PyMuPDF (`pymupdf.layout`: a graph network over MuPDF's boxes and features of the page's
picture) knows heads and feet that come only once, and headings, captions and notes by their look. Its order of reading
is left alone: measured on 24 articles, and on 17 drawn again across their columns, it puts fewer paragraphs in order
than the rules do (0.994 to 0.996 of pairs, 0.985 to 0.994), and more in pieces (0.980 to 0.997 whole, 0.967 to 0.995).
Needs onnxruntime, 420 MB, 3 s to load and 0.3 CPU seconds a page.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stages.extract.pdf.content import Block, Box, Kind, Page, Table
from stages.extract.pdf.difficulty import EDGE
from stages.extract.pdf.layout import lay_out

if TYPE_CHECKING:
    import pymupdf

KINDS: dict[str, Kind] = {"title": "heading", "section-header": "heading", "caption": "caption", "footnote": "note"}
"""What the network's classes are here; of the others, blocks are what the rules say."""
FURNITURE = frozenset({"page-header", "page-footer"})
"""Classes that are no text, where they stand at the page's edge."""
INSIDE = 0.5
"""Share of a line's area, and of a block's, that lies in its region."""
MAX_LINES = 3_000
"""A page in more pieces is left to the rules: the network's cost and memory grow with them."""


@dataclass(frozen=True, slots=True)
class Region:
    """An area of the page and the network's name for what is in it."""

    box: Box
    label: str


@cache
def load() -> None:
    """Load the network, to run on the calling thread alone. Raises ImportError where something is not installed."""
    import onnxruntime
    import pymupdf

    if sys.modules.get("pymupdf.layout", onnxruntime) is None:  # kept out on purpose while the network was not wanted
        del sys.modules["pymupdf.layout"]
    with _single_threaded(onnxruntime) as made:
        import pymupdf.layout

        if not made:  # `import pymupdf` came first, and has loaded the network for as many threads as there are cores
            pymupdf._get_layout = None
            pymupdf.layout.activate()


def lay_out_by_model(mupdf_page: pymupdf.Page, page: Page, tables: Sequence[Table] = ()) -> list[Block]:
    """The page's blocks in the rules' order, without the heads and feet that the network sees. `page` may be without
    its repeated furniture already.
    """
    if len(page.lines) > MAX_LINES:
        return lay_out(page, tables)
    return arrange(page, regions(mupdf_page), tables)


def regions(mupdf_page: pymupdf.Page) -> list[Region]:
    """What the network sees on a page; the same for the same page on machines of one kind."""
    load()
    with np.errstate(all="ignore"):  # it takes logarithms of boxes without height
        mupdf_page.get_layout()
    turn = mupdf_page.rotation_matrix
    found: Any = mupdf_page.layout_information or []
    return [Region(_turned(each[:4], turn), str(each[4])) for each in found]


def _turned(corners: Sequence[float], matrix: Any) -> Box:
    """A box as the turned page shows it."""
    x0, y0, x1, y1 = map(float, corners)
    ax, ay = matrix.a * x0 + matrix.c * y0 + matrix.e, matrix.b * x0 + matrix.d * y0 + matrix.f
    bx, by = matrix.a * x1 + matrix.c * y1 + matrix.e, matrix.b * x1 + matrix.d * y1 + matrix.f
    return Box(*(round(v, 2) for v in (min(ax, bx), min(ay, by), max(ax, bx), max(ay, by))))


def arrange(page: Page, seen: Sequence[Region], tables: Sequence[Table] = ()) -> list[Block]:
    """The page's blocks, named by the regions they are in. Loses nothing but heads and feet at the page's edges; the
    lines of a table stay.
    """
    if not seen:
        return lay_out(page, tables)
    kept = {id(line) for table in tables for line in table.lines}
    boxes = np.array([region.box for region in seen])
    lines = []
    for line in page.lines:
        region = _region(line.box, seen, boxes)
        if id(line) in kept or region is None or not _is_furniture(region, page):
            lines.append(line)
    return [_named(block, seen, boxes) for block in lay_out(replace(page, lines=lines), tables)]


def _named(block: Block, seen: Sequence[Region], boxes: npt.NDArray[np.float64]) -> Block:
    """A paragraph or heading as the network calls it, where it has a name for it."""
    region = _region(block.box, seen, boxes) if block.box is not None else None
    kind = KINDS.get(region.label) if region is not None else None
    return replace(block, kind=kind) if kind and block.kind in ("paragraph", "heading") else block


def _is_furniture(region: Region, page: Page) -> bool:
    """A head or foot by its look and by its place: of heads in mid-page the network is not believed."""
    edge = EDGE * page.height
    return region.label in FURNITURE and (region.box.y1 <= edge or region.box.y0 >= page.height - edge)


def _region(box: Box, seen: Sequence[Region], boxes: npt.NDArray[np.float64]) -> Region | None:
    """The region that most of a box lies in."""
    wide = np.minimum(boxes[:, 2], box.x1) - np.maximum(boxes[:, 0], box.x0)
    high = np.minimum(boxes[:, 3], box.y1) - np.maximum(boxes[:, 1], box.y0)
    shared = np.clip(wide, 0, None) * np.clip(high, 0, None)
    best = int(shared.argmax())
    return seen[best] if shared[best] > INSIDE * box.area else None


@contextmanager
def _single_threaded(onnxruntime: Any) -> Iterator[list[Any]]:
    """Sessions made meanwhile use the calling thread alone; gives their options. PyMuPDF makes its sessions on import
    and offers no way to say so; onnxruntime has no setting but a session's own.
    """
    options, every = onnxruntime.SessionOptions, []

    def one_thread() -> Any:
        made = options()
        made.intra_op_num_threads = made.inter_op_num_threads = 1
        every.append(made)
        return made

    onnxruntime.SessionOptions = one_thread
    try:
        yield every
    finally:
        onnxruntime.SessionOptions = options
