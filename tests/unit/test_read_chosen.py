"""Chosen records from their bytes alone, against a reading of the whole file."""

from __future__ import annotations

import gzip
import io

import pytest
from warc_bytes import Trickle, gz, page, record, response

from stages.read.chosen import read_chosen
from stages.read.events import Damage, Event, Skipped, WarcRecord
from stages.read.warc import read_warc

NAMELESS = record(response(b"no id"), name="x").replace(b"WARC-Record-ID: <urn:test:x>\r\n", b"")
MEMBERS = [
    gz(record(b"software: x", "warcinfo")),
    gz(page(1)),
    gz(page(2) + page(3)),
    gz(record(b"GET", "request")),
    gz(NAMELESS),
    gz(record(response(b"z" * 90, "Content-Length: 99\n"), name="7", fields="WARC-Truncated: length\n")),
    gz(page(8)),
]  # fmt: skip
FILE = b"".join(MEMBERS)
PLAIN = [page(1), NAMELESS, page(3), record(b"GET", "request")]


def starts(parts: list[bytes]) -> list[int]:
    return [sum(map(len, parts[:n])) for n in range(len(parts) + 1)]


def chosen(data: bytes, ranges: list[tuple[int, int]]) -> list[Event]:
    stream = Trickle(b"".join(data[start:stop] for start, stop in ranges), [1000, 7, 1])
    return list(read_chosen(stream, ranges))  # type: ignore[arg-type]


@pytest.mark.parametrize("parts", [MEMBERS, PLAIN], ids=["gzip", "plain"])
@pytest.mark.parametrize("every", [1, 2, 3])
def test_what_is_chosen_is_what_the_whole_file_gives_there(parts: list[bytes], every: int) -> None:
    at, data = starts(parts), b"".join(parts)
    whole = list(read_warc(io.BytesIO(data)))
    ranges = [(at[n], at[n + 1]) for n in range(0, len(parts), every)]
    assert chosen(data, ranges) == [event for event in whole if event.offset in {start for start, _ in ranges}]


AT = starts(MEMBERS)
END = len(FILE)
OTHER = "not the record that was chosen"


@pytest.mark.parametrize(
    "ranges, found",
    [
        ([(AT[1], AT[2] - 9)], [(AT[1], AT[2] - 9 - AT[1], "gzip member cut off")]),
        ([(AT[1] + 1, AT[2])], [(AT[1] + 1, AT[2] - AT[1] - 1, "no WARC record")]),
        ([(AT[1] + 1, AT[2] + 9)], [(AT[1] + 1, AT[2] - AT[1] + 8, "no WARC record")]),
        ([(AT[1] + 1, AT[3])], [(AT[1] + 1, AT[2] - AT[1] - 1), (AT[2], AT[3] - AT[2], OTHER)]),
        ([(AT[1], AT[3])], ["<urn:test:1>", (AT[2], AT[3] - AT[2], OTHER)]),
        ([(AT[1], AT[2] + 30)], ["<urn:test:1>", (AT[2], 30)]),
        ([(AT[6], END + 99)], ["<urn:test:8>"]),
        ([(AT[6], END), (END, END + 9)], ["<urn:test:8>", (END, 0, "behind the end of the file")]),
        ([(END + 5, END + 9), (END + 9, END + 12)], [(END + 5, 0), (END + 9, 0)]),
        ([(AT[1] + 3, AT[1] + 9), (AT[6], END)], [(AT[1] + 3, 6, "no WARC record"), "<urn:test:8>"]),
    ],
    ids=["cut", "late", "between", "late and more", "two", "one and a bit", "long", "behind", "far", "goes on"],
)  # fmt: skip
def test_a_stretch_that_is_not_one_record_is_damage_and_every_byte_of_it_is_accounted_for(
    ranges: list[tuple[int, int]], found: list[str | tuple[int | str, ...]]
) -> None:
    events = chosen(FILE, ranges)
    shown = [event.id if isinstance(event, WarcRecord) else event for event in events]
    assert len(shown) == len(found)
    for event, wanted in zip(shown, found):
        if isinstance(wanted, str):
            assert event == wanted
        else:
            assert isinstance(event, Damage)
            assert (event.offset, event.length, event.cause)[: len(wanted)] == wanted


def test_an_html_page_where_a_record_should_be_costs_itself() -> None:
    data = b"<html>" + b"gone " * 200
    events = chosen(data + MEMBERS[1], [(0, len(data)), (len(data), len(data) + len(MEMBERS[1]))])
    assert isinstance(events[0], Damage) and (events[0].offset, events[0].length) == (0, len(data))
    assert isinstance(events[1], WarcRecord) and events[1].offset == len(data)


def test_a_record_that_is_skipped_is_skipped_here_too() -> None:
    (event,) = chosen(FILE, [(AT[3], AT[4])])
    assert event == Skipped(AT[3], "request")


def test_a_genuine_id_that_looks_derived_stays() -> None:
    named = record(response(b"x"), name="x").replace(b"<urn:test:x>", b"<urn:sha1:" + b"0" * 40 + b">")
    data = gzip.compress(page(1)) + gzip.compress(named)
    (event,) = chosen(data, [(len(gzip.compress(page(1))), len(data))])
    assert isinstance(event, WarcRecord) and event.id == f"<urn:sha1:{'0' * 40}>"
