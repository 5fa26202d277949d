"""Commands that speak to a service about jobs. Thin: each asks, shows, and ends with the contract's status.

Loaded with the command line itself, so everything but click is imported where it is used.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.command import EXIT_FAILED, EXIT_INTERRUPTED, Command, as_json, console, job_file, output

if TYPE_CHECKING:
    from pydantic import BaseModel

    from pipeline.client.answers import Job
    from pipeline.client.client import Client

MAX_TAIL = 100_000
STATES = ("queued", "starting", "running", "cancelling", "complete", "failed", "cancelled")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")  # Ray's, of the processes that a log's lines come from

server = click.option(
    "--server",
    metavar="URL",
    envvar="CRAWLMILL_SERVER",
    show_envvar=True,
    help="The service; http://127.0.0.1:8321 when left out. Its token is taken from CRAWLMILL_TOKEN.",
)
which = click.argument("which", metavar="ID")
"""A job's id, the beginning of one, or a name that one recent job has."""
watching = click.option("--watch", is_flag=True, help="Show its progress until it is over.")


def command(example: str) -> Callable[[Callable[..., Any]], click.Command]:
    return click.command(cls=Command, example=example)


@command("crawlmill submit examples/quickstart.yaml --watch")
@job_file
@output
@click.option("--priority", type=click.IntRange(-100, 100), default=0, show_default=True, help="Higher goes first.")
@watching
@server
@as_json
def submit(job: Path, output: str | None, priority: int, watch: bool, server: str | None, as_json: bool) -> None:
    """Submit a job to a service. Relative paths in it begin at the service's data folder."""
    from pipeline.client.job_files import for_submission

    spec = for_submission(job, output)
    with connect(server) as client:
        try:
            queued = client.submit(spec, priority)
        except KeyboardInterrupt:
            click.echo("interrupted; the job may have been submitted: see `crawlmill jobs`", err=True)
            sys.exit(EXIT_INTERRUPTED)
        if not as_json:
            click.echo(f"job   {queued.id}\npage  {client.page(queued.id)}")
        _end(client, queued, watch, as_json, since=queued.created_at, server=server)


@command("crawlmill jobs --state running --state queued")
@click.option("--state", "states", multiple=True, type=click.Choice(STATES), help="In this state; repeatable.")
@click.option("--team", metavar="T", help="Of this team.")
@click.option("--name", metavar="N", help="With this in the name.")
@click.option("-n", "limit", type=click.IntRange(1), default=20, show_default=True, help="At most so many.")
@click.option("--all", "all_of_them", is_flag=True, help="However many there are.")
@server
@as_json
def jobs(
    states: tuple[str, ...],
    team: str | None,
    name: str | None,
    limit: int,
    all_of_them: bool,
    server: str | None,
    as_json: bool,
) -> None:
    """List a service's jobs, newest first."""
    with connect(server) as client:
        found = list(client.jobs(states, team, name, None if all_of_them else limit))
    if as_json:
        print_json(found)
        return
    from pipeline.client.showing import print_jobs

    if found:
        print_jobs(console(), found, datetime.now(UTC))
    else:
        click.echo("no such jobs" if states or team or name else "no jobs yet; `crawlmill submit` makes one", err=True)


@command("crawlmill status k3v7q2m7xyab --watch")
@which
@watching
@server
@as_json
def status(which: str, watch: bool, server: str | None, as_json: bool) -> None:
    """Show how far a job is, what left where, and what to do next; --watch ends with 1 if it does not complete."""
    with connect(server) as client:
        job = choose(client, which)
        if not as_json and not watch:
            from pipeline.client.showing import print_job

            print_job(console(), job, client.page(job.id), datetime.now(UTC), _same(server))
        _end(client, job, watch, as_json, since=None, server=server)


