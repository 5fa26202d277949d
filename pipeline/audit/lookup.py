"""Finds records of a dataset by what its ledger says of them, and brings together what the other files have on each.

The ledger is filtered where it is decoded, one file after the other, and reading stops at the limit. What comes beside
a record is read for a few records at a time: signals and dropped text from the files of its shard, kept text from
`data/`, where row groups of other inputs are passed over by the footer's statistics. In words and colours:
`pipeline.audit.explore`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import dropwhile, islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow.dataset import ParquetFileFormat, ParquetFragmentScanOptions

from pipeline.audit.dataset import Dataset, File, open_dataset
from pipeline.audit.duplicates import SIZE
from pipeline.audit.rows import UNREADABLE
from pipeline.faults import StoreError
from pipeline.ledger import SAMPLES_PER_REASON
from pipeline.store import Store
from stages.catalog import did_you_mean
from stages.fetch.address import Address

_TOGETHER = 32  # records whose texts are in memory at a time
_BATCH_ROWS = 1_000
_FORMAT = ParquetFileFormat(default_fragment_scan_options=ParquetFragmentScanOptions(use_buffered_stream=True))

Row = dict[str, Any]
Place = tuple[str, int, int]
At = tuple[str, int, int]
"""A place in the ledger: the name of a file, offset and ordinal, by which the rows of a file are ordered."""
Known = tuple[str, str, str | None]
"""Input, id and URL: what data/ says of where a row is from."""


@dataclass(frozen=True)
class Found:
    """A record, and what is known of it."""

    record: Row
    """Its ledger row."""
    signals: Mapping[str, Row | None] | None
    """What each rule measured; None where the record did not come to the rules."""
    language: str | None
    text: str | None
    no_text: str | None
    """Why there is no text."""
    cluster_size: int | None
    """Of a kept record: how many near duplicates it stands for, itself counted; None where it did not meet others."""
    settings: Sequence[tuple[str, Row]]
    """The recipe: kind and fields of each stage."""
    fetch: Row | None = None
    """What came of fetching its URL again, where the job did."""
    part: str = ""
    """The ledger's file that has its row."""

    @property
    def at(self) -> At:
        """Where it stands in the ledger."""
        return self.part, self.record["offset"], self.record["ordinal"]


def find(
    store: Store,
    *,
    url: str | None = None,
    id: str | None = None,
    reason: str | None = None,
    stage: str | None = None,
    kept: bool | None = None,
    after: At | None = None,
    limit: int = 20,
) -> Iterator[Found]:
    """Records that are all that is asked for, in the order of the ledger; everything where nothing is asked.

    url is matched exactly, or as a pattern where it has `*`; id with or without `<urn:uuid:` and `>`; kept: True for
    kept records, False for those that left; after: only what stands later in the ledger than this place.

    Raises NotADataset, DamagedManifest, ValueError for a stage, reason or place that this run cannot have, and
    StoreError where a file cannot be read.
    """
    dataset = open_dataset(store)
    if kept and (reason is not None or stage is not None):
        raise ValueError("kept records have no reason and no stage that they left at; ask for one or the other")
    _check(dataset, stage, reason)
    ledgers = dataset.listed("ledger")
    if after is not None:
        ledgers = list(dropwhile(lambda file: file.part != after[0], ledgers))
        if not ledgers:
            raise ValueError(f"{after[0]}: no file of this run's ledger")
    return islice(_found(store, dataset, ledgers, _condition(url, id, reason, stage, kept), after), limit)


def _check(dataset: Dataset, stage: str | None, reason: str | None) -> None:
    """Refuse what no record of this run can have left for."""
    if stage is not None and stage not in dataset.kinds:
        raise ValueError(f"stage {stage}: not in this recipe{did_you_mean(stage, dataset.kinds)}")
    happened = list(dict.fromkeys(drop.reason for drop in dataset.drops))
    possible = {each for kind in dataset.kinds for each in dataset.reasons_of(kind)}
    if reason is not None and reason not in possible.union(happened):
        raise ValueError(f"reason {reason}: no record left for it{did_you_mean(reason, happened)}")


def _condition(
    url: str | None, id: str | None, reason: str | None, stage: str | None, kept: bool | None
) -> pc.Expression | None:
    parts = []
    if url is not None:
        parts.append(_matches(url) if "*" in url else pc.field("url") == url)
    if id is not None:
        parts.append(pc.field("id").isin([id, f"<{id}>", f"<urn:uuid:{id}>"]))
    parts += [pc.field(name) == value for name, value in (("reason", reason), ("stage", stage)) if value is not None]
    if kept is not None:
        parts.append(pc.field("outcome") == "kept" if kept else pc.field("outcome") != "kept")
    condition = None
    for part in parts:
        condition = part if condition is None else condition & part
    return condition


def _matches(pattern: str) -> pc.Expression:
    """A URL pattern; RE2, which does it, needs no more time for a mean pattern than for a plain one."""
    return pc.match_substring_regex(pc.field("url"), rf"(?s)\A{'.*'.join(map(re.escape, re.split('[*]+', pattern)))}\z")


