"""The rows of `data/` against the ledgers: are they the records that the ledgers keep, and what do they come to?

Rows meet as sums of 64-bit hashes for each input, which come out equal in whatever order the rows were packed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.audit.dataset import Dataset, File
from pipeline.audit.duplicates import SIZE, Duplicates
from pipeline.audit.rows import SAME, UNREADABLE, Difference, Notes, RowSum, read_rows, row_hashes
from pipeline.manifest import FILE
from pipeline.pack import DATA
from pipeline.store import Store

_COLUMNS = pa.schema([DATA.field(name) for name in ("file_path", "language", "token_count", "text", SIZE, *SAME)])
_BATCH_ROWS = 500  # of texts decoded at a time


@dataclass
class _Found:
    """What the rows come to. Those of inputs or languages that the manifest does not have are problems only."""

    rows: dict[str, RowSum]
    languages: Counter[str]
    tokens: int = 0
    text_bytes: int = 0
    problems: list[Difference] = field(default_factory=list)
    whole: bool = True


def compare_data(
    store: Store, dataset: Dataset, kept: Mapping[str, RowSum], duplicates: Duplicates | None, there: set[str]
) -> Iterator[Difference]:
    """Read the data files that are `there`; compare them with what ledgers keep, by input, and with the manifest.

    duplicates: of all ledgers; None where not all could be read.
    """
    files = dataset.listed("data")
    found = _read(store, dataset, duplicates, [file for file in files if file.path in there])
    yield from found.problems
    for shard, rows in found.rows.items():
        if shard in kept and rows != kept[shard]:
            said = f"{rows.rows:,} rows" if rows.rows != kept[shard].rows else "as many rows, but others"
            yield Difference("data", f"{shard}: its ledger keeps {kept[shard].rows:,} records, and here are {said}")
    if found.whole and all(file.path in there for file in files):
        yield from (Difference(FILE, problem) for problem in _measures(dataset, found))
        if duplicates is not None and (ids := duplicates.miscounted()):
            what = "id has" if ids == 1 else "ids have"
            yield Difference("data", f"{ids:,} {what} another {SIZE} than 1 + the near duplicates that left for it")


def _read(store: Store, dataset: Dataset, duplicates: Duplicates | None, files: list[File]) -> _Found:
    known = Counter({each.language: 0 for each in dataset.languages})
    found = _Found({shard.path: RowSum() for shard in dataset.shards}, known)
    for file in files:
        notes = Notes(file.path)
        try:
            for batch in read_rows(store, file, _COLUMNS, _BATCH_ROWS, notes):
                _add(batch, found, notes)
                if duplicates is not None:
                    duplicates.weigh(batch, notes)
        except UNREADABLE as error:
            found.whole = False
            notes.damage(error)
        found.problems += notes.differences()
    return found


def _add(batch: pa.RecordBatch, found: _Found, notes: Notes) -> None:
    hashes, owners = row_hashes(batch, SAME), batch.column("file_path").fill_null("").dictionary_encode()
    codes = owners.indices.to_numpy()
    for code, shard in enumerate(owners.dictionary.to_pylist()):
        here = hashes[codes == code]
        if shard in found.rows:
            found.rows[shard].add(here)
        else:
            notes.count("of an input that the manifest does not have", len(here), shard)
    for language, rows in Counter(batch.column("language").drop_null().to_pylist()).items():
        if language in found.languages:
            found.languages[language] += rows
        else:
            notes.count("in a language that the manifest does not have", rows, language)
    found.tokens += pc.sum(batch.column("token_count")).as_py() or 0
    found.text_bytes += pc.sum(pc.binary_length(batch.column("text"))).as_py() or 0


def _measures(dataset: Dataset, found: _Found) -> Iterator[str]:
    """The manifest's counts that only the data can confirm."""
    for name in ("tokens", "text_bytes"):
        said, summed = getattr(dataset.totals, name), getattr(found, name)
        if said != summed:
            yield f"totals: {name} is {said:,}, but the data come to {summed:,}"
    for each in dataset.languages:
        rows = found.languages[each.language]
        if each.kept != rows:
            yield f"languages: {each.kept:,} kept in {each.language}, but the data have {rows:,}"
