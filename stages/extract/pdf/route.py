"""Where the text of a page is: in its text layer, in a hidden layer that somebody's OCR left, or only to be seen.

Rules over measured numbers, which go into the signals as they are: FinePDFs' router is a model that leans on the same
ones (text area, characters, image strips merged into one, hidden text, share of U+FFFD), learned for sampled pages.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt

from stages.extract.pdf.content import Box, Line, Page
from stages.extract.pdf.legible import illegible_characters

if TYPE_CHECKING:
    import pymupdf

Route = Literal["text", "hidden_text", "ocr", "empty"]
Share = Annotated[float, Field(ge=0, le=1)]

_CELLS = 128
"""Areas are counted in cells, so many to a side: the strips of a sliced scan become one, and overlaps count once."""
_MARGIN = 0.1
"""Share of the page's height at its top and bottom where repositories put their stamps."""
_FEW_CHARACTERS = 20
"""Only pages that show fewer are searched for letters drawn as paths: it runs the page once more."""
_LETTER_HEIGHT = (3.0, 40.0)
_LETTER_WIDTH = 60.0
"""Points; `m` in 60-point type."""


@dataclass(frozen=True, slots=True)
class PageFeatures:
    """What `route` looks at. Characters without white space; areas as shares of the page."""

    visible_chars: int
    body_chars: int
    """Visible, upright, and not at the top or bottom edge."""
    hidden_chars: int
    garbled_share: float
    """Of the visible characters: illegible ones (`stages.extract.pdf.legible`)."""
    hidden_garbled_share: float
    rotated_share: float
    """Of the visible characters."""
    text_area: float
    """Boxes of visible lines."""
    images: int
    image_area: float
    outlines: int
    """Filled paths of the size of letters, where there are few visible characters; else 0."""


@dataclass(frozen=True, slots=True)
class PageRoute:
    route: Route
    reason: str


class Routing(BaseModel):
    """Thresholds, set by looking at the 1,153 first pages of the corpus's PDFs, 47 of which are marked as scanned."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_garbled: Share = 0.2
    """Share of illegible characters; legible pages with symbol fonts and lost bullets have 0.13 and less."""
    scan_area: Share = 0.5
    """An image so large may be the page itself, and the text on it a stamp."""
    stamp_chars: NonNegativeInt = 100
    """Fewer characters in the body of a page that is such an image are not its text."""
    hidden_chars: NonNegativeInt = 20
    """Fewer are no OCR layer."""
    overlaid: Annotated[float, Field(gt=0)] = 2.0
    """Of so many times as many hidden as visible characters on a scan, the visible ones are laid over: a signature."""
    image_area: Share = 0.05
    """Without text, images that cover less are ornaments; 0.05 is a strip of two lines."""
    outlines: NonNegativeInt = 100
    """Without text, so many letter-sized paths are text drawn as outlines."""
    max_ocr_share: Share = 0.5
    """A document of which more pages need OCR and have none is dropped, else its other pages go on."""


def measure(mupdf_page: pymupdf.Page, page: Page) -> PageFeatures:
    """The numbers of one page, as `read_page` read it."""
    visible, hidden = _spans(page.lines, visible=True), _spans(page.lines, visible=False)
    chars, garbled = illegible_characters(visible)
    hidden_chars, hidden_garbled = illegible_characters(hidden)
    shown = [line for line in page.lines if any(span.visible for span in line.spans)]
    rotated = sum(_characters(line) for line in shown if line.turned)
    top, bottom = page.height * _MARGIN, page.height * (1 - _MARGIN)
    body = (line for line in shown if not line.turned and top <= (line.box.y0 + line.box.y1) / 2 <= bottom)
    images = image_boxes(mupdf_page)
    return PageFeatures(
        visible_chars=chars,
        body_chars=sum(map(_characters, body)),
        hidden_chars=hidden_chars,
        garbled_share=_share(garbled, chars),
        hidden_garbled_share=_share(hidden_garbled, hidden_chars),
        rotated_share=_share(rotated, chars),
        text_area=covered((line.box for line in shown), page.width, page.height),
        images=len(images),
        image_area=covered(images, page.width, page.height),
        outlines=_outlines(mupdf_page) if chars < _FEW_CHARACTERS else 0,
    )


def route(features: PageFeatures, rules: Routing) -> PageRoute:
    """Where this page's text is, and why."""
    f = features
    scan = f.image_area >= rules.scan_area
    stamped = scan and f.body_chars < rules.stamp_chars
    garbled = f.garbled_share > rules.max_garbled
    hidden = f.hidden_chars >= rules.hidden_chars
    layer = hidden and f.hidden_garbled_share <= rules.max_garbled
    overlaid = scan and layer and f.hidden_chars >= rules.overlaid * f.visible_chars
    if f.visible_chars and not (stamped or garbled or overlaid):
        return PageRoute("text", "text_layer_usable")
    if layer:
        return PageRoute("hidden_text", "hidden_ocr_layer")
    if f.visible_chars and garbled and not stamped:
        return PageRoute("ocr", "garbled")
    if f.image_area >= rules.image_area:
        return PageRoute("ocr", "garbled_hidden_layer" if hidden else "scanned")
    if f.outlines >= rules.outlines:
        return PageRoute("ocr", "outlined_text")
    return PageRoute("empty", "no_content")


