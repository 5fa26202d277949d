"""Page ends stay true while editors change a text."""

from __future__ import annotations

import pyarrow as pa
import pytest

from stages.datatrove import Datatrove
from stages.edit.pii import Pii
from stages.filter.c4 import C4Quality
from stages.stage import RECORD
from stages.text.pages import ends_after_keeping, ends_after_replacing
from stages.text.texts import Texts


def batch_of(*pages: list[str]) -> pa.RecordBatch:
    """A record for each list of pages; None for a text without pages."""
    rows = []
    for each in pages:
        ends = [sum(map(len, each[: at + 1])) for at in range(len(each))]
        rows.append({"text": "".join(each), "page_ends": ends, "language": "eng_Latn"})
    rows.append({"text": "\n".join("".join(each) for each in pages), "language": "eng_Latn"})
    return pa.RecordBatch.from_pylist(rows, schema=RECORD)


def pages_of(batch: pa.RecordBatch, row: int) -> list[str]:
    text, ends = batch.column("text")[row].as_py(), batch.column("page_ends")[row].as_py()
    assert ends[-1] == len(text)
    return [text[a:b] for a, b in zip([0, *ends], ends)]


def test_personal_data_that_is_replaced_moves_the_ends_behind_it() -> None:
    batch = batch_of(
        ["Write to ann@b.org. ", "Or to 8.8.8.8 and jo", "e@site.com for more.", ""], ["Nothing here.", "At all."]
    )
    edited = Pii().apply(batch).kept
    assert pages_of(edited, 0) == [
        "Write to someone@example.com. ",
        "Or to 192.0.2.1 and somebody@example.org",
        " for more.",
        "",
    ]
    assert pages_of(edited, 1) == ["Nothing here.", "At all."]
    assert edited.column("page_ends")[2].as_py() is None


def test_lines_that_are_removed_move_the_ends_behind_them() -> None:
    first = "This line is long enough to stay.\nToo short\n\nSo is this one, which has a mark[1] in it.\n"
    second = "Short\nThe last page has one line.\nEnd"
    edited = C4Quality(no_terminal_punct=False).edit(Texts.of(batch_of([first, second, "", " x"], ["Too", " short"])))
    assert pages_of(edited.batch, 0) == [
        "This line is long enough to stay.\nSo is this one, which has a mark in it.",
        "\nThe last page has one line.",
        "",
        "",
    ]
    assert edited.batch.column("page_ends").to_pylist()[1:] == [[0, 0], None]


@pytest.mark.parametrize(
    ("ends", "pieces", "moved"),
    [
        ([], [(0, 1, 5)], []),
        ([0, 3, 4, 9], [], [0, 3, 4, 9]),
        ([0, 2, 4, 9], [(2, 4, 0)], [0, 2, 2, 7]),
        ([3, 9], [(2, 4, 7)], [9, 14]),
        ([1, 2, 5, 9], [(0, 1, 3), (1, 2, 0), (4, 6, 2)], [3, 3, 7, 10]),
    ],
)
def test_ends_after_replacing(ends: list[int], pieces: list[tuple[int, int, int]], moved: list[int]) -> None:
    assert ends_after_replacing(ends, pieces) == moved


def test_an_end_within_a_line_that_changed_stays_within_it() -> None:
    assert ends_after_keeping([2, 5, 9, 12], [(1, 4), (6, 12)], [3, 2]) == [1, 3, 6, 6]


def test_a_block_that_changes_a_text_leaves_no_ends_that_are_wrong() -> None:
    pytest.importorskip("datatrove", reason="datatrove is not installed (pip install 'crawlmill[datatrove]')")
    stage = Datatrove(block="datatrove.pipeline.formatters.pii.PIIFormatter")
    edited = stage.apply(batch_of(["Write to ann@b.org. "], ["Nothing."])).kept
    assert edited.column("page_ends").to_pylist() == [None, [8], None]
