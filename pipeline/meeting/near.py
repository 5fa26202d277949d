"""Near duplicates: records that share a band of their signatures meet, what hangs together is a cluster, and in each
cluster it is decided who stays.

bands: (band key, document) of all signatures meet by key: edges. Components of the edges are clusters
(`pipeline.components`). members: labels meet the shards' files again, for signatures. clusters: members of a cluster
meet, and leave as verdicts (`pipeline.meeting.cluster`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np
import pyarrow as pa

from pipeline.components import bucket_edges, components
from pipeline.emission import SHARD_BITS, documents
from pipeline.exchange import Exchange, Hall, Rows, Source, Step, read_rows
from pipeline.index import Index, Version, numbers_of
from pipeline.meeting.cluster import GHOST, MEMBER, REPRESENTATIVE, decide_clusters
from pipeline.meeting.exact import Emitted
from pipeline.meeting.home import shard_bounds
from pipeline.meeting.shelf import Shelf
from pipeline.store import Store
from pipeline.writer import read_batches
from stages.dedup import index
from stages.dedup.clusters import mixed
from stages.dedup.minhash import MinHash
from stages.dedup.signature import band_keys, unpack

BAND_BYTES = 16
LABEL_BYTES = 16
MEMBER_BYTES = 128
"""And what its signature has."""
ROWS_TOGETHER = 1_000
CARRIED = 2**14
"""Characters of the longest text that comes to its cluster; longer ones are read where they are asked for."""
TEXT_BYTES = 5_000
"""Of an extracted page, about."""


@dataclass(frozen=True)
class Known:
    """The index that a job reads, at the version it is pinned to."""

    root: str
    version: Version


def near_duplicates(
    hall: Hall, stage: MinHash, emitted: Sequence[Emitted], known: Known | None, reports: str
) -> Generator[Step, None, dict[str, Sequence[Rows]]]:
    """Verdicts on all records that are not alone (`verdicts`), buckets over the cap (`oversize`), clusters of which
    not all members were compared (`crowded`), and the largest clusters (`largest`).

    reports: the folder of the shards' reports, by which a task finds their files.
    """
    sources: list[Source] = [Source(each, each.rows * stage.bands) for each in emitted]
    ranges = _index_ranges(known) if known is not None else []
    sources += [Source(each, each.rows) for each in ranges]
    met = yield from hall.run(bucket_edges("bands", partial(_bands, stage), stage.bucket_cap), sources)
    shelf = Shelf(reports, stage.only, stage.ngram)
    labels = yield from components(hall, met.get("edges", []))
    members = yield from hall.run(
        Exchange(
            name="members",
            emit=_labels,
            decide=partial(_members, stage, {each.shard: each.path for each in emitted}, shelf, known),
            order=("key", "label"),
            row_bytes=LABEL_BYTES,
            bounds=shard_bounds(emitted, known is not None),
        ),
        [Source(each, each.rows) for each in labels],
    )
    hall.discard(labels)
    verdicts = yield from hall.run(
        Exchange(
            name="clusters",
            emit=read_rows,
            decide=partial(decide_clusters, stage, shelf),
            order=("key", "part", "rank", "doc"),
            row_bytes=8 * stage.hashes + MEMBER_BYTES + (TEXT_BYTES if stage.verify else 0),
        ),
        [Source(each, each.rows) for each in members.get("members", [])],
    )
    hall.discard(members.get("members", []))
    return {"oversize": met.get("oversize", []), **verdicts}


@dataclass(frozen=True)
class IndexRange:
    """Some band keys of the index."""

    known: Known
    low: int
    high: int
    rows: int


def _index_ranges(known: Known) -> list[IndexRange]:
    rows: Counter[int] = Counter()
    for extension in known.version.extensions:
        rows.update({file.partition: file.rows for file in extension.bands})
    partitions = known.version.settings.partitions
    return [IndexRange(known, *index.BANDS.bounds(at, partitions), count) for at, count in sorted(rows.items())]


def _bands(stage: MinHash, store: Store, source: Emitted | IndexRange) -> Iterator[pa.Table]:
    """(key, doc) for each band of each signature of a shard, or of some of the index."""
    if isinstance(source, IndexRange):
        for table in Index(source.known.root).bands(source.known.version, source.low, source.high):
            yield table.rename_columns(["key", "doc"])
        return
    first = 0
    for batch in read_batches(store, source.path, ("signature",)):
        docs = documents(source.shard, batch.num_rows, first)
        first += batch.num_rows
        present = batch.column("signature").is_valid()
        keys = band_keys(unpack(batch.column("signature").filter(present)), stage.bands, stage.rows)
        docs = docs[present.to_numpy(zero_copy_only=False)]
        yield pa.table({"key": keys.reshape(-1), "doc": np.repeat(docs, stage.bands)})


def _labels(store: Store, labels: Rows) -> Iterator[pa.Table]:
    for table in read_rows(store, labels):
        yield table.rename_columns(["key", "label"])


def _member_schema(stage: MinHash) -> pa.Schema:
    return pa.schema(
        [
            pa.field("key", pa.uint64()),  # of the cluster
            pa.field("part", pa.uint8()),
            pa.field("rank", pa.uint64()),
            pa.field("doc", pa.uint64()),
            pa.field("digest", pa.uint64()),
            pa.field("id", pa.string()),
            pa.field("dump", pa.string()),
            pa.field("signature", pa.binary(8 * stage.hashes)),
            pa.field("text", pa.large_string()),  # where pairs are verified, and it is no longer than CARRIED
        ]
    )


def _members(
    stage: MinHash, paths: dict[int, str], shelf: Shelf, known: Known | None, store: Store, windows: Iterator[pa.Table]
) -> Iterator[tuple[str, pa.Table]]:
    """Labelled documents with what their shards' files, or the index, have on them."""
    schema = _member_schema(stage)
    for window in windows:
        docs, clusters = window["key"].to_numpy(), mixed(window["label"].to_numpy(), 0)
        shards = np.right_shift(docs, np.uint64(SHARD_BITS))
        own = int(np.searchsorted(docs, np.uint64(index.FIRST)))
        for shard in np.unique(shards[:own]).tolist():
            here = slice(*np.searchsorted(shards, [shard, shard + 1]))
            texts = shelf.texts(store, docs[here].tolist()) if stage.verify else iter(())
            ghosts = known is not None
            for rows in _of_shard(store, schema, paths[shard], docs[here], clusters[here], texts, ghosts):
                yield "members", rows
        if known is not None and own < len(docs):
            yield "members", _of_index(schema, known, docs[own:], clusters[own:])


