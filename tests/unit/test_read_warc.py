"""Records: what comes out of files that are right, odd, or wrong about themselves."""

from __future__ import annotations

import gzip
import io
from typing import Any, BinaryIO, cast

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from warc_bytes import Trickle, damage, events, gz, page, record, records, response, skipped

from stages.read.members import PIECE
from stages.read.warc import Skipped, UnreadableInput, WarcRecord, read_warc

HTML = b"<html><p>Hello</p></html>"
INFO = record(b"software: test\r\n", "warcinfo", name="info")


def test_a_response_in_full() -> None:
    block = response(HTML, "Content-Type: Text/HTML; Charset=ISO-8859-1\n")
    fields = "WARC-Identified-Payload-Type: text/html\nWARC-Truncated: length\n"
    first, second = events(gz(INFO, record(block, fields=fields)))
    assert first == Skipped(0, "warcinfo")
    assert second == WarcRecord(
        offset=len(gz(INFO)),
        ordinal=0,
        type="response",
        id="<urn:test:1>",
        url="http://a.example/1",
        date="2026-01-02T03:04:05Z",
        mime="text/html",
        identified="text/html",
        charset="ISO-8859-1",
        status=200,
        truncated="length",
        payload=HTML,
        fault=None,
    )


PAGES = [INFO, page(1), page(2, 5), record(b"the text", "conversion", name="3"), page(4, 3000)]
STARTS = [sum(map(len, PAGES[:i])) for i in range(len(PAGES))]
MEMBERS = [len(gz(*PAGES[:i])) for i in range(len(PAGES))]


def zst(*frames: bytes, **options: Any) -> bytes:
    return b"".join(zstandard.ZstdCompressor(write_checksum=True, **options).compress(frame) for frame in frames)


def with_dictionary(packed: bool) -> bytes:
    """As the IIPC's specification of .warc.zst lays a file out."""
    dictionary = zstandard.ZstdCompressionDict(b"".join(PAGES))
    content = zst(dictionary.as_bytes()) if packed else dictionary.as_bytes()
    frame = bytes.fromhex("5d2a4d18") + len(content).to_bytes(4, "little") + content
    return frame + zst(*PAGES, dict_data=dictionary)


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize(
    ("data", "offsets", "ordinals"),
    [
        (b"".join(PAGES), STARTS[1:], [0, 0, 0, 0]),
        (gz(*PAGES), MEMBERS[1:], [0, 0, 0, 0]),
        (gz(b"".join(PAGES)), [0, 0, 0, 0], [1, 2, 3, 4]),
        (gz(b"".join(PAGES[:3]), *PAGES[3:]), None, [1, 2, 0, 0]),
        (gz(*PAGES) + gz(b""), MEMBERS[1:], [0, 0, 0, 0]),
        (gz(b"") + gz(*PAGES), [at + 20 for at in MEMBERS[1:]], [0, 0, 0, 0]),
        (gz(*cut(b"".join(PAGES), 300)), None, None),  # as bgzip does: records span members
        (zst(*PAGES), [len(zst(*PAGES[:i])) for i in range(1, 5)], [0, 0, 0, 0]),
        (zst(b"".join(PAGES)), [0, 0, 0, 0], [1, 2, 3, 4]),
        (bytes.fromhex("502a4d18") + b"\3\0\0\0abc" + zst(*PAGES), None, [0, 0, 0, 0]),
        (with_dictionary(packed=False), None, [0, 0, 0, 0]),
        (with_dictionary(packed=True), None, [0, 0, 0, 0]),
    ],
)
def test_every_framing_gives_the_same_records(
    data: bytes, offsets: list[int] | None, ordinals: list[int] | None
) -> None:
    found = events(data)
    got = [event for event in found if isinstance(event, WarcRecord)]
    expected = records(b"".join(PAGES))
    assert [(r.id, r.url, r.payload) for r in got] == [(r.id, r.url, r.payload) for r in expected]
    assert [event.type for event in skipped(found)] == ["warcinfo"]
    assert not damage(found)
    assert len({(r.offset, r.ordinal) for r in got}) == 4
    assert offsets is None or [r.offset for r in got] == offsets
    assert ordinals is None or [r.ordinal for r in got] == ordinals


