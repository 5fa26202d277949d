"""`crawlmill verify`: is a dataset what its manifest says it is?

Recomputed are the bytes and sha256 of every listed file, every count, and the account of every record
(`pipeline.audit.account`, `pipeline.audit.kept`), with what duplicates say they repeat (`pipeline.audit.duplicates`),
and of every fetch (`pipeline.audit.fetches`).
All that differs is reported, not the first of it. `report.html` and `README.md` are not looked at, since they can be
written again; nor is `.work/`. A file that storage will not give is a difference like one that is gone: what cannot be
read cannot be confirmed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from pipeline.audit.account import Left, Recount, recount
from pipeline.audit.dataset import PUBLIC, Counts, DamagedManifest, Dataset, File, open_dataset
from pipeline.audit.duplicates import Duplicates
from pipeline.audit.fetches import compare_fetches
from pipeline.audit.kept import compare_data
from pipeline.audit.rows import Difference, RowSum
from pipeline.faults import MissingFile, StoreError
from pipeline.manifest import FILE
from pipeline.store import Store

__all__ = ["Difference", "verify"]


def verify(store: Store) -> Iterator[Difference]:
    """All that is not as it should be, as it is found; nothing where everything is.

    Raises NotADataset at once where crawlmill wrote nothing, and StoreError where the folder cannot be listed.
    """
    try:
        dataset = open_dataset(store)
    except DamagedManifest as error:
        return iter([Difference(FILE, str(error))])
    return _differences(store, dataset)


def _differences(store: Store, dataset: Dataset) -> Iterator[Difference]:
    for problem in _arithmetic(dataset):
        yield Difference(FILE, problem)
    there = {path for folder in PUBLIC for path in store.list(folder)}
    for path in sorted(there - {file.path for file in dataset.files}):
        yield Difference(path, "not in the manifest")
    for file in dataset.files:
        if file.path in there:
            yield from _bytes(store, file)
        else:
            yield Difference(file.path, "missing")
    yield from _account(store, dataset, there)
    yield from compare_fetches(store, dataset, there)


def _bytes(store: Store, file: File) -> Iterator[Difference]:
    try:
        size = store.size(file.path)
        if size != file.bytes:
            yield Difference(file.path, f"{size:,} bytes; the manifest says {file.bytes:,}")
        elif store.sha256(file.path) != file.sha256:
            yield Difference(file.path, f"its sha256 is not the manifest's {file.sha256}")
    except MissingFile:
        yield Difference(file.path, "missing")
    except StoreError as error:
        yield Difference(file.path, f"cannot be read: {error}")


def _arithmetic(dataset: Dataset) -> Iterator[str]:
    """What the manifest says twice and not alike."""
    totals, shards, inputs = dataset.totals, dataset.shards, dataset.inputs
    if totals.records_read != (ended := _ended(totals)):
        yield f"totals: {totals.records_read:,} records read, but kept + dropped + failed is {ended:,}"
    for shard in shards:
        if shard.read != (ended := _ended(shard)):
            yield f"shards: {shard.path}: {shard.read:,} records read, but kept + dropped + failed is {ended:,}"
    skipped: Counter[str] = Counter()
    for shard in shards:
        skipped.update(shard.skipped)
    sums = {
        "records_read": (totals.records_read, sum(shard.read for shard in shards)),
        "bytes_read": (totals.bytes_read, sum(each.bytes for each in inputs)),
        "skipped": (totals.skipped, dict(skipped)),
        **{
            name: (getattr(totals, name), sum(getattr(each, name) for each in shards))
            for name in ("kept", "dropped", "failed", "bytes_lost")
        },
    }
    for name, (said, summed) in sums.items():
        if said != summed:
            yield f"totals: {name} is {said}, but the shards come to {summed}"
    if [each.path for each in inputs] != [shard.path for shard in shards]:
        yield "inputs and shards are not the same files"
    for path, times in Counter(file.path for file in dataset.files).items():
        if times > 1:
            yield f"files: {path} is listed {times} times"
    yield from _flow(dataset)
    yield from _parts(dataset)


def _ended(counts: Counts) -> int:
    return counts.kept + counts.dropped + counts.failed


def _flow(dataset: Dataset) -> Iterator[str]:
    """Drops against totals and funnel."""
    left: Counter[tuple[str, str]] = Counter()
    for drop in dataset.drops:
        left[drop.stage, drop.outcome] += drop.count
    for outcome in ("dropped", "failed"):
        summed = sum(count for (_, each), count in left.items() if each == outcome)
        if summed != getattr(dataset.totals, outcome):
            yield f"totals: {outcome} is {getattr(dataset.totals, outcome):,}, but the drops come to {summed:,}"
    coming = dataset.totals.records_read
    for row in dataset.funnel:
        dropped, failed = left[row.stage, "dropped"], left[row.stage, "failed"]
        out = coming - dropped - failed
        if (row.coming, row.dropped, row.failed, row.out) != (coming, dropped, failed, out):
            yield f"funnel: {row.stage} is not what drops and totals come to"
        coming = out
    if [row.stage for row in dataset.funnel] != list(dict.fromkeys(dataset.kinds)):
        yield "funnel: its stages are not the recipe's"


def _parts(dataset: Dataset) -> Iterator[str]:
    """Each shard has a ledger, and beside it what the job asked for."""
    ledgers = {file.part for file in dataset.listed("ledger")}
    if len(ledgers) != len(dataset.shards):
        yield f"files: {len(ledgers):,} ledgers of {len(dataset.shards):,} shards"
    for kind, wanted in (("signals", dataset.first_measure is not None), ("dropped", dataset.dropped_text != "none")):
        parts = {file.part for file in dataset.listed(kind)}
        for part in sorted(parts ^ (ledgers if wanted else set())):
            yield f"files: {kind}/{part} {'is' if part in parts else 'is not'} listed, against job and recipe"
    if dataset.state == "failed" and dataset.listed("data"):
        yield "files: a failed run publishes no data"


def _account(store: Store, dataset: Dataset, there: set[str]) -> Iterator[Difference]:
    """The contents of the files against one another and against the manifest's counts."""
    beside = {
        (file.kind, file.part): file
        for file in dataset.files
        if file.path in there and file.kind in ("signals", "dropped")
    }
    said = {shard.path: shard for shard in dataset.shards}
    kept: dict[str, RowSum] = {}
    left: Counter[Left] = Counter()
    duplicates = Duplicates(dataset)
    whole = {file.path for file in dataset.listed("ledger")} <= there
    for file in dataset.listed("ledger"):
        if file.path not in there:
            continue
        also = (beside.get((kind, file.part)) for kind in ("signals", "dropped"))
        found = recount(store, dataset, duplicates, file, *also)
        yield from found.problems
        whole &= found.whole
        if not found.whole or found.shard is None:
            continue
        if found.shard not in said or found.shard in kept:
            what = "which has another ledger" if found.shard in kept else "which is no shard"
            yield Difference(file.path, f"of {found.shard}, {what}")
            continue
        kept[found.shard] = found.kept
        left.update(found.left)
        yield from _counts(file, found, said[found.shard])
    if whole:
        for file in dataset.listed("ledger"):
            yield from duplicates.unfounded(store, file)
        for path in said.keys() - kept.keys():
            if said[path].read:
                yield Difference(FILE, f"shards: {path} has no ledger")
        for drop in dataset.drops:
            counted = left[drop.stage, drop.reason, drop.outcome]
            if counted != drop.count:
                what = f"{drop.outcome} by {drop.stage} for {drop.reason}"
                yield Difference(FILE, f"drops: {drop.count:,} {what}; the ledgers have {counted:,}")
    if dataset.state == "complete":
        yield from compare_data(store, dataset, kept, duplicates if whole else None, there)


def _counts(file: File, found: Recount, said: Counts) -> Iterator[Difference]:
    for outcome in ("kept", "dropped", "failed"):
        here, there = found.outcomes[outcome], getattr(said, outcome)
        if here != there:
            yield Difference(file.path, f"{here:,} {outcome}; the manifest says {there:,} of its shard")
