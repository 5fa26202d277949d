"""What was fetched, recounted: the table under `fetch/` against the manifest, and every body's file among those listed.

The bytes of bodies are `pipeline.audit.verify`'s, as those of any file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pyarrow as pa

from pipeline.audit.dataset import Dataset
from pipeline.audit.rows import UNREADABLE, WINDOW, Difference, Notes, read_rows
from pipeline.fetching.routes import FETCHES
from pipeline.manifest import FILE
from pipeline.store import Store

_LOOKED_AT = ("url", "reason", "kind_differs", "bytes", "body_file")


def compare_fetches(store: Store, dataset: Dataset, there: set[str]) -> Iterator[Difference]:
    """All that the tables and the manifest do not say alike."""
    tables = [file for file in dataset.listed("fetch") if file.path.endswith(".parquet")]
    said = dataset.fetch
    if said is None or not all(file.path in there for file in tables):
        return
    listed = {file.path for file in dataset.listed("fetch")}
    reasons: Counter[str] = Counter()
    urls = fetched = differing = size = 0
    for file in tables:
        notes = Notes(file.path)
        try:
            for batch in read_rows(store, file, pa.schema([FETCHES.field(name) for name in _LOOKED_AT]), WINDOW, notes):
                for row in batch.to_pylist():
                    urls += 1
                    came = row["reason"] is None and not row["kind_differs"]
                    reasons.update([] if row["reason"] is None else [row["reason"]])
                    differing += row["reason"] is None and bool(row["kind_differs"])
                    fetched += came
                    size += row["bytes"] or 0 if came else 0
                    if came and row["body_file"] not in listed:
                        notes.count("whose body is in no file of the manifest", 1, str(row["url"]))
        except UNREADABLE as error:
            notes.damage(error)
            yield from notes.differences()
            return
        yield from notes.differences()
    found = {"urls": urls, "fetched": fetched, "kind_differs": differing, "reasons": dict(reasons), "bytes": size}
    for name, counted in found.items():
        if getattr(said, name) != counted:
            yield Difference(FILE, f"fetch: {name} is {getattr(said, name)}; the tables have {counted}")
