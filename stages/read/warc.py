"""WARC records from a stream that only moves forward: every record once, or the bytes that it was lost with.

What a file says of itself is checked where it can be. A record is given out when the next one begins or the member it
ends in has proved right, so nothing comes from a damaged gzip member that holds one record; a member that holds many
gives out its records as they come, and the damage when it shows. A record that damage or the end of the file cuts off
is damage, not a record. ARC is not read. Digests, segmented records and revisits are left to others.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from stages.read.cursor import Cursor
from stages.read.events import Damage, Event, Skipped, WarcRecord
from stages.read.fields import charset, media_type, parse_fields
from stages.read.http import Body, read_message
from stages.read.members import Gap, Lost, Member, Place, begins_record, members
from stages.read.recognise import RECORD_START, RECORD_START_LENGTH, UnreadableInput, recognise
from stages.read.tape import Tape

__all__ = ["Damage", "Event", "Skipped", "UnreadableInput", "WarcRecord", "read_warc"]

MAX_PAYLOAD = 32 << 20
MAX_HEADER = 1 << 20

RECORD_TYPES = frozenset({"response", "resource", "conversion"})
# The blank line, or a record that begins where the header should have ended.
HEADER_END = re.compile(rb"\n\r?\n|" + RECORD_START.pattern)
LENGTH = re.compile(r"\d{1,18}", re.ASCII)
DERIVED = "<urn:sha1:"


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bytes that a payload and a header may have."""

    payload: int
    header: int


def read_warc(stream: BinaryIO, *, max_payload: int = MAX_PAYLOAD, max_header: int = MAX_HEADER) -> Iterator[Event]:
    """Every record of a WARC file, gzip, zstd or uncompressed, in order, and what could not be read.

    `stream` needs only `read`; what it raises passes through. Holds a few times `max_payload` bytes at most (a block,
    its payload still encoded, and decoded) whatever the file contains, and for zstd the window that the file asks for,
    up to 128 MB. Raises UnreadableInput at once where the input is no WARC file; an empty one has no records.
    """
    tape = Tape(stream)
    parts = members(tape, recognise(tape))
    return _joined(_events(parts, Bounds(max_payload, max_header)))


def _events(parts: Iterable[Member | Gap], bounds: Bounds) -> Iterator[Event]:
    for part in parts:
        if isinstance(part, Gap):
            yield Damage(part.start, part.until - part.start, part.cause)
        else:
            yield from _member_events(Cursor(part), bounds)


def _joined(events: Iterable[Event]) -> Iterator[Event]:
    """Damage that touches is one damage, named by its first cause."""
    damage: Damage | None = None
    for event in events:
        if isinstance(event, Damage):
            if damage and event.offset <= damage.offset + damage.length:
                end = max(event.offset + event.length, damage.offset + damage.length)
                damage = Damage(damage.offset, end - damage.offset, damage.cause)
                continue
            if damage:
                yield damage
            damage = event
            continue
        if damage:
            yield damage
            damage = None
        yield event
    if damage:
        yield damage


def _member_events(cursor: Cursor, bounds: Bounds) -> Iterator[Event]:
    held: Event | None = None  # until what follows shows that the member is good so far
    member, ordinal, since = -1, 0, cursor.start
    try:
        while True:
            cursor.pass_blank_lines()
            ended = cursor.at_end()
            if held:
                yield held
            if ended:
                return
            place = cursor.place()
            first = place.member != member
            member, ordinal, since = place.member, 0 if first else ordinal, place.member if first else place.offset
            found = _record(cursor, place, ordinal, bounds)
            if isinstance(found, str):
                held = Damage(since, cursor.place().offset - since, found)
            else:
                held, ordinal = found, ordinal + 1
    except Lost as lost:
        yield Damage(since, max(0, lost.until - since), lost.cause)


