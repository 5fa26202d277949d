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

import numpy as np
import pyarrow as pa

from pipeline.components import bucket_edges, components
from pipeline.exchange import Exchange, Hall, Rows, Source, Step, read_rows
from pipeline.index import Index
from pipeline.meeting.cluster import decide_clusters
from pipeline.meeting.exact import Emitted
from pipeline.meeting.home import shard_bounds
from pipeline.meeting.members import Known, gather_members
from pipeline.meeting.shelf import Shelf
from pipeline.store import Store
from stages.dedup import index
from stages.dedup.minhash import MinHash
from stages.dedup.signature import band_keys, unpack

LABEL_BYTES = 16
MEMBER_BYTES = 128
"""And what its signature has."""
TEXT_BYTES = 5_000
"""Of an extracted page, about."""


def near_duplicates(
    hall: Hall, stage: MinHash, emitted: Sequence[Emitted], known: Known | None, shelf: Shelf
) -> Generator[Step, None, dict[str, Sequence[Rows]]]:
    """Verdicts on all records that are not alone (`verdicts`), buckets over the cap (`oversize`), clusters of which
    not all members were compared (`crowded`), and the largest clusters (`largest`).
    """
    sources: list[Source] = [Source(each, each.rows * stage.bands) for each in emitted]
    ranges = _index_ranges(known) if known is not None else []
    sources += [Source(each, each.rows) for each in ranges]
    met = yield from hall.run(bucket_edges("bands", partial(_bands, stage), stage.bucket_cap), sources)
    labels = yield from components(hall, met.get("edges", []))
    members = yield from hall.run(
        Exchange(
            name="members",
            emit=_labels,
            decide=partial(gather_members, stage, shelf, known),
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
            order=("key", "part", "rank", "doc", "digest"),
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
    for docs, batch in source.batches(store, ("signature",)):
        present = batch.column("signature").is_valid()
        keys = band_keys(unpack(batch.column("signature").filter(present)), stage.bands, stage.rows)
        some = docs[present.to_numpy(zero_copy_only=False)]
        yield pa.table({"key": keys.reshape(-1), "doc": np.repeat(some, stage.bands)})


def _labels(store: Store, labels: Rows) -> Iterator[pa.Table]:
    for table in read_rows(store, labels):
        yield table.rename_columns(["key", "label"])
