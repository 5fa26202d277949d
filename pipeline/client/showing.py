"""What a service said, as text for people: tables, a job's summary, and its bar while it runs.

Names, places and faults come from strangers: every string goes through `pipeline.report.visible` here.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import yaml
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from pipeline.client.answers import Job, JobEvent, Progress, Schedule, ScheduleRun, Snapshot
from pipeline.client.watching import Away, Seen
from pipeline.command import WIDE
from pipeline.report.visible import line

LOG_SECONDS = 30
"""Without a terminal a line of progress is printed so often."""
MAX_CELL, MAX_SAID = 60, 400
SHOWN_FAILURES = 5
_STYLES = {"complete": "green", "failed": "bold red", "cancelled": "yellow", "running": "cyan"}


def say(out: Console, text: str, style: str = "") -> None:
    """One line, whatever it holds."""
    out.print(Text(line(" ".join(text.split("\n")), MAX_SAID), style), soft_wrap=True)


def print_table(out: Console, headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table; headings that begin with > stand over numbers."""
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading.removeprefix(">"), justify="right" if heading.startswith(">") else "left")
    for row in rows:
        texts = [line(str(cell), MAX_CELL) for cell in row]
        table.add_row(*(Text(text, _STYLES.get(text, "")) for text in texts))
    out.print(table)


def print_jobs(out: Console, jobs: Iterable[Job], now: datetime) -> None:
    rows = [(job.id, job.name, job.team, job.state, *_numbers(job.progress), ago(job.created_at, now)) for job in jobs]
    print_table(out, ("id", "name", "team", "state", ">read", ">kept", ">left", ">submitted"), rows)


def print_job(out: Console, job: Job, page: str, now: datetime, same: str = "") -> None:
    """A job's state, how far it is, what left at which stage, what failed, and what to do next.

    same: ends the commands that are named, so that they are for the same service.
    """
    say(out, f"{job.name}  {job.id}  team {job.team}" + (f", attempt {job.attempt}" if job.attempt > 1 else ""), "bold")
    said = f": {job.said}" if job.said else ""
    say(out, f"{job.state} since {at(job.changed_at)} ({ago(job.changed_at, now)}){said}", _STYLES.get(job.state, ""))
    if job.progress is not None:
        print_progress(out, job.progress, over=job.over)
    for step in next_steps(job, page, same):
        say(out, step)


def print_progress(out: Console, progress: Progress, over: bool) -> None:
    """The numbers of a snapshot."""
    if not over:
        what, done, total = position(progress)
        say(out, f"{what} {done:,}/{total:,} · {progress_line(progress)}" if total else what)
    if progress.stages and progress.read:
        rows = [(s.stage, f"{s.dropped:,}", f"{s.failed:,}", f"{s.seconds:,.1f}") for s in progress.stages]
        print_table(out, ("stage", ">dropped", ">failed", ">seconds"), rows)
    if over and progress.read:
        counts = f"{progress.read:,} read = {progress.kept:,} kept ({_kept(progress)})"
        say(out, f"{counts} + {progress.dropped:,} dropped + {progress.failed:,} failed")
    for failure in progress.failures[:SHOWN_FAILURES]:
        say(out, f"could not be read: {failure.shard}: {failure.said}", "red")
    if (more := max(progress.shards_failed, len(progress.failures)) - SHOWN_FAILURES) > 0:
        say(out, f"and {more:,} more", "red")
    for alarm in progress.alarms:
        say(out, f"look at this: {alarm}", "yellow")


def next_steps(job: Job, page: str, same: str) -> Iterator[str]:
    """What somebody may want to do about a job in this state."""
    if job.state == "complete":
        yield f"dataset  {job.output}/data"
        yield f"report   {page}/report"
    elif job.over:
        yield f"look at  crawlmill logs {job.id} --tail 50{same}"
        yield f"go on    crawlmill retry {job.id}{same}"
        yield f"page     {page}"
    else:
        yield f"watch    crawlmill status {job.id} --watch{same}"
        yield f"page     {page}"


def print_schedules(out: Console, schedules: Iterable[Schedule]) -> None:
    schedules = list(schedules)
    rows = [(s.name, s.team, when(s.trigger), _next(s), s.waiting or "") for s in schedules]
    print_table(out, ("name", "team", "runs", "next", ">wait for you"), rows)
    for each in schedules:
        if each.awaited is not None:
            say(out, f"{each.name} waits for {each.awaited.occasion}: {each.awaited.said}", "yellow")


def print_schedule(out: Console, schedule: Schedule, now: datetime) -> None:
    """When a schedule runs, what it does then, and its job."""
    say(out, f"{schedule.name}  team {schedule.team}" + (", paused" if schedule.paused else ""), "bold")
    say(out, f"runs     {when(schedule.trigger)}")
    if schedule.next is not None and not schedule.paused:
        say(out, f"next     {at(schedule.next)}")
    missed = "made up for, all in order" if schedule.catch_up else "passed over, but for the newest"
    say(out, f"missed   {missed}")
    say(out, f"retries  {schedule.retries}, the first after {schedule.retry_seconds:,} s")
    if schedule.waiting:
        say(out, f"waiting  {schedule.waiting} of its runs, for you: crawlmill schedule runs {schedule.name}", "yellow")
    if schedule.awaited is not None:
        occasion = schedule.awaited.occasion
        say(out, f"waiting  for {occasion}: {schedule.awaited.said}", "yellow")
        say(out, f"         go on without it: crawlmill schedule skip {schedule.name} {occasion}", "yellow")
    say(out, "job")
    for row in yaml.safe_dump(dict(schedule.spec), sort_keys=False, allow_unicode=True, width=WIDE).splitlines():
        say(out, f"         {row}")


