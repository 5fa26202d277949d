"""Crawl snapshots laid out by year and week, with what each schedule made of them. Pure: no SQL, no markup.

A snapshot's id ends in the year and the ISO week in which its crawl began to be published (CC-MAIN-2026-43). Those of
the first years are named otherwise (CC-MAIN-2009-2010, CC-MAIN-2012) and stand at the first week of their last year.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

from pipeline.service.scheduling.scheduler import Run, Schedule, Snapshot, crawl_order, decide

STATES = ("waiting", "failed", "active", "due", "complete", "missed", "skipped", "known")
"""What may be said of a snapshot; of several schedules the first of these that one of them says.

missed: a schedule that does not catch up has gone on to a newer one; due: its run is yet to come; known: no schedule is
for it.
"""
_NAMED = re.compile(r"CC-MAIN-(\d{4})(?:-(\d{2}|\d{4}))?", re.ASCII)


@dataclass(frozen=True)
class Week:
    """A week of a year, and the ids of its snapshots."""

    number: int
    ids: Sequence[str]


@dataclass(frozen=True)
class Year:
    """All weeks of a year."""

    number: int
    weeks: Sequence[Week]


def week_of(snapshot: str) -> tuple[int, int] | None:
    """Year and week of a snapshot's id; None where it has no such name."""
    match = _NAMED.fullmatch(snapshot)
    if match is None:
        return None
    year, rest = int(match[1]), match[2]
    if rest is not None and len(rest) == 4:
        year, rest = int(rest), None
    week = int(rest) if rest is not None else 1
    return (year, week) if 1 <= week <= 53 and year > 0 else None


def calendar(snapshots: Iterable[str]) -> list[Year]:
    """The years that have any, the newest first, each with all of its weeks."""
    placed: dict[int, dict[int, list[str]]] = {}
    for snapshot in sorted(snapshots):
        if (place := week_of(snapshot)) is not None:
            placed.setdefault(place[0], {}).setdefault(place[1], []).append(snapshot)
    return [
        Year(year, [Week(n, weeks.get(n, ())) for n in range(1, max(weeks_in(year), *weeks) + 1)])
        for year, weeks in sorted(placed.items(), reverse=True)
    ]


def weeks_in(year: int) -> int:
    """52 or 53 (ISO 8601: the week of 28 December is a year's last)."""
    return date(year, 12, 28).isocalendar().week


def states_of(schedule: Schedule, runs: Sequence[Run], snapshots: Sequence[Snapshot], now: datetime) -> dict[str, str]:
    """What a schedule of snapshots made, or will make, of each that it is for, by id."""
    found = {run.occasion: str(run.state) for run in runs}
    ready = replace(schedule, paused=False)
    coming = [each.id for each in snapshots if each.id not in found and decide(now, [ready], [], [each])]
    newest = max([*found, *coming], key=crawl_order, default=None)
    for snapshot in coming:
        found[snapshot] = "due" if schedule.catch_up or snapshot == newest else "missed"
    return found


def foremost(states: Mapping[str, str]) -> str:
    """What to show of a snapshot, of the states that schedules have given it."""
    return next((state for state in STATES if state in states.values()), STATES[-1])
