"""The members of clusters: labelled documents with what their shards' files, or the index, have on them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from itertools import islice, takewhile
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.emission import SHARD_BITS
from pipeline.index import Index, Version
from pipeline.meeting.shelf import Shelf
from pipeline.store import Store
from pipeline.writer import Written, read_batches
from stages.decision import Ints
from stages.dedup.clusters import mixed
from stages.dedup.index import FIRST, Numbers
from stages.dedup.minhash import MinHash
from stages.dedup.shingles import Hashes
from stages.dedup.signature import unpack

OF_INDEX, MEMBER = 0, 1
"""What a row of a cluster is, in the order they come: a representative in the index, a member."""
ROWS_TOGETHER = 1_000
CARRIED = 2**14
"""Characters of the longest text that comes to its cluster; longer ones are read where they are asked for."""


@dataclass(frozen=True)
class Known:
    """The index that a job reads, at the version it is pinned to; small, since it goes with every task.

    upto: the name of the extension that reading ends at, "" for none; own: the job's own inputs, rising, of which no
    record counts as an earlier copy: it is judged anew.
    """

    root: str
    number: int
    sha256: str
    upto: str = ""
    own: tuple[int, ...] = ()

    @property
    def version(self) -> Version:
        """What is read. Raises DamagedIndex."""
        return _version(self)


@dataclass(frozen=True)
class Members:
    """Some rows of one cluster, or of several, as arrays of the same length."""

    keys: Numbers
    parts: Numbers
    docs: Numbers
    digests: Numbers
    shingles: Ints
    signatures: Hashes  # [n, k]
    ids: Any
    dumps: Any
    texts: Any  # None where a text is long, or nobody wants it

    @classmethod
    def of(cls, table: pa.Table) -> Members:
        return cls(
            keys=table["key"].to_numpy(),
            parts=table["part"].to_numpy(),
            docs=table["doc"].to_numpy(),
            digests=table["digest"].to_numpy(),
            shingles=table["shingles"].to_numpy(),
            signatures=unpack(table["signature"].combine_chunks()),
            ids=table["id"].to_numpy(),
            dumps=table["dump"].to_numpy(),
            texts=table["text"].to_numpy(),
        )

    def __len__(self) -> int:
        return len(self.keys)

    def take(self, rows: Any) -> Members:
        """Some of the rows: a slice, a mask or indices."""
        return Members(*(getattr(self, each.name)[rows] for each in fields(self)))

    def joined(self, more: Members) -> Members:
        return Members(*(np.concatenate([getattr(self, f.name), getattr(more, f.name)]) for f in fields(self)))


def _member_schema(stage: MinHash) -> pa.Schema:
    return pa.schema(
        [
            pa.field("key", pa.uint64()),  # of the cluster
            pa.field("part", pa.uint8()),
            pa.field("rank", pa.uint64()),
            pa.field("doc", pa.uint64()),
            pa.field("digest", pa.uint64()),
            pa.field("shingles", pa.int64()),
            pa.field("id", pa.string()),
            pa.field("dump", pa.string()),
            pa.field("signature", pa.binary(8 * stage.hashes)),
            pa.field("text", pa.large_string()),  # where pairs are verified, and it is no longer than CARRIED
        ]
    )


@lru_cache(maxsize=2)
def _version(known: Known) -> Version:
    whole = Index(known.root).version(known.number, sha256=known.sha256)
    return replace(whole, extensions=tuple(takewhile(lambda each: each.name != known.upto, whole.extensions)))


def gather_members(
    stage: MinHash, shelf: Shelf, known: Known | None, store: Store, windows: Iterator[pa.Table]
) -> Iterator[tuple[str, pa.Table]]:
    """Labelled documents with what their shards' files, or the index, have on them."""
    schema = _member_schema(stage)
    for window in windows:
        docs, clusters = window["key"].to_numpy(), mixed(window["label"].to_numpy(), 0)
        shards = np.right_shift(docs, np.uint64(SHARD_BITS))
        own = int(np.searchsorted(docs, np.uint64(FIRST)))
        for shard in np.unique(shards[:own]).tolist():
            here = slice(*np.searchsorted(shards, [shard, shard + 1]))
            texts = shelf.texts(store, docs[here].tolist()) if stage.verify else iter(())
            for rows in _of_shard(store, schema, shelf.emitted(store, shard), docs[here], clusters[here], texts):
                yield "members", rows
        if known is not None and own < len(docs):
            yield "members", _of_index(schema, known, docs[own:], clusters[own:])


def _of_shard(
    store: Store,
    schema: pa.Schema,
    emitted: Written,
    docs: Numbers,
    clusters: Numbers,
    texts: Iterator[tuple[int, str]],
) -> Iterator[pa.Table]:
    """Members; texts: of all of them in order, or none."""
    wanted = (docs & np.uint64(2**SHARD_BITS - 1)).astype(np.int64)
    all_groups, places = emitted.places(wanted)
    groups = np.unique(all_groups).tolist()
    for group, batch in zip(groups, read_batches(store, emitted.path, groups=groups)):
        start, stop = np.searchsorted(all_groups, [group, group + 1])
        rows = batch.take(pa.array(places[start:stop]))
        for at in range(0, rows.num_rows, ROWS_TOGETHER):
            part = rows.slice(at, ROWS_TOGETHER)
            here = slice(start + at, start + at + part.num_rows)
            carried = [text if len(text) <= CARRIED else None for _, text in islice(texts, part.num_rows)]
            given = {"key": pa.array(clusters[here]), "doc": pa.array(docs[here]), "part": _part(MEMBER, part.num_rows)}
            if carried:
                given["text"] = pa.array(carried, pa.large_string())
            yield _table(schema, part, given)


def _of_index(schema: pa.Schema, known: Known, docs: Numbers, clusters: Numbers) -> pa.Table:
    """Representatives, without those from the job's own inputs."""
    found, own = [], np.array(known.own, np.uint64)
    low, high = int(docs[0]), int(docs[-1]) + 1
    for table in Index(known.root).representatives(known.version, low, high):
        at = np.minimum(np.searchsorted(docs, table["representative"].to_numpy()), len(docs) - 1)
        here = (docs[at] == table["representative"].to_numpy()) & ~np.isin(table["input"].to_numpy(), own)
        rows = table.filter(pa.array(here)).combine_chunks()
        n = rows.num_rows
        given = {
            "key": pa.array(clusters[at[here]]),
            "doc": rows["representative"],
            "rank": pa.array(np.zeros(n, np.uint64)),
            "dump": rows["snapshot"],
            "part": _part(OF_INDEX, n),
        }
        found.append(_table(schema, rows, given))
    return pa.concat_tables([schema.empty_table(), *found])


def _part(part: int, rows: int) -> pa.Array:
    return pa.array(np.full(rows, part, np.uint8))


def _table(schema: pa.Schema, rows: pa.RecordBatch | pa.Table, given: dict[str, pa.Array]) -> pa.Table:
    n = len(given["key"])
    columns = [
        given[f.name] if f.name in given else rows[f.name] if f.name in rows.schema.names else pa.nulls(n, f.type)
        for f in schema
    ]
    return pa.table(columns, schema=schema)