def _of_shard(
    store: Store,
    schema: pa.Schema,
    path: str,
    docs: index.Numbers,
    clusters: index.Numbers,
    texts: Iterator[tuple[int, str]],
    ghosts: bool,
) -> Iterator[pa.Table]:
    """Members, and with `ghosts` the numbers that they have in an index; texts: of all of them in order, or none."""
    wanted = docs & np.uint64(2**SHARD_BITS - 1)
    first = 0
    for batch in read_batches(store, path):
        start, stop = np.searchsorted(wanted, [first, first + batch.num_rows])
        rows = batch.take(pa.array(wanted[start:stop] - np.uint64(first)))
        first += batch.num_rows
        for at in range(0, rows.num_rows, ROWS_TOGETHER):
            part = rows.slice(at, ROWS_TOGETHER)
            here = slice(start + at, start + at + part.num_rows)
            carried = [text if len(text) <= CARRIED else None for _, text in islice(texts, part.num_rows)]
            given = {"key": pa.array(clusters[here]), "doc": pa.array(docs[here]), "part": _part(MEMBER, part.num_rows)}
            if carried:
                given["text"] = pa.array(carried, pa.large_string())
            yield _table(schema, part, given)
            if ghosts:
                numbers = {"doc": pa.array(numbers_of(part)), "part": _part(GHOST, part.num_rows)}
                yield _table(schema, part.select([]), {"key": given["key"], **numbers})


def _of_index(schema: pa.Schema, known: Known, docs: index.Numbers, clusters: index.Numbers) -> pa.Table:
    found = []
    low, high = int(docs[0]), int(docs[-1]) + 1
    for table in Index(known.root).representatives(known.version, low, high):
        at = np.minimum(np.searchsorted(docs, table["representative"].to_numpy()), len(docs) - 1)
        here = docs[at] == table["representative"].to_numpy()
        rows = table.filter(pa.array(here)).combine_chunks()
        n = rows.num_rows
        given = {
            "key": pa.array(clusters[at[here]]),
            "doc": rows["representative"],
            "rank": pa.array(np.zeros(n, np.uint64)),
            "dump": rows["snapshot"],
            "part": _part(REPRESENTATIVE, n),
        }
        found.append(_table(schema, rows, given))
    return pa.concat_tables([schema.empty_table(), *found])


def _part(part: int, rows: int) -> pa.Array:
    return pa.array(np.full(rows, part, np.uint8))


def _table(schema: pa.Schema, rows: pa.RecordBatch | pa.Table, given: dict[str, pa.Array]) -> pa.Table:
    n = len(given["key"])
    columns = [
        given[f.name] if f.name in given else rows[f.name] if f.name in rows.schema.names else _nothing(f, n)
        for f in schema
    ]
    return pa.table(columns, schema=schema)


def _nothing(field: pa.Field, rows: int) -> pa.Array:
    """Nulls, or zeros for what rows are sorted by."""
    return pa.array(np.zeros(rows, np.uint64)) if field.name == "rank" else pa.nulls(rows, field.type)
