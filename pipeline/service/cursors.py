"""Where a page of a list ended, as one word for an address: whoever wants the next page hands it back as it is."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")


def write_cursor(*parts: object) -> str:
    """A cursor that holds some words, none of which has a space."""
    return base64.urlsafe_b64encode(" ".join(map(str, parts)).encode()).decode().rstrip("=")


def read_cursor(cursor: str, meant: Callable[[list[str]], _T]) -> _T:
    """What `meant` makes of the words. Raises ValueError for a cursor that no page gave, where `meant` raises it."""
    try:
        return meant(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode().split(" "))
    except (ValueError, OverflowError) as error:
        raise ValueError(f"cursor: {cursor[:80]!r} is none that a page gave; leave it out to begin anew") from error
