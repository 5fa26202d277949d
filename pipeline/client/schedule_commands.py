"""Commands that speak to a service about schedules, and about the crawl snapshots that some of them wait for."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from pipeline.client.commands import connect, print_json, server, tell
from pipeline.command import Command, Group, as_json, console, job_file, output

_UNITS = {"s": 1, "min": 60, "h": 3_600, "d": 86_400}


class Duration(click.ParamType[int]):
    """Seconds, written as 90s, 30min, 1h or 2d."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = re.fullmatch(r"([0-9]{1,6})(s|min|h|d)", str(value))
        if match is None:
            self.fail(f"{value!r}: write 90s, 30min, 1h or 2d", param, ctx)
        return int(match[1]) * _UNITS[match[2]]


@click.group(cls=Group, example='crawlmill schedule add weekly job.yaml --cron "0 6 * * MON" --zone Europe/Berlin')
def schedule() -> None:
    """Jobs that a service starts by itself: at times, or for every new crawl snapshot."""


name = click.argument("name")


@schedule.command("add", cls=Command, example="crawlmill schedule add every-crawl job.yaml --snapshots --catch-up")
@name
@job_file
@output
@click.option("--cron", metavar="EXPR", help='When, as in "0 6 * * MON": minute, hour, day, month, weekday.')
@click.option("--zone", metavar="TZ", help="In which --cron is read, as in Europe/Berlin; UTC when left out.")
@click.option("--snapshots", "by_snapshot", is_flag=True, help="For every new crawl snapshot.")
@click.option("--base", metavar="URL", help="Below which collinfo.json lies; where the service looks, when left out.")
@click.option("--since", metavar="WHEN", help="Not from now on but from a snapshot on (or: all), or from a day on.")
@click.option(
    "--catch-up/--newest-only",
    default=None,
    help="Make up for all that was missed, in order, or for the newest alone; the first where --since is given.",
)
@click.option("--retries", type=click.IntRange(0), metavar="N", help="Of a run that failed, before it waits for you.")
@click.option("--retry-after", type=Duration(), metavar="TIME", help="Before the first retry, as in 1h; then longer.")
@click.option("--priority", type=click.IntRange(-100, 100), default=0, show_default=True, help="Higher goes first.")
@server
@as_json
def add(
    name: str,
    job: Path,
    output: str | None,
    cron: str | None,
    zone: str | None,
    by_snapshot: bool,
    base: str | None,
    since: str | None,
    catch_up: bool | None,
    retries: int | None,
    retry_after: int | None,
    priority: int,
    server: str | None,
    as_json: bool,
) -> None:
    """Have a service start a job again and again. Names and paths in it may say {snapshot}, or {date} and {time}."""
    from pipeline.client.job_files import for_schedule

    if by_snapshot == (cron is not None):
        raise click.UsageError('say when: either --cron "0 6 * * MON", or --snapshots')
    if by_snapshot and zone is not None:
        raise click.UsageError("--zone is for --cron: leave it out")
    if not by_snapshot and base is not None:
        raise click.UsageError("--base is for --snapshots: leave it out")
    trigger = {"snapshots": base or True} if by_snapshot else {"cron": cron, "zone": zone}
    wanted = {
        "name": name,
        "job": for_schedule(job, output),
        "trigger": _given({**trigger, "since": since}),
        "catch_up": catch_up,
        "retries": retries,
        "retry_seconds": retry_after,
        "priority": priority,
    }
    with connect(server) as client:
        made = client.add_schedule(_given(wanted))
    _show_one(made, as_json)


@schedule.command("list", cls=Command, example="crawlmill schedule list")
@server
@as_json
def list_(server: str | None, as_json: bool) -> None:
    """List a service's schedules."""
    with connect(server) as client:
        found = client.schedules()
    if as_json:
        print_json(found)
        return
    from pipeline.client.showing import print_schedules

    if found:
        print_schedules(console(), found)
    else:
        click.echo("no schedules yet; `crawlmill schedule add` makes one", err=True)


