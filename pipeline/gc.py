"""`crawlmill gc`: removes what dead attempts left behind, and nothing that a run still needs.

That is: files of attempts that no report of a finished shard, and no finished step of a meeting, names (all of them
once the run is complete), files that an atomic write did not live to finish, and traces of errors of shards that are
done since. Public files and reports stay. Of an index across snapshots: files that no version lists.

It must not run beside a live run, whose files look like a dead one's. So nothing goes within an hour of the last write
under `.work/`. A slow shard may be silent for longer: this catches mistakes, and proves nothing. An object store does
not say through `Store` when it was written to: there one has to insist.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pipeline.audit.dataset import DamagedManifest, NotADataset, open_dataset
from pipeline.faults import MissingFile
from pipeline.index import VERSIONS, Index
from pipeline.manifest import FILE
from pipeline.plan import PLAN
from pipeline.run import ERRORS
from pipeline.store import Store
from pipeline.tasks import ATTEMPTS, MEETINGS, REPORTS, read_report

QUIET_SECONDS = 3600
_OURS = re.compile(
    r"\..+\.[0-9a-f]{16}\.partial"
)  # as pipeline.places names them; other programs have .partial files too


@dataclass(frozen=True)
class Removed:
    """A file that was removed, or would be."""

    path: str
    bytes: int


def collect(store: Store, *, force: bool = False, dry_run: bool = False) -> list[Removed]:
    """Remove what dead attempts left; with `dry_run` only say what that is.

    Raises NotADataset where crawlmill wrote nothing, and ValueError where a report cannot be read and, unless `force`,
    where a run may be alive. Nothing was removed then.
    """
    if store.exists(PLAN) or store.exists(FILE):
        litter = sorted(_litter(store))
    elif store.list(VERSIONS):
        litter = Index(store.root).garbage()
    else:
        what = "neither a dataset of crawlmill, nor an attempt at one, nor an index; nothing was removed"
        raise NotADataset(f"{store.root}: {what}")
    if litter and not force:
        _refuse_if_alive(store, litter)
    removed = []
    for path in litter:
        try:
            removed.append(Removed(path, store.size(path)))
        except MissingFile:  # somebody was faster
            continue
        if not dry_run:
            store.remove(path)
    return removed


def _litter(store: Store) -> Iterator[str]:
    # Listed before the reports are read: a shard that finishes meanwhile keeps its files.
    attempts = [*store.list(ATTEMPTS), *store.list(MEETINGS)]
    named = set() if _is_complete(store) else set(_named(store))
    yield from (path for path in attempts if path not in named)
    yield from (path for path in store.partials() if _OURS.fullmatch(path.rpartition("/")[2]))
    for path in store.list(ERRORS):
        if store.exists(f"{REPORTS}/{path.rpartition('/')[2].removesuffix('.txt')}.json"):
            yield path


def _is_complete(store: Store) -> bool:
    try:
        return open_dataset(store).state == "complete"
    except DamagedManifest:
        return False


def _named(store: Store) -> Iterator[str]:
    """Files that finished shards are waiting to go on from, and those of finished steps of meetings."""
    for path in store.list(REPORTS):
        with _explained(store, path, "shard"):
            report = read_report(store, path)
            yield from (file.path for file in (*report.files.values(), *report.kept_files.values()))
    for path in store.list(MEETINGS):
        if path.endswith(".json"):
            with _explained(store, path, "step"):
                yield from (path, *_strings(json.loads(store.read_bytes(path))))


@contextlib.contextmanager
def _explained(store: Store, path: str, what: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError, KeyError) as error:
        said = f"cannot be read, so that it is unknown which files its {what} needs; nothing was removed"
        raise ValueError(f"{store.root}/{path}: {said} (remove this file to have the {what} done again)") from error


def _strings(content: Any) -> Iterator[str]:
    """All strings in a JSON document."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, list | dict):
        for each in content.values() if isinstance(content, dict) else content:
            yield from _strings(each)


def _refuse_if_alive(store: Store, litter: list[str]) -> None:
    """Raises ValueError where a run may be writing."""
    newest = 0.0
    for path in {*store.list(".work"), *litter}:
        at = store.local_path(path)
        if at is None:
            raise ValueError(f"{store.root}: cannot tell whether a run is writing there; if none is, say --force")
        try:
            newest = max(newest, at.stat().st_mtime)
        except FileNotFoundError:
            newest = time.time()  # somebody is at work
    if time.time() - newest < QUIET_SECONDS:
        raise ValueError(
            f"{store.root}: written to within the last hour, so that a run may be alive; if none is, say --force"
        )
