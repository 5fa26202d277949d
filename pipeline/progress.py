"""A run's events on a terminal: shards, records, rate, kept share and time left during it, and a summary after it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from pipeline.command import console
from pipeline.events import Event, Exchanging, Finished, Packing, ShardDone, Started, Working
from pipeline.plan import Plan

LOG_SECONDS = 30
"""Without a terminal a line of progress is printed so often."""


class Tally:
    """What has been done so far, and how long the rest will take. Times are seconds on a monotonic clock."""

    def __init__(self, now: float) -> None:
        self._start = now
        self._running: dict[int, tuple[int, int]] = {}
        self._over: set[int] = set()
        self.shards = self.done = self.read = self.kept = self.failed_shards = 0
        self._read_earlier = 0

    def take(self, event: Event, now: float) -> None:
        """Count an event."""
        if isinstance(event, Started):
            self._start = now
            self._running.clear()
            self._over = {report.number for report in event.done}
            self.shards, self.done = event.shards, len(event.done)
            self.read = self._read_earlier = sum(report.read for report in event.done)
            self.kept = sum(report.kept for report in event.done)
        elif isinstance(event, Working):
            late = self._over & event.shards.keys()  # word of a shard may come after its report
            self._running |= {number: counts for number, counts in event.shards.items() if number not in late}
        elif isinstance(event, ShardDone):
            self._running.pop(event.report.number, None)
            self._over.add(event.report.number)
            self.done += 1
            self.failed_shards += event.report.unreadable is not None
            self.read += event.report.read
            self.kept += event.report.kept

    @property
    def underway(self) -> tuple[int, int]:
        """Records (read, kept) of shards that are being processed."""
        return sum(read for read, _ in self._running.values()), sum(kept for _, kept in self._running.values())

    def rate(self, now: float) -> float:
        """Records a second, of what this attempt has read."""
        return (self.read + self.underway[0] - self._read_earlier) / max(now - self._start, 1e-9)

    def line(self, now: float) -> str:
        """`12,345 records · 231/s · 43.1 % kept · 4:10 left`."""
        read, kept = self.read + self.underway[0], self.kept + self.underway[1]
        parts = [f"{read:,} records", f"{self.rate(now):,.0f}/s"]
        if read:
            parts.append(f"{kept / read:.1%} kept")
        left = self.seconds_left(now)
        if left is not None:
            parts.append(f"{int(left) // 3600}:{int(left) // 60 % 60:02}:{int(left) % 60:02} left")
        if self.failed_shards:
            parts.append(f"{self.failed_shards} shards failed")
        return " · ".join(parts)

    def seconds_left(self, now: float) -> float | None:
        """By records: unfinished shards are taken to hold as many as finished ones. None before the first is done."""
        rate = self.rate(now)
        if not self.done or not self.read or not rate:
            return None
        return max(0.0, self.read / self.done * self.shards - self.read - self.underway[0]) / rate


def show(plan: Plan, events: Iterable[Event]) -> dict[str, Any]:
    """Print a run's progress to stderr; returns its manifest."""
    out, tally = console(stderr=True), Tally(time.monotonic())
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[line]}"),
    )
    manifest: dict[str, Any] = {}
    said = time.monotonic()
    with Progress(*columns, console=out, disable=not out.is_terminal) as bar:
        task = bar.add_task("shards", total=len(plan.inputs), line="")
        for event in events:
            now = time.monotonic()
            tally.take(event, now)
            if isinstance(event, Started):
                what = f"shards after {event.after}" if event.after else "shards"
                bar.update(task, description=what, total=event.shards)
                if event.done:
                    out.print(f"{len(event.done)} of {event.shards} {what} were finished by an earlier attempt")
            elif isinstance(event, Exchanging):
                what = f"{event.stage}: {event.phase}"
                bar.update(task, description=what, completed=event.done, total=event.tasks, line="")
                if not out.is_terminal and now - said > LOG_SECONDS:
                    out.print(f"{what} {event.done}/{event.tasks}", highlight=False)
                    said = now
                continue
            elif isinstance(event, ShardDone) and event.report.unreadable:
                why = f"failed: {event.report.unreadable}"
                out.print(why, style="red", markup=False, highlight=False, soft_wrap=True)
            elif isinstance(event, Packing):
                bar.update(task, description="parts", completed=event.done, total=event.parts, line="")
                continue
            elif isinstance(event, Finished):
                if not tally.shards:
                    out.print("an earlier attempt finished this run; nothing was done")
                manifest = event.manifest
                break
            bar.update(task, completed=tally.done, line=tally.line(now))
            if not out.is_terminal and now - said > LOG_SECONDS:
                out.print(f"{tally.done}/{tally.shards} shards · {tally.line(now)}", highlight=False)
                said = now
    summary(plan, manifest, out)
    return manifest


def summary(plan: Plan, manifest: dict[str, Any], out: Console) -> None:
    """What came of a run, and what to do next."""
    totals = manifest["totals"]
    table = Table(box=None, pad_edge=False)
    for heading in ("stage", "in", "dropped", "failed", "out"):
        table.add_column(heading, justify="left" if heading == "stage" else "right")
    for row in manifest["funnel"]:
        table.add_row(row["stage"], *(f"{row[name]:,}" for name in ("in", "dropped", "failed", "out")))
    out.print(table)
    share = totals["kept"] / totals["records_read"] if totals["records_read"] else 0
    out.print(
        f"{totals['records_read']:,} read = {totals['kept']:,} kept ({share:.1%}) + {totals['dropped']:,} dropped"
        f" + {totals['failed']:,} failed; {totals['tokens']:,} tokens",
        highlight=False,
    )
    if totals["bytes_lost"]:
        out.print(f"{totals['bytes_lost']:,} bytes of damaged input were passed over", highlight=False)
    for alarm in manifest["alarms"]:
        out.print(f"look at this: {alarm}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    if manifest["state"] == "complete":
        out.print(
            f"dataset  {plan.output}/data\nreport   {plan.output}/report.html",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    else:
        out.print(
            f"FAILED: data/ was not written. See {plan.output}/report.html; the same command goes on from here.",
            style="bold red", markup=False, highlight=False, soft_wrap=True,
        )  # fmt: skip