def print_runs(out: Console, schedule: str, runs: Iterable[ScheduleRun]) -> None:
    """Occasions and what became of them; and what to do about those that wait."""
    runs = list(runs)
    rows = [(r.occasion, r.state, r.attempts, r.job_id or "", at(r.started_at), at(r.ended_at)) for r in runs]
    print_table(out, ("occasion", "state", ">attempts", "job", "started", "ended"), rows)
    for run in runs:
        if run.state == "waiting":
            do = f"crawlmill schedule retry {schedule} {run.occasion}"
            say(out, f"waits for you: {do}; or go on without it: … skip …", "yellow")


def print_snapshots(out: Console, snapshots: Iterable[Snapshot]) -> None:
    rows = []
    for each in snapshots:
        crawled = f"{day(each.crawled_from)} to {day(each.crawled_to)}" if each.crawled_from else ""
        by = ", ".join(f"{name}: {state}" for name, state in sorted(each.schedules.items()))
        rows.append((each.id, crawled, at(each.seen_at) or "before", by))
    print_table(out, ("snapshot", "crawled", "first seen", "schedules"), rows)


def when(trigger: Mapping[str, Any]) -> str:
    """A schedule's trigger in words."""
    if "cron" in trigger:
        return f"{trigger['cron']} in {trigger.get('zone') or 'UTC'}"
    since = f", since {trigger['since']}" if trigger.get("since") else ""
    return f"every snapshot of {trigger.get('snapshots')}{since}"


def show(out: Console, seen: Iterable[Seen], since: datetime | None = None) -> None:
    """Print what is seen of a job until nothing more comes; of what befell it before `since`, nothing."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[line]}", markup=False),
    )
    said = time.monotonic()
    away = False
    with Bar(*columns, console=out, disable=not out.is_terminal) as bar:
        task = bar.add_task("waiting", total=None, line="")
        for each in seen:
            if isinstance(each, Away):
                if not away:
                    say(out, f"{each.said}; the job goes on, and the service is asked again", "yellow")
                away = True
                continue
            away = False
            if isinstance(each, JobEvent):
                if since is None or each.at >= since:
                    said_of_it = f": {each.said}" if each.said else ""
                    say(out, f"{at(each.at)}  {each.kind}{said_of_it}", _STYLES.get(each.kind, ""))
                continue
            what, done, total = position(each)
            counts = progress_line(each)
            bar.update(task, description=line(what, MAX_CELL), completed=done, total=total or None, line=counts)
            if not out.is_terminal and time.monotonic() - said > LOG_SECONDS:
                say(out, f"{what} {done:,}/{total:,} · {counts}")
                said = time.monotonic()


def position(progress: Progress) -> tuple[str, int, int]:
    """What is being done, how much of it is done, and of how much; 0 where that is not known."""
    if (step := progress.step) is not None:
        return f"{step.stage}: {step.phase}", step.done, step.tasks
    if progress.phase in ("shards", "over"):
        what = f"shards after {progress.after}" if progress.after and progress.phase == "shards" else "shards"
        return what, progress.shards_done, progress.shards
    return progress.phase or "starting", 0, 0


def progress_line(progress: Progress) -> str:
    """`12,345 records · 231/s · 43.1% kept · 0:04:10 left`, as `crawlmill run` shows it."""
    parts = [f"{progress.read:,} records"]
    if progress.rate is not None:
        parts.append(f"{progress.rate:,.0f}/s")
    if progress.read:
        parts.append(f"{_kept(progress)} kept")
    if progress.seconds_left is not None:
        parts.append(f"{_left(progress)} left")
    if progress.shards_failed:
        parts.append(f"{progress.shards_failed} shards failed")
    return " · ".join(parts)


def day(moment: datetime | None) -> str:
    """A day in UTC."""
    return moment.strftime("%Y-%m-%d") if moment is not None else ""


def at(moment: datetime | None) -> str:
    """A time where this program runs."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S") if moment is not None else ""


def ago(moment: datetime, now: datetime | None = None) -> str:
    """`3 min ago`."""
    seconds = max(0, int(((now or datetime.now(UTC)) - moment).total_seconds()))
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size or (unit == "min" and seconds >= size):
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


def _next(schedule: Schedule) -> str:
    if schedule.paused:
        return "paused"
    return schedule.awaited.occasion if schedule.awaited is not None else at(schedule.next)


def _numbers(progress: Progress | None) -> tuple[str, str, str]:
    if progress is None:
        return "", "", ""
    return f"{progress.read:,}", _kept(progress), _left(progress)


def _left(progress: Progress) -> str:
    if progress.seconds_left is None:
        return ""
    left = int(progress.seconds_left)
    return f"{left // 3600}:{left // 60 % 60:02}:{left % 60:02}"


def _kept(progress: Progress | None) -> str:
    return f"{progress.kept / progress.read:.1%}" if progress is not None and progress.read else ""
