"""What the layout model's regions make of a page, and when it is asked. One test runs the network; it takes seconds."""

from __future__ import annotations

import subprocess
import sys

import pytest
from drawn import Drawn

from stages.extract.pdf.content import Box, Line, Page, Span, Table
from stages.extract.pdf.difficulty import DIFFICULT, difficulty
from stages.extract.pdf.model import Region, arrange, lay_out_by_model, regions
from stages.extract.pdf.reading import read_page

BODY = [f"Sentence number {n} of the text runs from one side of the column to the other." for n in range(6)]


def line(text: str, y: float, size: float = 10, x: float = 60) -> Line:
    box = Box(x, y - size, x + size * len(text) / 2, y)
    return Line([Span(text, box, y - 2, size, "Serif")], box)


def page(*lines: Line) -> Page:
    return Page(0, 600, 800, list(lines))


def around(*lines: Line) -> Box:
    box = lines[0].box
    for each in lines[1:]:
        box = box.union(each.box)
    return box


HEAD, MIDDLE, TITLE = line("J. Author et al.", 30), line("Not a head", 400), line("A title", 90)
TEXT = [line(text, 120 + 12 * n) for n, text in enumerate(BODY)]


def test_a_head_at_the_edge_goes_and_one_in_mid_page_stays() -> None:
    seen = [Region(HEAD.box, "page-header"), Region(MIDDLE.box, "page-header"), Region(around(*TEXT), "text")]
    texts = [block.text for block in arrange(page(HEAD, *TEXT, MIDDLE), seen)]
    assert texts == [" ".join(BODY), "Not a head"]


def test_regions_name_blocks_and_leave_their_order_and_text_alone() -> None:
    seen = [Region(around(*TEXT), "text"), Region(TITLE.box, "section-header"), Region(MIDDLE.box, "caption")]
    blocks = arrange(page(TITLE, *TEXT, MIDDLE), seen)
    assert [(block.kind, block.text) for block in blocks] == [
        ("heading", "A title"),
        ("paragraph", " ".join(BODY)),
        ("caption", "Not a head"),
    ]


def test_what_is_in_no_region_and_what_is_in_a_table_stays() -> None:
    table = Table(HEAD.box, [["J. Author", "et al."]], [HEAD])
    blocks = arrange(page(HEAD, *TEXT, MIDDLE), [Region(HEAD.box, "page-header")], [table])
    assert [block.kind for block in blocks] == ["table", "paragraph", "paragraph"]
    assert arrange(page(*TEXT), [])[0].text == " ".join(BODY)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([HEAD, *TEXT], 0.5),
        ([HEAD, *TEXT, line("17", 790)], 1.0),
        (TEXT, 0.0),
        ([line(text, 40 + 12 * n) for n, text in enumerate(BODY * 8)], 0.0),  # text up to the edge
        ([HEAD], 0.0),  # nothing else
        ([], 0.0),
    ],
)
def test_a_page_is_difficult_where_lines_stand_alone_at_its_edge(lines: list[Line], expected: float) -> None:
    assert difficulty(page(*lines)) == expected
    assert (expected >= DIFFICULT) == (expected > 0)


def test_the_network_sees_a_head_on_a_page_by_itself() -> None:
    pytest.importorskip("onnxruntime", reason="needs onnxruntime, of the extra that the layout model needs")
    drawn = Drawn().text(60, 35, "Journal of Examples 12 (2024) 1-8", 8).text(60, 100, "1 Introduction", 14, "hebo")
    for n in range(30):
        drawn.text(60, 130 + 14 * n, BODY[n % 6], 10)
    drawn.text(290, 810, "17", 9)
    document = drawn.document()
    seen = regions(document[0])
    assert regions(document[0]) == seen
    blocks = lay_out_by_model(document[0], read_page(document[0], 0))
    assert [block.text for block in blocks if block.kind == "heading"] == ["1 Introduction"]
    text = " ".join(block.text for block in blocks)
    assert "Journal of Examples" not in text and "17" not in text.split()
    assert all(text.count(sentence) == 5 for sentence in BODY)


def test_the_network_starts_no_threads() -> None:
    pytest.importorskip("onnxruntime", reason="needs onnxruntime, of the extra that the layout model needs")
    script = (
        "import os, sys; sys.modules['pymupdf.layout'] = None; import numpy, pymupdf, onnxruntime\n"
        "from stages.extract.pdf import model\n"
        "before = len(os.listdir('/proc/self/task')); model.load(); print(len(os.listdir('/proc/self/task')) - before)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0"]
