"""Chosen records of a WARC file, from their bytes alone: the same records as a reading of the whole file finds there.

An index says where a record's gzip member (or, in a file that is not compressed, the record) begins and how long it is.
What begins there is given out; whatever else such a stretch holds is damage, since nobody chose it.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import BinaryIO, cast

from stages.read.events import Damage, Event, WarcRecord
from stages.read.recognise import UnreadableInput
from stages.read.warc import DERIVED, derived_id, read_warc

BITE = 2**16


def read_chosen(stream: BinaryIO, ranges: Iterable[tuple[int, int]]) -> Iterator[Event]:
    """Events with their offsets in the file. `stream` holds the stretches of the file that `ranges` (first byte, byte
    to stop before) name, one behind the other; it may end early, where the file does.
    """
    for start, stop in ranges:
        window = _Window(stream, stop - start)
        for event in _first_member(window):
            yield _moved(event, start)
        window.drain()


def _first_member(window: _Window) -> Iterator[Event]:
    """What begins at the start of a window, and as damage what else is in it."""
    empty = True
    try:
        for event in read_warc(cast(BinaryIO, window)):
            if event.offset > 0 and not isinstance(event, Damage):
                window.drain()
                yield Damage(event.offset, window.count - event.offset, "not the record that was chosen")
                return
            empty = False
            yield event
    except UnreadableInput:
        window.drain()
    if empty:
        yield Damage(0, window.count, "no WARC record" if window.count else "behind the end of the file")


def _moved(event: Event, by: int) -> Event:
    """An event of a window that begins `by` bytes into the file."""
    offset = event.offset + by
    if isinstance(event, WarcRecord) and _from_place(event):
        event = replace(event, id=derived_id(offset, event.ordinal, event.payload))
    return replace(event, offset=offset)


def _from_place(record: WarcRecord) -> bool:
    """Whether the record has no id of its own, but one that was derived from where it stands."""
    if not record.id.startswith(DERIVED):
        return False
    return record.id == derived_id(record.offset, record.ordinal, record.payload)


class _Window(io.RawIOBase):
    """The next `length` bytes of a stream, fewer where it ends. `count`: how many of them were read."""

    def __init__(self, stream: BinaryIO, length: int) -> None:
        self._stream, self._left, self.count = stream, length, 0

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        data = self._stream.read(self._left if size is None or size < 0 else min(size, self._left))
        self._left -= len(data)
        self.count += len(data)
        return data

    def drain(self) -> None:
        while self.read(BITE):
            pass
