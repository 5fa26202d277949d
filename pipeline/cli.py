"""The command line. Thin: each command parses, calls, prints. People's output goes to stderr when --json asks for
stdout.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from pipeline import __version__
from pipeline.client import commands, schedule_commands
from pipeline.command import (
    EXIT_DIFFERENT,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_WRONG,
    Command,
    as_json,
    job_file,
    output,
)
from pipeline.environment import SINGLE_THREADED
from pipeline.service import operator_commands

os.environ.update({name: os.environ.get(name, value) for name, value in SINGLE_THREADED.items()})

MAX_LINE = 1_000


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="crawlmill")
@click.option("--debug", is_flag=True, expose_value=False, help="Show tracebacks.")
def cli() -> None:
    """Web crawls into pretraining data, every record accounted for."""


for each in (*commands.COMMANDS, *schedule_commands.COMMANDS, *operator_commands.COMMANDS):
    cli.add_command(each)


def command(example: str) -> Callable[[Callable[..., Any]], click.Command]:
    return cli.command(cls=Command, example=example)


dataset = click.argument("dataset", metavar="DIR")


@command("crawlmill run examples/quickstart.yaml --output out --workers 2")
@job_file
@output
@click.option(
    "--workers",
    type=click.IntRange(1),
    metavar="N",
    help="Processors of the Ray that is started here; all when left out.",
)
@click.option(
    "--address", metavar="A", help="Join the cluster of the Ray node on this host, e.g. auto or 127.0.0.1:6379."
)
@click.option(
    "--engine",
    type=click.Choice(["ray", "inline"]),
    default="ray",
    show_default=True,
    help="inline: this process alone.",
)
@as_json
def run(job: Path, output: str | None, workers: int | None, address: str | None, engine: str, as_json: bool) -> None:
    """Run a job here. On the same output it goes on where an earlier attempt ended."""
    from pipeline import progress
    from pipeline.engine import Engine
    from pipeline.engine.inline import InlineEngine
    from pipeline.plan import check_output, make_plan
    from pipeline.run import run as run_plan

    plan = make_plan(job, output)
    check_output(plan)
    limits, rate = plan.job.run, plan.job.source.requests_per_second
    if engine == "inline":
        if workers or address:
            raise click.UsageError("--engine inline uses this process: leave --workers and --address out")
        chosen: Engine = InlineEngine(rate)
    else:
        if workers and address:
            raise click.UsageError(
                "--workers is for a Ray started here; a cluster has the processors it has: leave one of the two out"
            )
        from pipeline.budget import hosts_among
        from pipeline.engine.ray import RayEngine

        hosts = hosts_among(each.path for each in plan.inputs)
        chosen = RayEngine(workers, address, limits.cpus_per_shard, limits.memory_per_shard, rate, hosts=hosts)
    try:
        with chosen:
            manifest = progress.show(plan, run_plan(plan, chosen))
    except (KeyboardInterrupt, SystemExit) as ended:  # Ctrl-C, SIGTERM
        again = shlex.join(["crawlmill", *sys.argv[1:]])
        click.echo(f"interrupted; finished shards are kept. Go on with: {again}", err=True)
        sys.exit(getattr(ended, "code", EXIT_INTERRUPTED))
    if as_json:
        click.echo(json.dumps(manifest, ensure_ascii=False))
    if manifest["state"] != "complete":
        sys.exit(EXIT_FAILED)


@command("crawlmill plan examples/quickstart.yaml")
@job_file
@output
@as_json
def plan(job: Path, output: str | None, as_json: bool) -> None:
    """Check a job and list what it would read; changes nothing."""
    from pipeline.plan import check_output, make_plan
    from pipeline.printing import print_plan

    made = make_plan(job, output)
    resumes = check_output(made)
    if as_json:
        click.echo(
            json.dumps(
                {
                    **made.identity,
                    "name": made.job.name,
                    "fingerprint": made.fingerprint,
                    "output": made.output,
                    "resumes": resumes,
                }
            )
        )
    else:
        print_plan(made, resumes)


@command("crawlmill inspect out --reason too_few_words -n 3")
@dataset
@click.option("--url", metavar="U", help="An exact URL, or a pattern with *.")
@click.option("--id", "record_id", metavar="I", help="A WARC-Record-ID.")
@click.option("--reason", metavar="R", help="Records that left for this reason.")
@click.option("--stage", metavar="S", help="Records that left at this stage.")
@click.option("--kept", is_flag=True, help="Kept records only.")
@click.option("-n", "limit", type=click.IntRange(1), default=5, show_default=True, help="At most so many.")
@as_json
def inspect(
    dataset: str,
    url: str | None,
    record_id: str | None,
    reason: str | None,
    stage: str | None,
    kept: bool,
    limit: int,
    as_json: bool,
) -> None:
    """Show records, what happened to them, and why."""
    from pipeline.audit import explore
    from pipeline.command import console

    store = _readable(dataset)
    with _refusing(f"{dataset}: "):
        found = list(
            explore.find(
                store, url=url, id=record_id, reason=reason, stage=stage, kept=True if kept else None, limit=limit
            )
        )
    if as_json:
        click.echo(json.dumps([explore.as_json(each) for each in found], ensure_ascii=False))
        return
    for each in found:
        explore.render(each, console())
    if not found:
        click.echo("no such record", err=True)


@command("crawlmill verify out")
@dataset
@as_json
def verify(dataset: str, as_json: bool) -> None:
    """Recompute every checksum, the counts, and the account of every record; exit status 3 where something differs."""
    from pipeline.audit.verify import verify as differences
    from pipeline.store import Store

    with _refusing():
        found = list(differences(Store(dataset)))
    if as_json:
        click.echo(json.dumps([{"path": each.path, "problem": each.problem} for each in found], ensure_ascii=False))
    else:
        for each in found:
            click.echo(f"{each.path}: {each.problem}")
        many = f"{len(found)} difference{'s' * (len(found) > 1)}"
        click.echo(many if found else "everything is as the manifest says")
    if found:
        sys.exit(EXIT_DIFFERENT)


@command("crawlmill gc out")
@dataset
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@click.option("--force", is_flag=True, help="Also if something was written within the last hour.")
def gc(dataset: str, dry_run: bool, force: bool) -> None:
    """Remove what dead attempts left behind. Not for a folder that a run is writing to."""
    from pipeline.gc import collect
    from pipeline.store import Store

    with _refusing():
        removed = collect(Store(dataset), force=force, dry_run=dry_run)
    for each in removed:
        click.echo(f"{'would remove' if dry_run else 'removed'} {each.path} ({each.bytes} bytes)")
    click.echo(f"{len(removed)} files, {sum(each.bytes for each in removed)} bytes", err=True)


@command("crawlmill report out")
@dataset
def report(dataset: str) -> None:
    """Write DIR/report.html and DIR/README.md again."""
    from pipeline.report.card import write_card
    from pipeline.report.page import write_report

    store = _readable(dataset)
    write_report(store)
    write_card(store)
    click.echo(f"{store.root}/report.html")


@command("crawlmill recipes fineweb")
@click.argument("name", required=False)
@as_json
def recipes(name: str | None, as_json: bool) -> None:
    """List the shipped recipes, or print one."""
    from pipeline.printing import print_recipe, print_recipes

    if name is None:
        print_recipes(as_json)
    else:
        print_recipe(name, as_json)


@command("crawlmill stages minhash --similarity 0.8")
@click.argument("name", required=False)
@click.option("--set", "fields", multiple=True, metavar="FIELD=VALUE", help="A field, for what follows from it.")
@click.option("--similarity", type=click.FloatRange(0, 1, True, True), help="minhash: choose bands and rows for this.")
@as_json
def stages(name: str | None, fields: tuple[str, ...], similarity: float | None, as_json: bool) -> None:
    """List the stages, or show one: its source, fields, defaults and reasons.

    Of minhash also the chance that it compares two texts, by how similar they are. --similarity chooses the bands and
    rows (of as many hashes) that part best there.
    """
    from pipeline.printing import print_curve, print_stage, print_stages

    if similarity is not None and name != "minhash":
        raise click.UsageError("--similarity is for minhash: crawlmill stages minhash --similarity 0.8")
    if name is None:
        print_stages(as_json)
    elif name == "minhash" and (fields or similarity is not None):
        print_curve(fields, similarity, as_json)
    elif fields:
        raise click.UsageError("--set is for minhash: crawlmill stages minhash --set bands=20 --set rows=6")
    else:
        print_stage(name, as_json)


@command("crawlmill sample crawl")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
def sample(folder: Path) -> None:
    """Write the sample crawl: four small WARC files that look like Common Crawl's."""
    from pipeline.sample.crawl import write_sample

    for path in write_sample(folder):
        click.echo(str(path))