def test_the_offset_is_where_reading_can_start_again() -> None:
    data = gz(*PAGES)
    for found in records(data):
        assert records(data[found.offset :])[0].id == found.id


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=20), st.booleans())
def test_how_much_the_stream_returns_at_once_changes_nothing(sizes: list[int], packed: bool) -> None:
    broken = [*PAGES[:3], b"XXXX" + PAGES[3], *PAGES[4:]]
    data = (gz(*broken) if packed else b"".join(broken)) + b"tail"
    assert events(cast(BinaryIO, Trickle(data, sizes))) == events(data)


@pytest.mark.parametrize(
    "oddity",
    [
        {"version": b"WARC/0.17"},
        {"version": b"WARC/0.18"},
        {"version": b"WARC/1.1"},
        {"version": b"Warc/1.0"},
        {"end": b"\n"},
        {"fields": "X-Folded: a\n b\n\tc: d\nno colon here\n"},
        {"fields": "WARC-Target-URI: http://second.example/\nWARC-Record-ID: <urn:second>\nWarc-TYPE: request\n"},
    ],
)
@pytest.mark.parametrize("pack", [gz, lambda *parts: b"".join(parts)])
def test_odd_spelling_is_read(oddity: dict[str, object], pack: object) -> None:
    data = pack(INFO, record(response(HTML), **oddity), page(2))  # type: ignore[operator, arg-type]
    one, two = records(data)
    assert (one.id, one.url, one.payload, two.id) == ("<urn:test:1>", "http://a.example/1", HTML, "<urn:test:2>")
    assert not damage(events(data))


def test_wget_puts_angle_brackets_around_addresses() -> None:
    data = record(b"x", "resource").replace(b"http://a.example/1", b"<http://a.example/1>")
    assert records(data)[0].url == "http://a.example/1"


def test_other_types_are_skipped_under_their_own_name() -> None:
    kinds = ["request", "metadata", "revisit", "continuation", "monkeys", ""]
    data = gz(*(record(b"x", kind) for kind in kinds))
    assert [event.type for event in skipped(events(data))] == kinds


def test_a_missing_id_is_derived_from_place_and_payload() -> None:
    def bare(payload: bytes) -> bytes:
        return record(payload, "resource").replace(b"WARC-Record-ID: <urn:test:1>\r\n", b"")

    one, two, three = records(gz(bare(b"a"), bare(b"a"), bare(b"b")))
    assert one.id.startswith("<urn:sha1:")
    assert len({one.id, two.id, three.id}) == 3
    assert records(gz(bare(b"a")))[0].id == one.id


def test_lengths_that_lie_in_a_member_of_their_own() -> None:
    block = response(HTML)
    long, after = records(gz(record(block, length=10**15), page(2)))
    assert (long.payload, long.fault, after.id) == (HTML, None, "<urn:test:2>")
    found = events(gz(record(block, length=len(block) - 3), page(2)))
    assert next(e.payload for e in found if isinstance(e, WarcRecord)) == HTML[:-3]
    assert [d.cause for d in damage(found)] == ["bytes between records"]


@pytest.mark.parametrize("declared", [+3, +5, +200, +600, 10**15])
def test_a_length_that_reaches_into_the_next_record(declared: int) -> None:
    block = response(HTML)
    data = record(block, length=len(block) + declared) + page(2) + page(3)
    for pack in (lambda d: d, gz):
        got = records(pack(data))
        assert [r.id for r in got] == [f"<urn:test:{n}>" for n in (1, 2, 3)]
        assert got[0].payload.rstrip() == HTML  # +3 takes in line ends alone, which nothing contradicts
        assert got[1].payload == records(page(2))[0].payload


def test_a_length_that_is_too_short_costs_what_it_leaves() -> None:
    block = response(HTML)
    data = record(block, length=len(block) - 3) + page(2)
    found = events(data)
    (lost,) = damage(found)
    assert data[lost.offset :].startswith(b"ml>")
    assert lost.offset + lost.length == data.index(b"WARC/1.0", 10)
    assert [e.id for e in found if isinstance(e, WarcRecord)] == ["<urn:test:1>", "<urn:test:2>"]


@pytest.mark.parametrize("junk", [False, True])
def test_nothing_is_missed_where_two_pieces_of_a_file_meet(junk: bool) -> None:
    two = record(response(HTML), name="2")
    frame = len(record(bytes(10_000), "resource")) - 10_000
    for before in range(1, len(two)):
        size = PIECE - before
        one = page(1).ljust(PIECE + size - 1, b"x") + b"\n" if junk else record(bytes(size - frame), "resource")
        assert len(one) % PIECE == size
        got = records(one + two + page(3))
        assert [r.id for r in got] == [f"<urn:test:{n}>" for n in (1, 2, 3)], before
        assert (got[1].payload, got[1].status) == (HTML, 200), before


