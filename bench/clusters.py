"""Clusters of millions of documents from their band keys: time, rounds, memory of any task, and are they right?

    python bench/clusters.py --docs 1,3,10                 on Ray, 2 workers; about 5 minutes, 5 GB of disk
    python bench/clusters.py --docs 1 --engine inline      in one process

The documents are invented, 14 band keys each; 30 % of them are in planted clusters, whose members share random bands as
stars, chains or cliques: one bucket of 100,000 documents, one chain of 20,000 that shares a band from neighbour to
neighbour, and pairs, triples, tens and hundreds. All other keys are unique. They are written nowhere: emitters make
them block by block, as shards would. Printed for each size is what it took, and whether the clusters found are exactly
those planted; exit status 1 when they are not, or a task held 512 MB. The estimates at the end are multiplication, and
show it.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import pyarrow as pa

from pipeline.components import LAST_EDGES, bucket_edges, components
from pipeline.engine import Engine
from pipeline.engine.inline import InlineEngine
from pipeline.exchange import TASK_BYTES, Hall, Source, Step
from pipeline.store import Store
from stages.dedup.clusters import U64, mixed

BANDS = 14
BLOCK = 35_000
"""Documents of a shard: pages of a file of Common Crawl."""
TASK_LIMIT = 512e6
SNAPSHOT_DOCS = 150e6
"""Of one Common Crawl snapshot, after filtering."""
NODES, CORES, NODE_BYTES_PER_SECOND = 50, 32, 500e6
"""Of the cluster that is estimated; the last is assumed for its disks and network, reading or writing."""
PIECE_SECONDS = 0.3e-3
"""Of a processor, for each run and partition, to write and read what they share. Measured with tasks of 1 MiB instead
of 32 (2 million documents, 427 runs and partitions): 60 s instead of 12 s for 182,000 pieces.
"""
LINK, KIND, SHARE = 101, 102, 103
"""Seeds of what is random: the band that links two documents, a cluster's shape, further bands they share."""

T = TypeVar("T")