def _record(cursor: Cursor, place: Place, ordinal: int, bounds: Bounds) -> WarcRecord | Skipped | str:
    """The record that the cursor stands at, or why there is none; the cursor moves behind it. What damage cut
    off comes out short, and goes no further: nothing is given out before what follows it was seen."""
    if not begins_record(cursor.look(0, cursor.see(5, across=True))):
        cursor.pass_to_record()
        return "bytes between records"
    blank = cursor.find(HEADER_END, RECORD_START_LENGTH, bounds.header)
    if blank is None or begins_record(cursor.look(blank[0] + 1, blank[1])):
        cursor.pass_to_record()
        return "record header without end"
    header = parse_fields(cursor.look(0, blank[1]))
    length = LENGTH.fullmatch(_first(header, "content-length"))
    if length is None:
        cursor.pass_to_record()
        return "record without Content-Length"
    block = _block(cursor, blank[1], int(length[0]), bounds)
    if block is None:
        return "record cut off"
    kind = _first(header, "warc-type").lower()
    if kind not in RECORD_TYPES:
        return Skipped(place.member, kind[:64])
    return _with_payload(header, kind, place.member, ordinal, block, bounds)


@dataclass(frozen=True, slots=True)
class Block:
    """What follows a record's header. `data` is only its beginning where it was too large to hold."""

    data: bytes
    too_large: bool = False


def _block(cursor: Cursor, start: int, length: int, bounds: Bounds) -> Block | None:
    """Takes a block said to have `length` bytes; None where an uncompressed file ends within.

    The length is believed if a record or the end of the member follows. If not, and a record begins within, the block
    ends there; else what is left over behind it is found to be no record, and is damage. A block also ends where its
    gzip member does.
    """
    hold = min(length, bounds.payload + bounds.header)
    there = cursor.see(start + hold, across=True) - start
    seen = cursor.see(start + hold + RECORD_START_LENGTH)
    stop = start + there
    if there == length and _follows_block(cursor.look(stop, seen)):
        return _take(cursor, start, stop)
    inner = cursor.record_within(start - 1, seen)
    if inner is not None and inner < stop:
        block = _take(cursor, start, inner)
        return Block(_without_line_ends(block.data))
    if there == length:
        return _take(cursor, start, stop)
    if there == hold:
        block = Block(cursor.look(start, start + min(there, bounds.header)), too_large=True)
        cursor.move(stop)
        rest = length - hold
        complete = cursor.pass_to_record(rest) == rest or bool(cursor.see(1))
    else:
        block = Block(_without_line_ends(_take(cursor, start, stop).data))
        complete = False
    return block if complete or not cursor.whole_file else None


def _take(cursor: Cursor, start: int, stop: int) -> Block:
    data = cursor.look(start, stop)
    cursor.move(stop)
    return Block(data)


def _follows_block(data: bytes) -> bool:
    following = data.lstrip(b"\r\n")
    return not following or begins_record(following) or b"WARC/".startswith(following.upper())


def _without_line_ends(data: bytes) -> bytes:
    """Without the two line ends that close a record (WARC 1.1 section 4)."""
    for _ in range(2):
        data = data.removesuffix(b"\n").removesuffix(b"\r")
    return data


def _with_payload(
    header: dict[str, list[str]], kind: str, offset: int, ordinal: int, block: Block, bounds: Bounds
) -> WarcRecord:
    declared = _first(header, "content-type")
    mime = media_type(declared)
    body = Body(block.data, None, mime, charset(declared))
    if kind == "response" or mime == "application/http":
        message = read_message(block.data, bounds.payload, bounds.header)
        if message.status is not None:
            body = message
        elif mime == "application/http":
            body = Body(block.data)
    payload, fault = body.payload, body.fault
    if block.too_large or len(payload) > bounds.payload:
        payload, fault = b"", "payload_too_large"
    return WarcRecord(
        offset=offset,
        ordinal=ordinal,
        type=kind,
        id=_first(header, "warc-record-id") or derived_id(offset, ordinal, payload),
        url=_first(header, "warc-target-uri").removeprefix("<").removesuffix(">"),
        date=_first(header, "warc-date"),
        mime=body.mime,
        identified=_first(header, "warc-identified-payload-type"),
        charset=body.charset,
        status=body.status,
        truncated=_first(header, "warc-truncated")[:64] or ("short_body" if body.cut_short else None),
        payload=payload,
        fault=fault,
    )


def _first(header: dict[str, list[str]], name: str) -> str:
    """A field's value, of several the first, of none ""."""
    return header.get(name, [""])[0]


def derived_id(offset: int, ordinal: int, payload: bytes) -> str:
    """The id of a record that has none, from its place and payload."""
    return f"{DERIVED}{hashlib.sha1(b'%d:%d:' % (offset, ordinal) + payload).hexdigest()}>"