def _found(
    store: Store, dataset: Dataset, ledgers: Sequence[File], condition: pc.Expression | None, after: At | None
) -> Iterator[Found]:
    beside = {(file.kind, file.part): file for file in dataset.files if file.kind in ("signals", "dropped")}
    for ledger in ledgers:
        wanted = condition
        if after is not None and ledger.part == after[0]:
            wanted = _later(after) if condition is None else condition & _later(after)
        rows = (row for batch in _scan(store, ledger, None, wanted) for row in batch.to_pylist())
        while some := list(islice(rows, _TOGETHER)):
            signals = _at_places(store, beside.get(("signals", ledger.part)), some)
            left = [row for row in some if row["outcome"] != "kept"]
            dropped = _at_places(store, beside.get(("dropped", ledger.part)), left)
            kept = _kept_rows(store, dataset, [row for row in some if row["outcome"] == "kept"])
            fetches = _fetches(store, dataset, some)
            for row in some:
                found = _joined(dataset, row, signals.get(_place(row)), dropped.get(_place(row)), kept)
                fetch = fetches.get(row["url"]) if row["media"] == "pdf" else None
                yield replace(found, fetch=fetch, part=ledger.part)


def _later(place: At) -> pc.Expression:
    """What stands after a place in its own file."""
    _, offset, ordinal = place
    return (pc.field("offset") > offset) | ((pc.field("offset") == offset) & (pc.field("ordinal") > ordinal))


def _joined(dataset: Dataset, row: Row, measured: Row | None, dropped: Row | None, kept: Mapping[Known, Row]) -> Found:
    """A record from what the files have on it."""
    signals, language, text, no_text, cluster_size = None, None, None, None, None
    if measured is not None:
        signals = {name: value for name, value in measured.items() if name in dict(dataset.settings)}
        language = measured.get("language")
        if isinstance(language, dict):  # what the stage `language` measured, where the recipe has it
            language = language.get("language")
    if row["outcome"] == "kept":
        published = kept.get(_known(row["shard"], row), {})
        text, cluster_size = published.get("text"), published.get(SIZE)
        no_text = None if text is not None else "not in data/: a failed run publishes none"
    elif dropped is not None:
        text = dropped["text"]
        no_text = None if text is not None else f"it left at {row['stage']}, before it had any"
    elif dataset.dropped_text == "none":
        no_text = "the job stores no texts of dropped records (output.dropped_text: none)"
    else:
        of = f"the {SAMPLES_PER_REASON} of its input that are stored for this reason"
        no_text = f"not among {of} (output.dropped_text: sample)"
    return Found(row, signals, language, text, no_text, cluster_size, dataset.settings)


def _at_places(store: Store, file: File | None, records: Sequence[Row]) -> dict[Place, Row]:
    """The rows of a shard's file that are about some of its records."""
    if file is None or not records:
        return {}
    wanted = {_place(row) for row in records}
    near = [pc.field(name).isin(pa.array({row[name] for row in records})) for name in ("offset", "ordinal")]
    rows = (row for batch in _scan(store, file, None, near[0] & near[1]) for row in batch.to_pylist())
    return {_place(row): row for row in rows if _place(row) in wanted}


def _kept_rows(store: Store, dataset: Dataset, records: Sequence[Row]) -> dict[Known, Row]:
    """Texts and cluster sizes of kept records; of several that share input, id and URL, the first one's."""
    found: dict[Known, Row] = {}
    wanted = {_known(row["shard"], row) for row in records}
    shards, ids = (pa.array({each[at] for each in wanted}, pa.string()) for at in (0, 1))
    condition = pc.field("file_path").isin(shards) & pc.field("id").isin(ids)
    for file in dataset.listed("data") if records else ():
        for batch in _scan(store, file, ["file_path", "id", "url", "text", SIZE], condition):
            for row in batch.to_pylist():
                if (known := _known(row["file_path"], row)) in wanted:
                    found.setdefault(known, row)
        if len(found) == len(wanted):
            break
    return found


def _fetches(store: Store, dataset: Dataset, records: Sequence[Row]) -> dict[str, Row]:
    """What came of fetching PDFs again, by the URL that the record has."""
    addresses = {row["url"]: Address.of(row["url"]) for row in records if row["media"] == "pdf"}
    targets = {address.url for address in addresses.values() if address is not None}
    condition = pc.field("url").isin(pa.array(targets, pa.string()))
    tables = [file for file in dataset.listed("fetch") if file.path.endswith(".parquet")] if targets else []
    by_target = {
        row["url"]: row for file in tables for batch in _scan(store, file, None, condition) for row in batch.to_pylist()
    }
    return {
        url: by_target[address.url]
        for url, address in addresses.items()
        if address is not None and address.url in by_target
    }


def _scan(
    store: Store, file: File, columns: list[str] | None, condition: pc.Expression | None
) -> Iterator[pa.RecordBatch]:
    """The rows of a file that fulfil a condition, in its order; row groups that cannot have any are not read."""
    with store.open_read(file.path) as stream:
        try:
            fragment = _FORMAT.make_fragment(stream)
            scanner = fragment.scanner(
                columns=columns, filter=condition, batch_size=_BATCH_ROWS, batch_readahead=1, use_threads=False
            )
            for batch in scanner.to_batches():
                batch.validate(full=True)
                yield batch
        except UNREADABLE as error:
            said = " ".join(str(error).split())
            raise StoreError(f"{store.root}/{file.path}: {said} (crawlmill verify lists all damage)") from error


def _place(row: Row) -> Place:
    return row["shard"], row["offset"], row["ordinal"]


def _known(shard: str, row: Row) -> Known:
    return shard, row["id"], row["url"]