@dataclass(frozen=True)
class Planted:
    """Where clusters lie among `docs` positions: `count` of `size` each, from `start` on. Position i has the document
    number (i * stride) % docs as shard and row, so that members are in different shards.
    """

    docs: int
    sections: tuple[tuple[int, int, int], ...]
    stride: int

    @classmethod
    def among(cls, docs: int) -> Planted:
        """One bucket of 100,000 and one chain of 20,000 (of less than a million, as much less), then the small ones."""
        plan = [(min(100_000, docs // 10), 1), (min(20_000, docs // 50), 1)]
        rest = int(0.3 * docs) - sum(size for size, _ in plan)
        plan += [(size, int(rest * share) // size) for size, share in ((2, 0.4), (3, 0.3), (10, 0.2), (100, 0.1))]
        sections, start = [], 0
        for size, count in plan:
            sections.append((start, size, count))
            start += size * count
        stride = next(n for n in range(int(0.618 * docs), docs) if np.gcd(n, docs) == 1)
        return cls(docs, tuple(sections), stride)

    @property
    def clusters(self) -> int:
        return sum(count for _, _, count in self.sections)

    def numbers(self, positions: U64) -> U64:
        places = positions * np.uint64(self.stride) % np.uint64(self.docs)
        return places // np.uint64(BLOCK) << np.uint64(32) | places % np.uint64(BLOCK)

    def positions(self, numbers: U64) -> U64:
        """The inverse of `numbers`."""
        places = (numbers >> np.uint64(32)) * np.uint64(BLOCK) + (numbers & np.uint64(2**32 - 1))
        return places * np.uint64(pow(self.stride, -1, self.docs)) % np.uint64(self.docs)

    def roots(self, positions: U64) -> tuple[U64, U64, U64]:
        """(first position, size, section) of each position's cluster; alone, a size of 1."""
        starts = np.array([start for start, _, _ in self.sections], np.uint64)
        section = np.searchsorted(starts, positions, side="right") - 1
        sizes = np.array([size for _, size, _ in self.sections], np.uint64)[section]
        first = starts[section] + (positions - starts[section]) // sizes * sizes
        _, size, count = self.sections[-1]
        alone = positions >= starts[-1] + np.uint64(size * count)
        return np.where(alone, positions, first), np.where(alone, np.uint64(1), sizes), section.astype(np.uint64)

    def keys(self, positions: U64) -> U64:
        """Band keys, [n, BANDS]: a document's own, or those of the one it is linked to."""
        root, _, section = self.roots(positions)
        shape = np.where(section < 2, section, mixed(root, KIND) % np.uint64(3))  # 0 clique, 1 chain, 2 star
        link = mixed(root, LINK) % np.uint64(BANDS)
        member = positions - root
        bands = np.arange(BANDS, dtype=np.uint64)
        further = mixed(np.where(shape == 0, root, positions), SHARE)[:, None] >> bands & np.uint64(1) == 1
        further &= ((section != 0) & (shape != 1))[:, None]  # the bucket shares one band, a chain's neighbours one each
        link = np.where(shape == 1, (link + member) % np.uint64(BANDS), link)
        shared = (further | (bands == link[:, None])) & (member > 0)[:, None]
        parent = np.where(shape == 1, positions - np.uint64(1), root)
        owner = np.where(shared, parent[:, None], positions[:, None])
        return mixed(owner * np.uint64(BANDS) + bands, LINK)


def emit(planted: Planted, store: Store, start: int) -> Iterator[pa.Table]:
    """Rows (key, doc) of a block of documents."""
    positions = np.arange(start, min(start + BLOCK, planted.docs), dtype=np.uint64)
    yield pa.table({"key": planted.keys(positions).ravel(), "doc": np.repeat(planted.numbers(positions), BANDS)})


@dataclass
class Measured:
    """What a size took."""

    docs: int
    rows: int = 0
    edges: int = 0
    rounds: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    memory: int = 0
    disk: int = 0
    exact: bool = False
    oversize: int = 0

    @property
    def total(self) -> float:
        return sum(self.seconds.values())


def measure(engine: Engine, docs: int, last_edges: int, folder: str) -> Measured:
    planted, seen = Planted.among(docs), Measured(docs, docs * BANDS)
    hall = Hall(Store(folder), engine, "meeting")
    blocks = [Source(start, min(BLOCK, docs - start) * BANDS) for start in range(0, docs, BLOCK)]
    start = time.monotonic()
    found = watched(hall.run(bucket_edges("buckets", partial(emit, planted), cap=10_000), blocks), seen, folder)
    seen.seconds["buckets"] = time.monotonic() - start
    seen.edges = sum(each.rows for each in found["edges"])
    seen.oversize = sum(each.rows for each in found.get("oversize", []))
    start = time.monotonic()
    labels = watched(components(hall, found["edges"], last_edges=last_edges), seen, folder)
    seen.seconds["components"] = time.monotonic() - start
    seen.exact = are_planted(planted, hall.read(labels))
    return seen


def watched(steps: Generator[Step, None, T], seen: Measured, folder: str) -> T:
    """What the steps return; notes memory, disk and rounds on the way."""
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
        seen.memory, seen.disk = max(seen.memory, step.peak_memory), max(seen.disk, used(folder))
        seen.rounds += step.phase.endswith("point gather") and step.done == 0


def used(folder: str) -> int:
    """Bytes of the files under a folder, some of which are being removed."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(place, name)).st_size
            except FileNotFoundError:
                continue
    return total


def are_planted(planted: Planted, labels: Iterator[pa.Table]) -> bool:
    """Is every cluster that was found a planted one, whole, named by its least document, and are they all there?"""
    clusters = docs = 0
    for table in whole_clusters(labels):
        label, doc = (table.column(name).to_numpy() for name in ("label", "doc"))
        starts = np.flatnonzero(np.append(True, label[1:] != label[:-1]))
        lengths = np.diff(starts, append=len(label))
        begin = np.repeat(starts, lengths)
        root, size, _ = planted.roots(planted.positions(doc))
        ascending = (doc[1:] > doc[:-1]) | (begin[1:] != begin[:-1])  # so none comes twice
        if not (
            ascending.all() and (label == doc[begin]).all() and (root == root[begin]).all()
            and (size[starts] == lengths).all()
        ):  # fmt: skip
            return False
        clusters, docs = clusters + len(starts), docs + len(doc)
    return clusters == planted.clusters and docs == sum(size * count for _, size, count in planted.sections)


def whole_clusters(labels: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The same rows; no cluster spans two tables. The largest one is held, here 100,000 rows."""
    held: list[pa.Table] = []
    for table in labels:
        label = table.column("label").to_numpy()
        starts = np.flatnonzero(label[1:] != label[:-1]) + 1
        if held and held[-1].column("label")[-1].as_py() != int(label[0]):
            starts = np.append(0, starts)
        if len(starts):
            yield pa.concat_tables([*held, table.slice(0, starts[-1])]).combine_chunks()
            held, table = [], table.slice(starts[-1])
        held.append(table)
    if held:
        yield pa.concat_tables(held).combine_chunks()


def report(seen: Measured) -> str:
    megabytes = f"{seen.memory / 1e6:.0f} | {seen.disk / 1e6:.0f}"
    seconds = " | ".join(f"{seconds:.1f}" for seconds in seen.seconds.values())
    cells = f"{seen.docs / 1e6:g} | {seen.rows / 1e6:.0f} | {seen.edges / 1e6:.2f} | {seen.rounds} | {seconds}"
    verdict = "yes" if seen.exact else "NO"
    return f"| {cells} | {seen.rows / seen.total / 1e6:.2f} | {megabytes} | {seen.oversize} | {verdict} |"


def estimate(seen: Measured, workers: int) -> Iterator[str]:
    """What a cluster would need, by multiplying the largest size that was measured."""
    times = SNAPSHOT_DOCS / seen.docs
    disk = seen.disk * times
    pieces = (disk / TASK_BYTES) ** 2
    core_seconds = seen.total * workers * times + pieces * PIECE_SECONDS
    yield f"ESTIMATE, not measured: {SNAPSHOT_DOCS / 1e6:g} million documents, {times:g} x {seen.docs / 1e6:g} million"
    yield f"  disk that all nodes share: {seen.disk / 1e9:.2f} GB x {times:g} = {disk / 1e9:.0f} GB"
    yield f"  reads: {disk / 1e9:.0f} GB / {TASK_BYTES / 1e6:.0f} MB = {pieces**0.5:.0f} runs and partitions, squared"
    yield f"    = {pieces / 1e6:.1f} million pieces of {disk / pieces / 1e3:.0f} kB"
    yield f"  processors: {seen.total:.0f} s x {workers} x {times:g}, and {PIECE_SECONDS * 1e3:g} ms a piece"
    yield f"    = {core_seconds / 3600:.2f} core hours"
    yield f"  memory: {seen.memory / 1e6:.0f} MB at most in a measured task; see above whether it grew with the size"
    for snapshots in (1, 100):
        compute = snapshots * core_seconds / (NODES * CORES)
        moved = snapshots * 2 * disk / (NODES * NODE_BYTES_PER_SECOND)
        many = f"{snapshots} snapshot" + ("s, one after the other" if snapshots > 1 else "")
        yield f"  {many}, on {NODES} nodes of {CORES} processors:"
        hours = f"{core_seconds / 3600:.2f} core hours x {snapshots} / {NODES * CORES}"
        yield f"    {hours} = {compute:.0f} s of computing, if no task waits for another"
        rate = f"({NODES} x {NODE_BYTES_PER_SECOND / 1e6:.0f} MB/s)"
        yield f"    2 x {disk / 1e9:.0f} GB x {snapshots} / {rate} = {moved:.0f} s of writing and reading"
    yield "  A hundred snapshots are a hundred meetings. What an index adds, reading its bands, is not measured here."


def main() -> None:
    parser = argparse.ArgumentParser(description="Exchange and cluster the band keys of invented documents.")
    parser.add_argument("--docs", default="1,3,10", metavar="MILLIONS", help="sizes (default 1,3,10)")
    parser.add_argument("--engine", choices=("ray", "inline"), default="ray")
    parser.add_argument("--workers", type=int, default=2, help="of Ray (default 2)")
    parser.add_argument(
        "--last-edges", type=int, default=LAST_EDGES, help="edges that one task finishes; 0 takes every round"
    )
    parser.add_argument("--folder", type=Path, help="where the files go meanwhile (default: the temporary folder)")
    options = parser.parse_args()
    workers = options.workers if options.engine == "ray" else 1
    with ExitStack() as stack:
        engine = stack.enter_context(make_engine(options.engine, workers))
        print("| million docs | million rows | million edges | rounds | s buckets | s components | million rows/s"
              " | MB of a task | MB of disk | oversize | exact |")  # fmt: skip
        print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |")
        measured = []
        for size in options.docs.split(","):
            with tempfile.TemporaryDirectory(prefix="crawlmill-clusters-", dir=options.folder) as folder:
                measured.append(measure(engine, int(float(size) * 1e6), options.last_edges, folder))
            print(report(measured[-1]), flush=True)
    print(*estimate(measured[-1], workers), sep="\n")
    sys.exit(0 if all(seen.exact and seen.memory < TASK_LIMIT for seen in measured) else 1)


def make_engine(name: str, workers: int) -> Engine:
    if name == "inline":
        return InlineEngine(requests_per_second=1)
    from pipeline.engine.ray import RayEngine

    return RayEngine(workers, address=None, cpus=1, memory=2**29, requests_per_second=1)


if __name__ == "__main__":
    main()
