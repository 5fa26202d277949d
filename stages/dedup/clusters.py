"""Clusters of documents that share a band: the arithmetic of buckets, contraction and labels, on arrays.

Components are found by contraction (Łącki, Mirrokni and Włodarczyk, "Connected Components at Scale via Local
Contractions", 2018): in each round every node gets a random priority, and joins the neighbour, or itself, whose
priority is least. Edges inside a joined set vanish; about half of the nodes are left. The pointers of all rounds, taken
one after the other, name a node's component.

Every step takes rows sorted by key in windows of any size, and what it needs of the window before; so it gives the same
however rows were cut. This module reads and writes nothing, and knows nothing of tasks: that is the pipeline's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stages.decision import Bools, Ints

U64 = npt.NDArray[np.uint64]
Columns = tuple[U64, U64]

REPRESENTATIVE = np.uint64(2**63)
"""Documents of an index have numbers from here on, those of the run have smaller ones."""
LEADS, FOLLOWS = 0, 1
"""Tags of rows, so that the one that says where a node belongs sorts before those that ask for it."""

# Stafford's variant 13 of the MurmurHash3 finalizer, as in splitmix64 (Steele, Lea and Flood, 2014)
_INCREMENT = 0x9E3779B97F4A7C15
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_SIZE = 2**64


def mixed(values: U64, round: int) -> U64:
    """Priorities of nodes in a round: a bijection of 64 bits, and uniform, so that they serve as keys as well."""
    state = values + np.uint64(_INCREMENT * (round + 1) % _SIZE)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(_FIRST)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(_SECOND)
    return state ^ (state >> np.uint64(31))


def unmixed(priorities: U64, round: int) -> U64:
    """The nodes that have these priorities."""
    state = _unshifted(priorities, 31) * np.uint64(pow(_SECOND, -1, _SIZE))
    state = _unshifted(state, 27) * np.uint64(pow(_FIRST, -1, _SIZE))
    return _unshifted(state, 30) - np.uint64(_INCREMENT * (round + 1) % _SIZE)


def _unshifted(state: U64, by: int) -> U64:
    """The inverse of x ^ (x >> by) for by from 22 to 31."""
    once: U64 = state ^ (state >> np.uint64(by))
    return once ^ (state >> np.uint64(2 * by))


@dataclass(frozen=True)
class Last:
    """The last row of a window, what leads its group, and how many different rows the group has so far."""

    key: np.uint64
    value: np.uint64
    leader: np.uint64
    size: int


@dataclass(frozen=True)
class Groups:
    """A window's rows in groups of one key."""

    leaders: U64
    """[n] The candidate in the first row of each row's group, which an earlier window may have had."""
    begins: Bools
    """[n] Is this the first row of its group?"""
    new: Bools
    """[n] Does this row differ from the one before?"""
    ended: tuple[U64, Ints, U64]
    """Groups that are known to be complete: keys, numbers of different rows, leaders."""
    last: Last

    @classmethod
    def of(cls, keys: U64, values: U64, candidates: U64, last: Last | None) -> Groups:
        """Rows [n], n > 0, sorted by (keys, values); `last` is that of the window before."""
        given = len(keys)
        if last is not None:  # stands for all that came before
            keys, values = np.append(last.key, keys), np.append(last.value, values)
            candidates = np.append(last.leader, candidates)
        begins, counts = np.ones(len(keys), np.bool_), np.ones(len(keys), np.int64)
        np.not_equal(keys[1:], keys[:-1], out=begins[1:])
        counts[1:] = begins[1:] | (values[1:] != values[:-1])
        new = counts[-given:] > 0
        if last is not None:
            counts[0] = last.size
        starts = np.flatnonzero(begins)
        leaders, sizes = candidates[starts], np.add.reduceat(counts, starts)
        ended = keys[starts[:-1]], sizes[:-1], leaders[:-1]
        end = Last(keys[-1], values[-1], leaders[-1], int(sizes[-1]))
        leaders = np.repeat(leaders, np.diff(starts, append=len(keys)))
        return cls(leaders[-given:], begins[-given:], new, ended, end)


def stars(keys: U64, docs: U64, last: Last | None) -> tuple[Columns, Groups]:
    """Edges (a, b) from a bucket's least document to each of its others: as many as documents, not as pairs.

    keys: of bands, docs: document numbers, which may repeat; both [n], sorted by (keys, docs). Buckets of
    representatives alone have no edges. The groups are the buckets; the leader is the least document.
    """
    groups = Groups.of(keys, docs, docs, last)
    joins = groups.new & ~groups.begins & (groups.leaders < REPRESENTATIVE)
    return (groups.leaders[joins], docs[joins]), groups


def point(keys: U64, others: U64, last: Last | None, round: int) -> tuple[Columns, Columns, Last]:
    """Where each node goes, and edges of which one end went there.

    keys: priorities of nodes, others: of their neighbours; both [n], sorted, every edge in both directions. Returns
    pointers (node, to), one for each node; halves (node, to), one for each edge: the end that has not gone yet, and the
    other's pointer.
    """
    groups = Groups.of(keys, others, np.minimum(keys, others), last)
    begins, halves = groups.begins, groups.new & (others > keys)
    pointers = unmixed(keys[begins], round), unmixed(groups.leaders[begins], round)
    return pointers, (unmixed(others[halves], round), unmixed(groups.leaders[halves], round)), groups.last


def move(keys: U64, tags: npt.NDArray[np.uint8], values: U64, last: Last | None) -> tuple[Columns, Last]:
    """Edges (a, b) of which both ends have gone, without those whose ends have met.

    keys: any number of the node; values: its pointer's end in the row that leads, then those of its halves; sorted by
    (keys, tags, values).
    """
    groups = Groups.of(keys, values, values, last)
    edges = (tags == FOLLOWS) & groups.new & (values != groups.leaders)
    return (groups.leaders[edges], values[edges]), groups.last


def compose(keys: U64, tags: npt.NDArray[np.uint8], values: U64, last: Last | None, round: int) -> tuple[Columns, Last]:
    """Labels (doc, label) of the nodes that pointed to each key in this round.

    keys: priorities; values: the key's label in the row that leads, if later rounds gave it one (its own number, if
    not), then the nodes that point to it.
    """
    groups = Groups.of(keys, values, np.where(tags == LEADS, values, unmixed(keys, round)), last)
    asks = tags == FOLLOWS
    return (values[asks], groups.leaders[asks]), groups.last


def name(keys: U64, docs: U64, last: Last | None) -> tuple[Columns, Last]:
    """Labels (doc, label): the least document of each component.

    keys: any number of the component, docs: its documents, each once; sorted by (keys, docs).
    """
    groups = Groups.of(keys, docs, docs, last)
    return (docs, groups.leaders), groups.last


def connected(a: U64, b: U64) -> Columns:
    """Labels (doc, label) of the components of a graph that fits in memory: the least document of each.

    a, b: ends of edges, [n].
    """
    from scipy.sparse import coo_array  # slow to import, and only wanted here
    from scipy.sparse.csgraph import connected_components

    nodes, places = np.unique(np.concatenate([a, b]), return_inverse=True)
    matrix = coo_array((np.ones(len(a), np.bool_), (places[: len(a)], places[len(a) :])), (len(nodes), len(nodes)))
    _, components = connected_components(matrix, directed=False)
    _, first = np.unique(components, return_index=True)  # nodes ascend, so the first of a component is its least
    return nodes, nodes[first[components]]
