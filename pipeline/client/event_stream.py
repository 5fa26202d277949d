"""Server-sent events, read from bytes as they come (WHATWG HTML, section 9.2.6).

Connecting, and connecting again, is the caller's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

MAX_EVENT = 16 * 2**20
"""Bytes. The largest that the service sends, a snapshot of 100,000 shards, is a hundredth of it."""
_LINE_END = re.compile(rb"\r\n|\r|\n")


class BrokenStream(ValueError):
    """What came is no stream of events."""


@dataclass(frozen=True)
class ServerEvent:
    """id: what to send as Last-Event-ID to get those that follow; "" where none came yet."""

    kind: str
    data: str
    id: str


def read_events(chunks: Iterable[bytes], last_id: str = "") -> Iterator[ServerEvent]:
    """The events of a stream; what its end cuts off is dropped, as the standard wants. Raises BrokenStream."""
    kind, size = "", 0
    data: list[str] = []
    for line in _lines(chunks):
        if not line:
            if data:
                yield ServerEvent(kind or "message", "\n".join(data), last_id)
            kind, data, size = "", [], 0
            continue
        name, _, raw = line.partition(b":")
        value = raw.removeprefix(b" ").decode("utf-8", "replace")
        if name == b"data":
            size += len(raw)
            if size > MAX_EVENT:
                raise BrokenStream(f"an event of more than {MAX_EVENT} bytes")
            data.append(value)
        elif name == b"event":
            kind = value
        elif name == b"id" and "\0" not in value:
            last_id = value


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Lines that ended: by CR LF, CR or LF, wherever chunks part them."""
    pieces: list[bytes] = []
    size, after_cr = 0, False
    for chunk in chunks:
        rest = chunk.removeprefix(b"\n") if after_cr else chunk
        after_cr = chunk.endswith(b"\r") if chunk else after_cr
        first, *others = _LINE_END.split(rest)
        pieces.append(first)
        size += len(first)
        if size > MAX_EVENT:
            raise BrokenStream(f"a line of more than {MAX_EVENT} bytes")
        for other in others:
            yield b"".join(pieces)
            pieces, size = [other], len(other)