@dataclass(frozen=True, slots=True)
class DocumentRoute:
    """How a document is read: `mixed` where some of its pages with content need OCR and others do not."""

    route: Literal["text", "ocr", "mixed", "empty"]
    reason: str
    """The commonest reason of its pages that need OCR, or of the others where none does."""
    ocr_share: float
    """Pages that need OCR, of those with content."""


def route_document(pages: Sequence[PageRoute]) -> DocumentRoute:
    """Sum up the routes of a document's pages."""
    content = [page for page in pages if page.route != "empty"]
    ocr = [page for page in content if page.route == "ocr"]
    if not content:
        return DocumentRoute("empty", "no_content", 0.0)
    kind: Literal["text", "ocr", "mixed"] = "text" if not ocr else "ocr" if len(ocr) == len(content) else "mixed"
    reasons = Counter(page.reason for page in ocr or content)
    commonest = min(reasons, key=lambda reason: (-reasons[reason], reason))
    return DocumentRoute(kind, commonest, len(ocr) / len(content))


def image_boxes(mupdf_page: pymupdf.Page) -> list[Box]:
    """Where the page draws images, as it is seen, without decoding one; they may reach beyond it."""
    from pymupdf import Rect  # MuPDF takes seconds to import, and a plan needs only the thresholds

    matrix = mupdf_page.rotation_matrix
    return [Box(*(Rect(image["bbox"]) * matrix)) for image in mupdf_page.get_image_info()]


def covered(boxes: Iterable[Box], width: float, height: float) -> float:
    """Share of a page that boxes cover together, in whole cells; boxes beyond the page or inside out cover nothing."""
    if not (0 < width < np.inf and 0 < height < np.inf):
        return 0.0
    corners = np.array([tuple(box) for box in boxes], float).reshape(-1, 4)
    corners = corners[np.isfinite(corners).all(axis=1)]
    cells = np.rint(np.clip(corners / (width, height, width, height), 0, 1) * _CELLS).astype(np.int64)
    x0, y0, x1, y1 = cells[(cells[:, 0] < cells[:, 2]) & (cells[:, 1] < cells[:, 3])].T
    steps = np.zeros((_CELLS + 1, _CELLS + 1), np.int64)  # its sums over both axes count the boxes on each cell
    np.add.at(steps, (np.concatenate([y0, y1]), np.concatenate([x0, x1])), 1)
    np.add.at(steps, (np.concatenate([y0, y1]), np.concatenate([x1, x0])), -1)
    boxes_on = steps.cumsum(axis=0).cumsum(axis=1)[:_CELLS, :_CELLS]
    return float((boxes_on > 0).mean())


def _spans(lines: Iterable[Line], *, visible: bool) -> list[tuple[str, str]]:
    return [(span.font, span.text) for line in lines for span in line.spans if span.visible is visible]


def _characters(line: Line) -> int:
    """Of its visible spans, without white space."""
    return sum(len("".join(span.text.split())) for span in line.spans if span.visible)


def _outlines(mupdf_page: pymupdf.Page) -> int:
    low, high = _LETTER_HEIGHT
    filled = (box for kind, box, *_ in mupdf_page.get_bboxlog() if kind == "fill-path")
    return sum(low <= y1 - y0 <= high and x1 - x0 <= _LETTER_WIDTH for x0, y0, x1, y1 in filled)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