@pytest.mark.parametrize("missing", [2, 4])
def test_missing_line_ends_between_records(missing: int) -> None:
    found = events(page(1)[:-missing] + page(2) + page(3)[:-missing])
    assert [e.id for e in found if isinstance(e, WarcRecord)] == [f"<urn:test:{n}>" for n in (1, 2, 3)]
    assert not damage(found)


@pytest.mark.parametrize(
    ("bad", "cause"),
    [
        (b"WARC/1.0\r\nWARC-Type: response\r\nContent-Length: 12\r\n", "record header without end"),
        (b"WARC/1.0\r\nWARC-Type: response\r\n\r\nbody\r\n\r\n", "record without Content-Length"),
        (
            record(b"x", "resource").replace(b"Content-Length: 1", b"Content-Length: -1"),
            "record without Content-Length",
        ),
        (b"WARC/1.0\r\nX: " + b"y" * 5000 + b"\r\n\r\nbody\r\n", "record header without end"),
        (b"\0\1\2 monkeys\r\n", "bytes between records"),
    ],
)
def test_what_is_no_record_is_damage_to_the_byte(bad: bytes, cause: str) -> None:
    found = events(page(1) + bad + page(2), max_header=4096)
    (lost,) = damage(found)
    assert (lost.offset, lost.length, lost.cause) == (len(page(1)), len(bad), cause)
    assert [e.id for e in found if isinstance(e, WarcRecord)] == ["<urn:test:1>", "<urn:test:2>"]


def test_a_record_cut_off_by_the_end_of_the_file_is_damage() -> None:
    for data in (page(1) + page(2)[:-100], gz(page(1)) + gz(page(2))[:-20]):
        found = events(data)
        assert [e.id for e in found if isinstance(e, WarcRecord)] == ["<urn:test:1>"]
        (lost,) = damage(found)
        assert lost.offset + lost.length == len(data)


def test_a_member_of_many_records_gives_what_came_before_the_damage() -> None:
    data = bytearray(gz(b"".join(page(n) for n in range(100))))
    data[-6] ^= 1  # in the checksum
    found = events(bytes(data))
    got = [e.id for e in found if isinstance(e, WarcRecord)]
    assert 70 < len(got) < 100  # all but what the decoder was working on
    assert got == [f"<urn:test:{n}>" for n in range(len(got))]
    (lost,) = damage(found)
    assert lost.offset + lost.length == len(data)


def test_large_payloads_are_accounted_and_passed_over() -> None:
    large = record(response(bytes(5000)), name="large")
    for data in (large + page(2), gz(large, page(2)), gz(large + page(2))):
        for header in (500, 2000):  # passed over while it streams by, or held and then refused
            one, two = records(data, max_payload=4000, max_header=header)
            assert (one.id, one.fault, one.payload, one.mime) == (
                "<urn:test:large>",
                "payload_too_large",
                b"",
                "text/html",
            )
            assert (two.id, two.fault) == ("<urn:test:2>", None)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"filedesc://IAH.arc 0.0.0.0 20260101 text/plain 77\n1 0 x\n", "ARC.*convert"),
        (gzip.compress(b"filedesc://IAH.arc 0.0.0.0 20260101 text/plain 77\n1 0 x\n", mtime=0), "ARC.*convert"),
        (bytes.fromhex("04224d18") + bytes(100), "LZ4"),
        (b"PK\3\4" + bytes(100), "ZIP"),
        (b"<!doctype html><p>WARC/1.0", "starts with b'<!doctype"),
        (gzip.compress(b"hello, world", mtime=0), "holds starts with b'hello"),
        (gz(page(1))[:12], "compressed with gzip"),
        (bytes.fromhex("5d2a4d18") + b"\xff\xff\xff\xff" + bytes(100), "dictionary"),
        (bytes(3 << 20), "starts with"),
    ],
)
def test_what_is_no_warc_is_refused_in_one_line(data: bytes, says: str) -> None:
    with pytest.raises(UnreadableInput, match=says) as refusal:
        events(data)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("nothing", [b"", gz(b""), gz(b"", b"")])
def test_empty_files_have_no_records(nothing: bytes) -> None:
    assert events(nothing) == []


def test_a_broken_connection_is_not_the_end_of_the_file() -> None:
    class Broken(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError):
        list(read_warc(Broken()))  # type: ignore[arg-type]
