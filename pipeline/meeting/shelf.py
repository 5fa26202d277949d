"""What shards wrote for the meeting, and their texts: for what only the texts can decide."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby, pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.emission import SHARD_BITS
from pipeline.store import Store
from pipeline.tasks import ShardReport, read_report
from pipeline.writer import Written, read_batches
from stages.dedup.shingles import Hashes, shingle_sets
from stages.stage import of_media
from stages.text.texts import Texts

_TEXT = pa.schema([pa.field("text", pa.large_string())])


@dataclass(frozen=True)
class Shelf:
    """Where a meeting finds what shards wrote. reports: the folder of the shards' reports; only: the media that met;
    stamp: no two meetings have the same, so that what a process remembers of one is not taken for another's.
    """

    stamp: str
    reports: str
    only: str | None
    ngram: int

    def emitted(self, store: Store, shard: int) -> Written:
        """The file of what a shard told the meeting."""
        return _report(store, self.stamp, f"{self.reports}/{shard:05d}.json").files["emitted"]

    def whom(self, store: Store, doc: int) -> dict[str, Any]:
        """Place, id and URL of a document."""
        file = self.emitted(store, doc >> SHARD_BITS)
        (group,), (place,) = file.places(np.array([doc & (2**SHARD_BITS - 1)]))
        (batch,) = read_batches(store, file.path, ("id", "url", "shard", "offset", "ordinal"), [int(group)])
        return dict(batch.slice(int(place), 1).to_pylist()[0])

    def shingle_sets(self, store: Store, docs: Sequence[int]) -> list[Hashes]:
        """The different shingles of each document, rising."""
        found = {doc: sets_of([text], self.ngram)[0] for doc, text in self.texts(store, docs)}
        return [found[doc] for doc in docs]

    def texts(self, store: Store, docs: Sequence[int]) -> Iterator[tuple[int, str]]:
        """(document, text), each document once, in the order in which they lie."""
        for shard, here in groupby(sorted(set(docs)), lambda doc: doc >> SHARD_BITS):
            yield from self._of_shard(store, shard, list(here))

    def _of_shard(self, store: Store, shard: int, docs: Sequence[int]) -> Iterator[tuple[int, str]]:
        file = _report(store, self.stamp, f"{self.reports}/{shard:05d}.json").kept_files[""]
        rows = np.array([doc & (2**SHARD_BITS - 1) for doc in docs])
        if self.only is not None:
            rows = _rows_of(store, file.path, self.only)[rows]
        groups, places = file.places(rows)
        wanted = np.unique(groups).tolist()
        for group, batch in zip(wanted, read_batches(store, file.path, ("text",), wanted)):
            for at in np.flatnonzero(groups == group).tolist():
                yield docs[at], batch.column("text")[int(places[at])].as_py()


def sets_of(texts: Sequence[str], ngram: int) -> list[Hashes]:
    """The different shingles of each text, rising."""
    batch = pa.RecordBatch.from_arrays([pa.array(texts, pa.large_string())], schema=_TEXT)
    offsets, values = shingle_sets(Texts(batch), ngram)
    return [values[start:end] for start, end in pairwise(offsets)]


@lru_cache(maxsize=256)
def _report(store: Store, stamp: str, path: str) -> ShardReport:
    return read_report(store, path)


@lru_cache(maxsize=16)
def _rows_of(store: Store, path: str, media: str) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The rows of a file that have a media."""
    here = [of_media(batch, media) for batch in read_batches(store, path, ("media",))]
    return np.flatnonzero(pa.chunked_array(here, pa.bool_()).to_numpy())