@schedule.command("show", cls=Command, example="crawlmill schedule show weekly")
@name
@server
@as_json
def show(name: str, server: str | None, as_json: bool) -> None:
    """Show one schedule: when it runs, what it does then, and its job."""
    with connect(server) as client:
        found = client.schedule(name)
    _show_one(found, as_json)


@schedule.command("remove", cls=Command, example="crawlmill schedule remove weekly")
@name
@server
def remove(name: str, server: str | None) -> None:
    """Remove a schedule. Its jobs stay, those that run go on."""
    with connect(server) as client:
        client.remove_schedule(name)
    click.echo(f"removed {name}")


@schedule.command("pause", cls=Command, example="crawlmill schedule pause weekly")
@name
@server
@as_json
def pause(name: str, server: str | None, as_json: bool) -> None:
    """Start nothing of a schedule until it is resumed."""
    with connect(server) as client:
        changed = client.pause_schedule(name)
    _show_one(changed, as_json)


@schedule.command("resume", cls=Command, example="crawlmill schedule resume weekly")
@name
@server
@as_json
def resume(name: str, server: str | None, as_json: bool) -> None:
    """Go on with a schedule that was paused."""
    with connect(server) as client:
        changed = client.resume_schedule(name)
    _show_one(changed, as_json)


@schedule.command("runs", cls=Command, example="crawlmill schedule runs every-crawl")
@name
@server
@as_json
def runs(name: str, server: str | None, as_json: bool) -> None:
    """List what became of a schedule's occasions: snapshots, or times."""
    with connect(server) as client:
        found = client.runs(name)
    if as_json:
        print_json(found)
        return
    from pipeline.client.showing import print_runs

    if found:
        print_runs(console(), name, found)
    else:
        click.echo(f"{name} has not run yet", err=True)


@schedule.command("retry", cls=Command, example="crawlmill schedule retry every-crawl CC-MAIN-2026-43")
@name
@click.argument("occasion")
@server
@as_json
def retry(name: str, occasion: str, server: str | None, as_json: bool) -> None:
    """Try a run again that waits for a person."""
    with connect(server) as client:
        again = client.retry_run(name, occasion)
    _show_run(name, again, as_json)


@schedule.command("skip", cls=Command, example="crawlmill schedule skip every-crawl CC-MAIN-2026-43")
@name
@click.argument("occasion")
@server
@as_json
def skip(name: str, occasion: str, server: str | None, as_json: bool) -> None:
    """Let a schedule go on without a run that failed or waits for a person, or without a snapshot to come."""
    with connect(server) as client:
        skipped = client.skip_run(name, occasion)
    _show_run(name, skipped, as_json)


@click.command(cls=Command, example="crawlmill snapshots")
@server
@as_json
def snapshots(server: str | None, as_json: bool) -> None:
    """List the crawl snapshots that a service knows, and which schedules have processed or missed them."""
    with connect(server) as client:
        found = client.snapshots()
    if as_json:
        print_json(found)
        return
    from pipeline.client.showing import print_snapshots

    if found.feed is not None and found.feed.failures:
        tell(f"{found.base} could not be asked, {found.feed.failures} times now: {found.feed.said}")
    if found.snapshots:
        print_snapshots(console(), found.snapshots)
    else:
        click.echo("none known yet; a service looks for them once a schedule wants them", err=True)


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """What was said; for the rest the service has defaults."""
    return {key: value for key, value in options.items() if value is not None}


def _show_one(schedule: Any, as_json: bool) -> None:
    if as_json:
        print_json(schedule)
        return
    from pipeline.client.showing import print_schedule

    print_schedule(console(), schedule, datetime.now(UTC))


def _show_run(name: str, run: Any, as_json: bool) -> None:
    if as_json:
        print_json(run)
        return
    from pipeline.client.showing import print_runs

    print_runs(console(), name, [run])


COMMANDS = (schedule, snapshots)