@command("crawlmill doctor")
@as_json
def doctor(as_json: bool) -> None:
    """Check this environment, and say how to mend it."""
    from pipeline.doctor import examine

    findings = examine()
    if as_json:
        click.echo(json.dumps([{"check": each.check, "ok": each.ok, "said": each.said} for each in findings]))
    else:
        for each in findings:
            click.echo(f"{'ok  ' if each.ok else 'BAD '} {each.check}: {each.said}")
    if not all(each.ok for each in findings):
        sys.exit(EXIT_FAILED)


def _finished(dataset: str) -> Any:
    """The store of a run that came to its end. Raises JobError."""
    from pipeline import manifest
    from pipeline.spec import JobError
    from pipeline.store import Store

    with _refusing():
        store = Store(dataset)
    if not store.exists(manifest.FILE):
        raise JobError(
            f"{dataset}: no manifest.json there: not a dataset of crawlmill, or a run that has not come to its end"
        )
    return store


def _readable(dataset: str) -> Any:
    """The same, of a manifest that can be read as one."""
    from pipeline.audit.dataset import open_dataset

    store = _finished(dataset)
    with _refusing(f"{dataset}/manifest.json: "):
        open_dataset(store)
    return store


@contextmanager
def _refusing(place: str = "") -> Iterator[None]:
    """What a function refuses of its arguments is what is wrong with the command line; `place` begins the line."""
    from pipeline.spec import JobError

    try:
        yield
    except ValueError as error:
        said = str(error)
        raise JobError(said if said.startswith(place) else place + said) from error