@command("crawlmill logs k3v7q2m7xyab --tail 50 --follow")
@which
@click.option("--tail", type=click.IntRange(0, MAX_TAIL), metavar="N", help="Only the last lines.")
@click.option("--follow", is_flag=True, help="Go on until the job is over.")
@server
def logs(which: str, tail: int | None, follow: bool, server: str | None) -> None:
    """Print what a job's driver printed: of a long log the last 4 MiB."""
    from pipeline.client.watching import log_lines
    from pipeline.report.visible import visible

    with connect(server) as client:
        job = choose(client, which)
        lines: Iterable[str] = (
            log_lines(client, job.id, tail) if follow else client.log(job.id, tail).removesuffix("\n").split("\n")
        )
        for each in lines:
            click.echo(visible(_COLOURS.sub("", each.rstrip("\r")), lines=True))


@command("crawlmill cancel k3v7q2m7xyab")
@which
@server
@as_json
def cancel(which: str, server: str | None, as_json: bool) -> None:
    """End a job; finished shards are kept, and `crawlmill retry` goes on from there."""
    with connect(server) as client:
        job = client.cancel(choose(client, which).id)
    if as_json:
        print_json(job)
    else:
        click.echo(f"job {job.id} is {job.state}")


@command("crawlmill retry k3v7q2m7xyab --watch")
@which
@watching
@server
@as_json
def retry(which: str, watch: bool, server: str | None, as_json: bool) -> None:
    """Queue a job again that failed or was cancelled; it goes on where it ended."""
    with connect(server) as client:
        job = client.retry(choose(client, which).id)
        if not as_json:
            click.echo(f"job {job.id} is {job.state}")
        _end(client, job, watch, as_json, since=job.changed_at, server=server)


def connect(server: str | None) -> Client:
    """The service that a command is for, with the token of the environment. Raises ServiceError."""
    from pipeline.client.client import Client
    from pipeline.client.connection import DEFAULT_SERVER

    return Client(server or DEFAULT_SERVER, os.environ.get("CRAWLMILL_TOKEN"), tell)


def choose(client: Client, words: str) -> Job:
    """The job that is meant; says which, where that was not plain. Raises ServiceError."""
    job = client.find(words)
    if job.id != words:
        tell(f"{words} is job {job.id}, {job.name}, {job.state}")
    return job


def tell(text: str) -> None:
    """A line to people."""
    from pipeline.report.visible import line

    click.echo(line(text, 1_000), err=True)


def print_json(answer: BaseModel | Iterable[BaseModel]) -> None:
    """What the service answered, as one document."""
    from pydantic import BaseModel

    def plain(each: BaseModel) -> Any:
        return each.model_dump(mode="json", exclude_unset=True)

    document = plain(answer) if isinstance(answer, BaseModel) else [plain(each) for each in answer]
    click.echo(json.dumps(document))


def _end(client: Client, job: Job, watch: bool, as_json: bool, since: datetime | None, server: str | None) -> None:
    """Watch a job if asked, print it as JSON if asked, and end with 1 where it was watched and did not complete."""
    if watch:
        job = _watch(client, job, since, server)
    if as_json:
        print_json(job)
    if watch and job.state != "complete":
        sys.exit(EXIT_FAILED)


def _watch(client: Client, job: Job, since: datetime | None, server: str | None) -> Job:
    """The job once it is over; its progress goes to stderr meanwhile."""
    from pipeline.client.showing import print_job, show
    from pipeline.client.watching import watch

    out = console(stderr=True)
    try:
        show(out, watch(client, job.id), since)
        job = client.job(job.id)
    except KeyboardInterrupt:
        same = _same(server)
        tell(
            f"no longer watched; the job goes on. Look again with: crawlmill status {job.id} --watch{same}"
            f" or end it with: crawlmill cancel {job.id}{same}"
        )
        sys.exit(EXIT_INTERRUPTED)
    print_job(out, job, client.page(job.id), datetime.now(UTC), _same(server))
    return job


def _same(server: str | None) -> str:
    """What a further command needs so that it speaks to the same service."""
    return f" --server {server}" if server and os.environ.get("CRAWLMILL_SERVER") != server else ""


COMMANDS = (submit, jobs, status, logs, cancel, retry)
