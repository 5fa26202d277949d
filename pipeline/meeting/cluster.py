"""The members of clusters, in order of preference, become verdicts.

A cluster's members come in any number of windows. Of them a block is held, and signatures and shingles of those that
stay, as far as there is room: what stays beyond that is compared with nothing that comes later, which is an alarm.
Who stays is decided by `stages.dedup.leaders`; this module counts, and fetches the texts that it asks for.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.carry import VERDICTS
from pipeline.meeting.exact import firsts
from pipeline.meeting.members import MEMBER, OF_INDEX, Members
from pipeline.meeting.shelf import Shelf, sets_of
from pipeline.store import Store
from stages.decision import Bools
from stages.dedup.leaders import needs_sets, resolve
from stages.dedup.minhash import MinHash
from stages.dedup.shingles import Hashes
from stages.dedup.signature import estimate

BLOCK = 512
BLOCK_SHINGLES = 2**20
"""Of all members of a block, or those of one that has more: 8 MiB."""
MOST_LEADERS = 4096
LEADERS_SHINGLES = 2**22
"""Of all that lead: 32 MiB, and as much while they are compared."""
MOST_DIGESTS = 2**16
LARGEST = 20
LARGEST_CLUSTERS = pa.schema(
    [
        pa.field("size", pa.int64()),
        pa.field("kept", pa.uint64()),
        pa.field("other", pa.uint64()),
        pa.field("similarity", pa.float64()),
    ]
)
CROWDED = pa.schema([pa.field("members", pa.int64()), pa.field("uncompared", pa.int64())])


def decide_clusters(
    stage: MinHash, shelf: Shelf, store: Store, windows: Iterator[pa.Table]
) -> Iterator[tuple[str, pa.Table]]:
    """`verdicts` on the members of all clusters, `largest` of them, and `crowded` ones."""
    largest: list[tuple[int, ...]] = []
    cluster: _Cluster | None = None
    for window in windows:
        rows, found = Members.of(window), _Found()
        starts = np.unique(firsts(rows.keys))
        for start, stop in zip(starts, [*starts[1:], len(rows)]):
            if cluster is None or cluster.key != rows.keys[start]:
                if cluster is not None:
                    cluster.close(found)
                cluster = _Cluster(int(rows.keys[start]), stage, shelf, store)
            cluster.take(rows.take(slice(start, stop)), found)
        yield from _tables(found, largest)
    if cluster is not None:
        found = _Found()
        cluster.close(found)
        yield from _tables(found, largest)
    entries = ((size, -kept, -other, similarity) for size, kept, other, similarity in sorted(largest))
    rows_of_largest = [dict(zip(LARGEST_CLUSTERS.names, entry)) for entry in entries]
    yield "largest", pa.Table.from_pylist(rows_of_largest, schema=LARGEST_CLUSTERS)


@dataclass
class _Found:
    """Verdicts as rows of VERDICTS, clusters as rows of LARGEST_CLUSTERS, and of CROWDED."""

    verdicts: list[tuple[Any, ...]] = field(default_factory=list)
    clusters: list[tuple[Any, ...]] = field(default_factory=list)
    crowded: list[tuple[int, int]] = field(default_factory=list)


def _tables(found: _Found, largest: list[tuple[int, ...]]) -> Iterator[tuple[str, pa.Table]]:
    for size, kept, other, similarity in found.clusters:
        entry = (size, -kept, -other, similarity)  # of equal ones the first documents'
        if len(largest) < LARGEST:
            heapq.heappush(largest, entry)
        else:
            heapq.heappushpop(largest, entry)
    for name, schema, rows in (("verdicts", VERDICTS, found.verdicts), ("crowded", CROWDED, found.crowded)):
        if rows:
            columns = [pa.array(column, f.type) for column, f in zip(zip(*rows), schema)]
            yield name, pa.table(columns, schema=schema)


def _block(rows: Members) -> int:
    """How many of the first rows make a block: that depends on them alone, not on the windows they come in."""
    fit = int(np.count_nonzero(np.cumsum(rows.shingles[:BLOCK]) <= BLOCK_SHINGLES))
    return max(1, fit)


@dataclass
class _Leader:
    """Who stays: a member, or a representative of the index, with how many it stands for."""

    doc: int
    id: str
    dump: str | None
    """Of a representative; None for a member."""
    size: int = 1
    first: tuple[int, float] | None = None
    """The first member that repeats it, and how similar it is."""


class _Cluster:
    """One cluster while its rows come."""

    def __init__(self, key: int, stage: MinHash, shelf: Shelf, store: Store) -> None:
        self.key, self._stage, self._shelf, self._store = key, stage, shelf, store
        self._members = self._uncompared = self._shingles = 0
        self._leaders: list[_Leader] = []
        self._signatures: Hashes = np.zeros((0, stage.hashes), np.uint64)  # of those that lead, as all that follows
        self._texts: list[str | None] = []
        self._sets: list[Hashes | None] = []  # as far as they were asked for
        self._known: dict[tuple[int, int], tuple[int, float]] = {}  # words seen: their leader, their similarity to it
        self._held: Members | None = None

    def take(self, rows: Members, found: _Found) -> None:
        """The next rows."""
        self._lead(rows.take(rows.parts == OF_INDEX), of_index=True)
        members = rows.take(rows.parts == MEMBER)
        self._members += len(members)
        self._held = members if self._held is None else self._held.joined(members)
        while (block := _block(self._held)) < len(self._held):
            self._decide(self._held.take(slice(0, block)), found)
            self._held = self._held.take(slice(block, None))

    def close(self, found: _Found) -> None:
        """All rows have come."""
        if self._held is not None and len(self._held):  # at most a block
            self._decide(self._held, found)
        for leader in self._leaders:
            if leader.dump is None and leader.first is not None:
                found.verdicts.append((leader.doc, None, None, None, None, leader.size))
                found.clusters.append((leader.size, leader.doc, *leader.first))
        if self._uncompared and self._stage.verify:
            found.crowded.append((self._members, self._uncompared))

    def _decide(self, block: Members, found: _Found) -> None:
        """Verdicts on some members, and who of them leads from now on."""
        if not self._stage.verify:
            self._follow(block, found)
            return
        words = list(zip(block.digests.tolist(), block.signatures[:, 0].tolist()))
        new: dict[int, None] = {}
        fresh: set[tuple[int, int]] = set()
        for row, word in enumerate(words):
            if word not in self._known and word not in fresh:
                new[row] = None
                if len(self._known) + len(fresh) < MOST_DIGESTS:
                    fresh.add(word)
        self._resolve(block.take(np.array(list(new), np.int64)), [words[row] for row in new], found)
        for row, word in enumerate(words):
            if row not in new and word in self._known:
                self._repeats(found, block, row, *self._known[word])
            elif row not in new:  # of a word whose first member found no room
                self._uncompared += 1

    def _follow(self, block: Members, found: _Found) -> None:
        """All repeat the first."""
        start = 0
        if not self._leaders:
            self._lead(block.take(slice(0, 1)))
            start = 1
        similarities = estimate(self._signatures[:1], block.signatures)
        for row in range(start, len(block)):
            self._repeats(found, block, row, 0, float(similarities[row]))

    def _resolve(self, block: Members, words: Sequence[tuple[int, int]], found: _Found) -> None:
        """Compare members of different words with those that lead, and with one another."""
        leading = len(self._leaders)
        signatures = np.concatenate([self._signatures, block.signatures])
        blind = np.array([each.dump is not None for each in self._leaders] + [False] * len(block), bool)
        fixed = np.arange(len(signatures)) < leading
        sets = self._sets_for(signatures, fixed, blind, block)
        offsets = np.cumsum([0, *(0 if each is None else len(each) for each in sets)])
        values = np.concatenate([np.zeros(0, np.uint64), *(each for each in sets if each is not None)])
        leader, similarity = resolve(signatures, fixed, (offsets, values), self._stage.threshold, blind)
        places = {row: row for row in range(leading)}
        for row, word in enumerate(words):
            at = leading + row
            if leader[at] != at:
                whom = places.get(int(leader[at]))
                if whom is None:  # one that found no room
                    self._uncompared += 1
                    continue
                self._learn(word, whom, float(similarity[at]))
                self._repeats(found, block, row, whom, float(similarity[at]))
            elif self._lead(block.take(slice(row, row + 1)), sets[at]):
                places[at] = len(self._leaders) - 1
                self._learn(word, places[at], 1.0)

    def _sets_for(self, signatures: Hashes, fixed: Bools, blind: Bools, block: Members) -> list[Hashes | None]:
        """Shingle sets of the rows that are too close to tell, read where they were not before."""
        leading = len(self._leaders)
        sets: list[Hashes | None] = [*self._sets, *([None] * len(block))]
        asked = np.flatnonzero(needs_sets(signatures, fixed, self._stage.threshold, blind))
        unread = [int(row) for row in asked if sets[row] is None]
        texts = {row: self._texts[row] if row < leading else block.texts[row - leading] for row in unread}
        carried = {row: text for row, text in texts.items() if text is not None}
        sets_read = dict(zip(carried, sets_of(list(carried.values()), self._stage.ngram)))
        docs = {row: self._leaders[row].doc if row < leading else int(block.docs[row - leading]) for row in unread}
        far = [row for row in unread if row not in carried]
        sets_read |= zip(far, self._shelf.shingle_sets(self._store, [docs[row] for row in far]))
        for row, shingles in sets_read.items():
            sets[row] = shingles
        self._sets = sets[:leading]
        return sets

    def _lead(self, rows: Members, shingles: Hashes | None = None, of_index: bool = False) -> bool:
        """Let members, or representatives, lead from now on, as far as there is room; says whether there was."""
        fits = np.cumsum(rows.shingles) <= max(0, LEADERS_SHINGLES - self._shingles)
        fits[: not self._leaders] = True  # the first, however long
        room = min(int(np.count_nonzero(fits)), max(0, MOST_LEADERS - len(self._leaders)))
        self._uncompared += len(rows) - room
        rows = rows.take(slice(0, room))
        self._shingles += 0 if of_index else int(rows.shingles.sum())
        self._signatures = np.concatenate([self._signatures, rows.signatures])
        self._texts += rows.texts.tolist()
        self._sets += [shingles] * len(rows)
        for doc, name, dump in zip(rows.docs.tolist(), rows.ids, rows.dumps):
            self._leaders.append(_Leader(doc, name, (dump or "") if of_index else None))
        return room > 0

    def _learn(self, word: tuple[int, int], leader: int, similarity: float) -> None:
        if len(self._known) < MOST_DIGESTS:
            self._known[word] = (leader, similarity)

    def _repeats(self, found: _Found, block: Members, row: int, leader: int, similarity: float) -> None:
        """A member leaves."""
        whom, doc = self._leaders[leader], int(block.docs[row])
        whom.size += 1
        whom.first = whom.first or (doc, similarity)
        reason, detail = ("near_duplicate", None) if whom.dump is None else ("duplicate_in_index", whom.dump or None)
        found.verdicts.append((doc, reason, detail, whom.id, similarity, None))