def main() -> None:
    """The program. Exit status: see README.md, Commands."""
    try:
        cli(standalone_mode=False)
    except (click.exceptions.Exit, SystemExit) as ended:
        sys.exit(getattr(ended, "exit_code", getattr(ended, "code", 0)))
    except click.exceptions.Abort:
        sys.exit(EXIT_INTERRUPTED)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except click.exceptions.NoArgsIsHelpError as asked:
        click.echo(asked.format_message(), err=True)
        sys.exit(EXIT_WRONG)
    except click.ClickException as error:
        _complain(error.format_message(), EXIT_WRONG)
    except Exception as error:  # the last resort of the program: one line for people, the traceback with --debug
        _complain(*in_a_line(error))


def in_a_line(error: Exception) -> tuple[str, int]:
    """What to say of an error, and the exit status."""
    from pipeline.client.connection import Refused, ServiceError

    if isinstance(error, ServiceError):  # before what takes seconds to import
        return str(error), EXIT_WRONG if isinstance(error, Refused) else EXIT_FAILED

    from pipeline.assets import AssetError
    from pipeline.engine import EngineError
    from pipeline.faults import InputError, StoreError
    from pipeline.run import RunFailed
    from pipeline.spec import JobError

    said = str(error)
    if isinstance(error, JobError | AssetError | EngineError | InputError):
        return said, EXIT_WRONG
    if isinstance(error, StoreError | RunFailed):
        return said, EXIT_FAILED
    if isinstance(error, OSError) and error.strerror:  # of the system, where no store stands in between: no such folder
        return f"{error.filename or 'here'}: {error.strerror}", EXIT_FAILED
    return (
        f"a defect of crawlmill: {type(error).__name__}: {said} (crawlmill --debug … shows where; please report it)",
        EXIT_FAILED,
    )


def _complain(said: str, status: int) -> None:
    """End with one line, whatever a file's name or a driver's message holds."""
    from pipeline.report.visible import line

    if "--debug" in sys.argv:
        traceback.print_exc()
    click.echo(f"crawlmill: {line(' '.join(said.split()), MAX_LINE)}", err=True)
    sys.exit(status)


if __name__ == "__main__":
    main()
