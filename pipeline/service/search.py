"""Records of a run, looked up for people: bounded in number and in time. How many do it at once is for callers to say.

A ledger of a whole crawl takes longer to read than anybody waits. Reading stops where the time is over (between two
files, or two records), and what was found until then is handed over as just that.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

from pipeline.audit.explore import Found, find
from pipeline.store import Store

SECONDS = 20.0
MAX_LIMIT = 50
MAX_SKIPPED = 2_000
"""Whoever pages on and on has the texts of all that came before read again."""
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
    """Some records. more: others follow; whole: False where the time was over before the ledger was."""

    found: list[Found]
    more: bool
    whole: bool


def search(
    root: str,
    query: Query,
    skipped: int = 0,
    limit: int = MAX_LIMIT,
    seconds: float = SECONDS,
    fits: Callable[[Found], bool] = lambda found: True,
) -> Results:
    """Records of the run in `root`, after `skipped` others. fits: what else must hold of one.

    Raises what `pipeline.audit.lookup.find` does: ValueError for a stage or reason that the run cannot have,
    StoreError.
    """
    found: list[Found] = []
    passed = 0
    store = TimedStore(root, time.monotonic() + seconds)
    with contextlib.suppress(OutOfTime):
        for each in find(store, **query.asks, limit=_EVERYTHING):
            if query.fits(each) and fits(each):
                passed += 1
                if passed > skipped + limit:
                    return Results(found, True, True)
                if passed > skipped:
                    found.append(each)
            store.check()
        return Results(found, False, True)
    return Results(found, False, False)
