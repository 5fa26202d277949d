"""Records of a run, looked up for people: bounded in number and in time. How many do it at once is for callers to say.

A ledger of a whole crawl takes longer to read than anybody waits. Reading stops where the time is over (between two
files, or two records), and what was found until then is handed over as just that.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

from pipeline.audit.lookup import At, Found, find
from pipeline.service.cursors import read_cursor, write_cursor
from pipeline.store import Store

SECONDS = 20.0
MAX_LIMIT = 50
_EVERYTHING = 2**62


class OutOfTime(Exception):
    """The time of a search is over."""


@dataclass(frozen=True)
class TimedStore(Store):
    """A store that opens nothing after `deadline`, in seconds of the monotonic clock."""

    deadline: float

    def open_read(self, path: str) -> BinaryIO:
        self.check()
        return super().open_read(path)

    def check(self) -> None:
        """Raises OutOfTime."""
        if time.monotonic() > self.deadline:
            raise OutOfTime


@dataclass(frozen=True)
class Query:
    """What a record must be; "" asks for nothing. outcome: kept, dropped or failed; language: as eng_Latn."""

    url: str = ""
    reason: str = ""
    stage: str = ""
    language: str = ""
    outcome: str = ""
    id: str = ""
    duplicate_of: str = ""

    @property
    def asks(self) -> dict[str, Any]:
        """The part that the ledger's reader takes."""
        kept = {"kept": True, "dropped": False, "failed": False}.get(self.outcome)
        words = {name: getattr(self, name) or None for name in ("url", "reason", "stage", "id")}
        return {**words, "kept": kept}

    def fits(self, found: Found) -> bool:
        """The part that is compared record by record."""
        return (
            (not self.language or found.language == self.language)
            and (not self.outcome or found.record["outcome"] == self.outcome)
            and (not self.duplicate_of or found.record["duplicate_of"] == self.duplicate_of)
        )


@dataclass(frozen=True)
class Results:
    """Some records. following: the cursor of what was not looked at; None at the end, or where no record was looked at;
    whole: False where the time was over before the ledger was.
    """

    found: list[Found]
    following: str | None
    whole: bool


def search(
    root: str,
    query: Query,
    cursor: str | None = None,
    limit: int = MAX_LIMIT,
    seconds: float = SECONDS,
    fits: Callable[[Found], bool] = lambda found: True,
) -> Results:
    """Records of the run in `root`, after where a cursor says. fits: what else must hold of one.

    Raises what `pipeline.audit.lookup.find` does: ValueError for a stage, reason or cursor that the run cannot have,
    StoreError.
    """
    found: list[Found] = []
    last: Found | None = None
    after = read_cursor(cursor, _place) if cursor is not None else None
    store = TimedStore(root, time.monotonic() + seconds)
    with contextlib.suppress(OutOfTime):
        for each in find(store, **query.asks, after=after, limit=_EVERYTHING):
            if query.fits(each) and fits(each):
                if len(found) == limit:
                    return Results(found, write_cursor(*found[-1].at), True)
                found.append(each)
            last = each
            store.check()
        return Results(found, None, True)
    return Results(found, write_cursor(*last.at) if last is not None else None, False)


def _place(words: list[str]) -> At:
    if not re.fullmatch(r"part-[0-9]+\.parquet [0-9]{1,18} [0-9]{1,18}", " ".join(words)):
        raise ValueError("no place in a ledger")
    part, offset, ordinal = words
    return part, int(offset), int(ordinal)
