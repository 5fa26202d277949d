"""What the service has a cluster run: `python -m pipeline.service.driver OUTPUT SUBMISSION_ID`, as a Ray job.

It reads the job from the output, plans it, runs it on the cluster it finds itself on, and writes how far it is beside
the data. The service may be gone meanwhile; nothing here speaks to it. Exit status as of `crawlmill run`, and 143 by
SIGTERM.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from pipeline.environment import SINGLE_THREADED

os.environ.update({name: os.environ.get(name, value) for name, value in SINGLE_THREADED.items()})

import click

from pipeline.budget import hosts_among
from pipeline.engine import EngineError
from pipeline.engine.installed import difference, installed
from pipeline.engine.ray import RayEngine
from pipeline.events import Finished, ShardDone
from pipeline.faults import MissingFile, StoreError
from pipeline.patience import Patience, Terms
from pipeline.plan import plan_job
from pipeline.run import run
from pipeline.service.policy import Storage, StoragePolicy
from pipeline.service.progress import SUBMITTED, Tracker, write_progress
from pipeline.spec import CommonCrawlSource, parse_job
from pipeline.store import Store

SECONDS = 2.0
"""Between two snapshots of progress; longer where there are ten thousands of shards."""
DONE, FAILED = 0, 1
TERMS = Terms(patience=300.0)
"""How long storage that is away is waited for, where a whole attempt hangs on one small file."""
T = TypeVar("T")


class Reporter:
    """Writes snapshots of a tracker's in a thread, so that one that plans or waits is seen to live.

    order: the file with what this attempt is to do. Where it is gone, the service has given the attempt up and may have
    begun another: this one ends.
    """

    def __init__(self, store: Store, tracker: Tracker, order: str, terms: Terms = TERMS) -> None:
        self._store, self._tracker, self._order, self._terms = store, tracker, order, terms
        self._lock, self._over = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._write_on, name="progress", daemon=True)

    def start(self) -> None:
        """Raises StoreError."""
        _patiently(lambda: self._write(None), self._terms)
        self._thread.start()

    def take(self, event: Any) -> None:
        with self._lock:
            self._tracker.take(event, time.monotonic())

    def end(self, state: str, said: str, patience: float | None = None) -> None:
        """The last snapshot, with the outcome. Where storage does not take it, the exit status says how the run ended,
        and the log's last line why. patience: seconds, where they are others than usual.
        """
        self._over.set()
        self._thread.join()
        terms = self._terms if patience is None else replace(self._terms, patience=patience)
        try:
            _patiently(lambda: self._write({"state": state, "said": said}), terms)
        except StoreError as error:
            print(f"progress: {error}\n{state}: {said}", file=sys.stderr, flush=True)

    def _write_on(self) -> None:
        seconds = SECONDS
        while not self._over.wait(seconds):
            try:
                if not self._store.exists(self._order):
                    print("the service has given this attempt up", file=sys.stderr, flush=True)
                    os.kill(os.getpid(), signal.SIGTERM)
                    return
                seconds = max(SECONDS, self._write(None) / 10_000)
            except StoreError as error:  # storage may be away for a while; what counts is written by the run itself
                print(f"progress: {error}", file=sys.stderr, flush=True)

    def _write(self, outcome: dict[str, str] | None) -> int:
        with self._lock:
            snapshot = self._tracker.snapshot(time.monotonic(), outcome)
        write_progress(self._store, snapshot)
        return int(snapshot["shards"])


def _patiently(step: Callable[[], T], terms: Terms) -> T:
    """What comes of a step, made again where storage is away for a while. Raises StoreError."""
    patience = Patience(terms, "")
    while True:
        try:
            return step()
        except StoreError as error:
            seconds = patience.wait(0.0) if not isinstance(error, MissingFile) else None
            if seconds is None:
                raise
            print(f"{error}; storage is asked again in {seconds:.0f} s", file=sys.stderr, flush=True)
            terms.sleep(seconds)


def drive(output: str, submission_id: str, terms: Terms = TERMS) -> int:
    """Do the attempt; its exit status. Raises StoreError where not even the job can be read."""
    store = Store(output)
    order = f"{SUBMITTED}/{submission_id}.json"
    given = json.loads(_patiently(lambda: store.read_bytes(order), terms))
    tracker = Tracker(submission_id, time.monotonic())
    reporter = Reporter(store, tracker, order, terms)
    reporter.start()
    try:
        state, said = _run(given, output, reporter, tracker)
    except SystemExit:  # by SIGTERM: somebody cancelled the job, or the node goes down
        reporter.end("interrupted", "the driver was told to end; finished shards are kept", patience=0.0)
        raise
    except Exception as error:  # the last resort of the program, as in pipeline.cli: one line, the traceback in the log
        from pipeline.cli import in_a_line

        traceback.print_exc()
        said, status = in_a_line(error)
        reporter.end("failed", said)
        return status
    reporter.end(state, said)
    return DONE if state == "complete" else FAILED


def _run(given: dict[str, Any], output: str, reporter: Reporter, tracker: Tracker) -> tuple[str, str]:
    """The run's state, and what there is to say about it."""
    if (other := difference(installed(), given["installed"])) is not None:
        raise EngineError(f"the cluster's head and the service differ: {other}")
    job = parse_job(given["job"], "job")
    storage = Storage(Path(given["storage"]["data"]), StoragePolicy.model_validate(given["storage"]["policy"]))
    source, limits = job.source, job.run
    hosts = hosts_among([source.base] if isinstance(source, CommonCrawlSource) else source.paths)
    share = (limits.cpus_per_shard, limits.memory_per_shard, source.requests_per_second)
    with RayEngine(None, "auto", *share, hosts=hosts) as engine:
        plan = plan_job(job, Path.cwd(), output, engine.budget)
        storage.confirm(given.path for given in plan.inputs)
        tracker.planned(plan)
        print(f"{len(plan.inputs)} inputs, fingerprint {plan.fingerprint}", flush=True)
        for event in run(plan, engine):
            reporter.take(event)
            if isinstance(event, ShardDone) and event.report.unreadable is not None:
                print(f"failed: {event.report.unreadable}", flush=True)
            if isinstance(event, Finished):
                print(f"{event.manifest['state']}: {json.dumps(event.manifest['totals'])}", flush=True)
                return str(event.manifest["state"]), "; ".join(event.manifest["alarms"])
    raise AssertionError("a run ends with its manifest")


def _end(number: int, frame: Any) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough
    raise SystemExit(128 + number)


@click.command()
@click.argument("output")
@click.argument("submission_id")
def main(output: str, submission_id: str) -> None:
    """Run a job that the service submitted."""
    signal.signal(signal.SIGTERM, _end)
    try:
        status = drive(output, submission_id)
    except StoreError as error:
        click.echo(f"crawlmill: {error}", err=True)
        status = FAILED
    sys.exit(status)


if __name__ == "__main__":
    main()
